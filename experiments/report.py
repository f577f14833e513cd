#!/usr/bin/env python3
"""What runs came to, as a table: sizes, losses, bits a byte, and time.

    python experiments/report.py runs/char runs/word runs/bpe > assets/outputs/experiments.md

Losses are in nats a token and compare between runs with the same tokenizer alone; bits a byte compare them all. The
time of a step is measured while the table is made, on a new model of the same settings: let nothing else run meanwhile.
What a run took is its own account, evaluations and samples and all that ran beside it included.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.speed import processor
from experiments.runs import best_loss, last_train_loss, markdown
from numpygpt.data import TokenDataset
from numpygpt.models import GPT
from numpygpt.plots.runs import load_run
from numpygpt.tokenizer.prompts import prompt_ids
from numpygpt.tokenizer.word import UNKNOWN
from numpygpt.training import Trainer
from numpygpt.training.config import Config
from numpygpt.training.restore import restore, run_config
from numpygpt.utils import cli
from numpygpt.utils.text import duration

COLUMNS = (
    "run", "vocabulary", "parameters", "in the tables of tokens", "steps", "tokens read", "last training loss",
    "best validation loss", "at step", "bits a byte", "unknown bytes", "characters in 500 tokens", "ms a step",
    "all steps", "took",
)  # fmt: skip
TRIED = 25  # steps whose median is the time of a step; the first few are left out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders")
    print("\n".join(report(parser.parse_args().runs)))


def report(folders: list[Path]) -> list[str]:
    """The machine, and a Markdown table with a row for each run."""
    return [machine(), "", *markdown(COLUMNS, map(row, folders))]


def row(folder: Path) -> list[str]:
    """What stands in the columns for one run; its last training loss is the mean of 100 steps."""
    run = load_run(folder)
    model, tokenizer, checkpoint = restore(folder)
    found = run.metrics.eval
    best = run.best()
    if best is None:
        raise ValueError(f"{folder} has not been evaluated yet")
    config, tables = run_config(checkpoint), share_of_tables(model)
    data, seconds = TokenDataset.load(config.data), step_seconds(config)
    ids = model.generate([prompt_ids(tokenizer, "")], 500, temperature=0.8, seed=0)
    return [run.name, f"{tokenizer.vocab_size:,}", f"{model.n_params():,}", f"{tables:.0%}", f"{run.total('step'):,}",
            f"{run.total('tokens') / 1e6:.1f}M", f"{last_train_loss(run):.3f}", f"{best_loss(run):.4f}",
            f"{int(found['step'][best]):,}", f"{float(found['bits_per_byte'][best]):.3f}", f"{unknown(data):.0%}",
            f"{len(tokenizer.decode(ids[0, -500:])):,}", f"{1e3 * seconds:.1f}", duration(run.total("step") * seconds),
            duration(run.total("seconds"))]


def machine() -> str:
    """What the times are of."""
    return f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, NumPy {np.__version__}."


def step_seconds(config: Config) -> float:
    """The median time of a step with these settings, now."""
    trainer, times = Trainer(config, TokenDataset.load(config.data)), []
    with trainer.parallel:
        for _ in range(TRIED):
            start = time.perf_counter()
            trainer.update()
            times.append(time.perf_counter() - start)
    return float(np.median(times[5:]))


def unknown(data: TokenDataset) -> float:
    """The part of the validation text, in bytes, that `<unk>` stands for: bits a byte leave out what it costs."""
    mark = data.tokenizer.special_tokens.get(UNKNOWN)
    known = len(data.tokenizer.decode(data.val).encode()) - len(UNKNOWN) * int(np.sum(data.val == mark))
    return 1 - known / data.val_bytes


def share_of_tables(model: GPT) -> float:
    """The part of all parameters that is in the token vectors and in the head."""
    tables = [param for name, param in model.named_parameters() if name.startswith(("wte.", "head."))]
    return sum(table.size for table in tables) / model.n_params()


if __name__ == "__main__":
    cli.run(main)
