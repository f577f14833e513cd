"""Train one model per case, in one process or as a rank of mpiexec.

    python train_cases.py CASES.json DATA OUT

CASES.json: a list of cases, each with a `name`, `config` (settings) and `steps`. `ignored` leaves out targets, `load`
names a checkpoint to resume from, and `saves` one for each step after which to save. `traced` traces the last step.
OUT/NAME.RANK.npz gets what the rank found.
"""

import json
import sys
import traceback
from dataclasses import replace
from pathlib import Path

import numpy as np

from numpygpt.data import TokenDataset, eval_batches
from numpygpt.inspection.step import TracedStep
from numpygpt.parallel.blas import blas_threads
from numpygpt.parallel.group import LOCAL, started
from numpygpt.training import Trainer
from numpygpt.training.base import Base
from numpygpt.training.checkpoint import load_checkpoint
from numpygpt.training.config import Config
from numpygpt.training.trainer import evaluate


def masked(batches):
    """The batches with targets that do not count: every second token, and all of the first row."""
    for x, y in batches:
        y = np.where(y % 2, -1, y)
        y[0] = -1
        yield x, y


def train(case, dataset, group=LOCAL):
    """What a run finds: the numbers of its steps, its validation loss, its parameters."""
    config = Config.of(**case["config"])
    t = Trainer(config, dataset, Base.find(config.init_from) if config.init_from else None, group)
    if case.get("ignored"):
        draw = t.next_batches
        t.next_batches = lambda: list(masked(draw()))
    with t.parallel:
        if "load" in case:
            checkpoint = load_checkpoint(case["load"])
            t.load(replace(checkpoint, arrays={}) if group.rank else checkpoint)
        numbers = []
        while t.step < case["steps"]:
            watched = TracedStep(t) if case.get("traced") and t.step == case["steps"] - 1 else None
            numbers.append(watched.apply() if watched else t.update())
            if path := case.get("saves", {}).get(str(t.step)):
                t.save(path)
        val = evaluate(t.parallel, eval_batches(dataset.val, config.batch_size, config.model.max_len, 300))
    flat = t.model.flat()
    found = {name: np.array([row[name] for row in numbers]) for name in numbers[0]}
    found |= watched.row() if watched else {}
    return found | {"val": val, "params": np.concatenate([flat.params[run] for run in flat.runs()])}


def main(cases, data, out):
    group, dataset = started(), TokenDataset.load(data)
    with blas_threads(1):
        for case in json.loads(Path(cases).read_text()):
            np.savez(Path(out) / f"{case['name']}.{group.rank}.npz", **train(case, dataset, group))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except BaseException:  # the other ranks would wait for this one
        traceback.print_exc()
        started().abort(1)
