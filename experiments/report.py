#!/usr/bin/env python3
"""Print a table of runs: model sizes, losses, bits per byte, and time.

    python experiments/report.py runs/char runs/word runs/bpe > assets/outputs/experiments.md

Losses are in nats per token. Compare them only between runs with the same tokenizer; bits per byte compare all runs.
The time per step is measured when the table is made, on a new model with the same settings: let nothing else run
meanwhile. "took" is the duration that the run itself logged. It includes evaluations and samples, and is longer if
other programs ran at the same time.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.common import markdown, measured_on
from experiments.runs import best_loss, last_train_loss
from numpygpt.data import TokenDataset
from numpygpt.models import GPT
from numpygpt.plots.runs import load_run
from numpygpt.tokenizer.prompts import prompt_ids
from numpygpt.tokenizer.word import UNKNOWN
from numpygpt.training import Trainer
from numpygpt.training.base import Base
from numpygpt.training.config import Config
from numpygpt.training.model_check import run_config
from numpygpt.training.restore import restore
from numpygpt.utils import cli
from numpygpt.utils.text import duration

COLUMNS = (
    "run", "vocabulary", "parameters", "in the token tables", "steps", "tokens read", "last training loss",
    "best validation loss", "at step", "bits per byte", "unknown bytes", "characters in 500 tokens", "ms per step",
    "all steps", "took",
)  # fmt: skip
STEPS, WARMUP = 25, 5  # steps that are timed; the first of them do not count


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders")
    print("\n".join(report(parser.parse_args().runs)))


def report(folders: list[Path]) -> list[str]:
    """Return the machine, and a Markdown table with a row for each run."""
    return [measured_on("numpy"), "", *markdown(COLUMNS, map(row, folders))]


def row(folder: Path) -> list[str]:
    """Return one run's row of the table; its last training loss is the mean over 100 steps."""
    run = load_run(folder)
    model, tokenizer, source = restore(folder)
    found = run.metrics.eval
    best = run.best()
    if best is None:
        raise ValueError(f"{folder} has no evaluations yet")
    config, tables = run_config(source.checkpoint), fraction_in_tables(model)
    data, seconds = TokenDataset.load(config.data), step_seconds(config)
    ids = model.generate([prompt_ids(tokenizer, "")], 500, temperature=0.8, seed=0)
    return [run.name, f"{tokenizer.vocab_size:,}", f"{model.n_params():,}", f"{tables:.0%}", f"{run.total('step'):,}",
            f"{run.total('tokens') / 1e6:.1f}M", f"{last_train_loss(run):.3f}", f"{best_loss(run):.4f}",
            f"{int(found['step'][best]):,}", f"{float(found['bits_per_byte'][best]):.3f}", f"{unknown(data):.0%}",
            f"{len(tokenizer.decode(ids[0, -500:])):,}", f"{1e3 * seconds:.1f}", duration(run.total("step") * seconds),
            duration(run.total("seconds"))]


def step_seconds(config: Config, base: Base | None = None, steps: int = STEPS) -> float:
    """Measure the median seconds per step with these settings."""
    trainer, times = Trainer(config, TokenDataset.load(config.data), base), []
    with trainer.parallel:
        for _ in range(steps):
            start = time.perf_counter()
            trainer.update()
            times.append(time.perf_counter() - start)
    return float(np.median(times[WARMUP:]))


def unknown(data: TokenDataset) -> float:
    """Return the fraction of the validation text's bytes encoded as `<unk>`: bits per byte ignore what they cost."""
    mark = data.tokenizer.special_tokens.get(UNKNOWN)
    known = len(data.tokenizer.decode(data.val).encode()) - len(UNKNOWN) * int(np.sum(data.val == mark))
    return 1 - known / data.val_bytes


def fraction_in_tables(model: GPT) -> float:
    """Return the fraction of all parameters that is in the token embedding and in the output head."""
    tables = [param for name, param in model.named_parameters() if name.startswith(("wte.", "head."))]
    return sum(table.size for table in tables) / model.n_params()


if __name__ == "__main__":
    cli.run(main)
