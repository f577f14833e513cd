#!/usr/bin/env python3
"""Fine-tune SmolLM2-135M by LoRA on Tiny Shakespeare, beside a model trained from scratch for the same time.

    python experiments/finetune.py > assets/outputs/finetune.md

The presets smollm2_lora and best_10min: together half an hour on two cores. First the time per step of each is
measured, and kept in runs/finetune/seconds.json; it gives the second its number of steps. Let nothing else run
meanwhile. The runs are kept too, and complete ones are not trained again. Both hold out the same end of the text.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

import train
from benchmarks.common import markdown, measured_on
from experiments.report import step_seconds
from experiments.runs import config_of, load_data, prepared
from experiments.sweep import train_all, training_parser
from numpygpt.data import TokenDataset, eval_batches
from numpygpt.models import GPT
from numpygpt.parallel.threads import DataParallel
from numpygpt.plots.runs import RunData
from numpygpt.tokenizer import Tokenizer
from numpygpt.tokenizer.prompts import prompt_ids
from numpygpt.training.base import Base
from numpygpt.training.checkpoint import load_checkpoint
from numpygpt.training.model_check import run_config
from numpygpt.training.restore import restore
from numpygpt.training.start import new_run
from numpygpt.training.trainer import evaluate
from numpygpt.utils import cli
from numpygpt.utils.cores import cores
from numpygpt.utils.text import duration
from numpygpt.utils.units import bits_per_byte

TUNED, SCRATCH = "smollm2_lora", "best_10min"
STEPS = 9  # that are timed
PROMPT, LENGTH = "ROMEO:\n", 100
COLUMNS = ("preset", "parameters that learn", "steps", "seconds per step", "all steps", "tokens read",
           "bits per byte before", "after")


def main() -> None:
    parser = training_parser(__doc__, "finetune")
    parser.add_argument("--presets", nargs=2, default=(TUNED, SCRATCH), help="what to fine-tune, and from scratch")
    args = parser.parse_args()
    a, b = seconds_per_step(args.runs, args.presets, args.more)
    tuned, scratch = (args.runs / Path(preset).stem for preset in args.presets)
    steps = round(config_of([args.presets[0], *args.more]).steps * a / b)
    runs = train_all({tuned: [args.presets[0], *args.more], scratch: [args.presets[1], *args.more, "--steps", steps]})
    print("\n".join([measured_on("numpy"), "", *report(*runs.values(), a, b)]))


def seconds_per_step(runs: Path, presets: list[str], more: list[str]) -> list[float]:
    """Return the time per step of each preset, measured unless that was done before."""
    path = runs / "seconds.json"
    if not path.exists():
        starts = [new_run(train.parse([preset, *more, "--dry-run"])) for preset in presets]
        for start in starts:
            prepared(start.config)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([step_seconds(start.config, start.base, STEPS) for start in starts]))
    return list(json.loads(path.read_text()))


def report(tuned: RunData, scratch: RunData, a: float, b: float) -> list[str]:
    """Return the table of both runs, whose steps take `a` and `b` seconds, and a sample before and after tuning."""
    base, dataset = base_of_run(tuned), load_data(tuned.folder)
    before, tokenizer = base.model(), base.tokenizer()
    context = run_config(load_checkpoint(tuned.folder / "ckpt.npz", only="model/")).model.max_len
    rows = [row(tuned, a, f"{validation_bits(before, dataset, context):.3f}"), row(scratch, b, "")]
    lines = [*markdown(COLUMNS, rows), ""]
    for title, model in (("Before", before), ("After", restore(tuned.folder)[0])):
        lines += [f"{title}:", "", "```text", sample(model, tokenizer), "```", ""]
    return lines[:-1]


def row(run: RunData, seconds: float, before: str) -> list[str]:
    """Return one run's row: `after` is on the whole validation split."""
    checkpoint = load_checkpoint(run.folder / "ckpt.npz", only="model/")
    learned = sum(array.size for array in checkpoint.arrays.values())
    steps = run.total("step")
    return [run.folder.name, f"{learned:,}", f"{steps:,}", f"{seconds:.3g}", duration(steps * seconds),
            f"{run.total('tokens'):,}", before, f"{float(run.metrics.eval['whole_bits'][-1]):.3f}"]


def base_of_run(run: RunData) -> Base:
    return Base.find(load_checkpoint(run.folder / "ckpt.npz", only="model/").header["base"]["name"])


def validation_bits(model: GPT, dataset: TokenDataset, context: int) -> float:
    """Return the bits per byte of a model on the whole validation split, in windows of `context` tokens."""
    with DataParallel(model, cores()) as parallel:
        loss = evaluate(parallel, eval_batches(dataset.val, 2 * cores(), context, len(dataset.val) - 1))
    return bits_per_byte(loss, len(dataset.val) - 1, dataset.val_bytes)


def sample(model: GPT, tokenizer: Tokenizer) -> str:
    ids = model.generate([prompt_ids(tokenizer, PROMPT)], min(LENGTH, model.max_len), temperature=0.8, seed=0)
    return tokenizer.decode(np.asarray(ids[0])).strip()


if __name__ == "__main__":
    cli.run(main)
