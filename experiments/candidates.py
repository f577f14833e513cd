#!/usr/bin/env python3
"""Train the candidates for the presets `best_*`: models of characters, each trained for some minutes.

    python experiments/candidates.py > assets/outputs/candidates.md

Eight trainings side by side, one hour on two cores. They are kept in runs/candidates/, and complete ones are not
trained again. The table's time per step is measured when the table is made: let nothing else run meanwhile.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import markdown, measured_on
from experiments.report import step_seconds
from experiments.runs import best_loss, last_train_loss, slug
from experiments.sweep import train_all, training_parser
from numpygpt.plots.runs import RunData, read_config
from numpygpt.training.config import Config
from numpygpt.utils import cli
from numpygpt.utils.text import duration

NARROW = "quick --context 128 --batch-size 8 --steps 4700 --warmup 200 --eval-every 2350 --eval-tokens -1"
CANDIDATES = {  # flags in addition to those of `narrow`; a step that does more work gets fewer steps
    "narrow": "",
    "context 64": "--context 64 --batch-size 16 --steps 4900 --eval-every 2450",
    "context 256": "--context 256 --batch-size 4 --steps 4400 --eval-every 2200",
    "higher rate": "--lr 6e-3",
    "wider": "--d-model 192 --n-heads 3 --steps 2900 --warmup 150 --eval-every 725",
    "wider, ReLU, untied": "--d-model 192 --n-heads 3 --steps 2900 --warmup 150 --eval-every 1450 "
                           "--activation relu --no-tie-weights",
    "wider, small batches": "--d-model 192 --n-heads 6 --batch-size 4 --steps 5600 --eval-every 2800",
    "widest": "--d-model 256 --lr 2e-3 --steps 2000 --warmup 100 --eval-every 500",
}
SETTINGS = ("d_model", "n_heads", "context", "batch_size", "lr", "steps")
COLUMNS = ("run", *SETTINGS, "tokens read", "last training loss", "best validation loss", "ms per step", "all steps")


def main() -> None:
    args = training_parser(__doc__, "candidates").parse_args()
    runs = train_all(trainings(args.runs, args.more))
    rows = [row(name, run) for name, run in zip(CANDIDATES, runs.values(), strict=True)]
    print("\n".join([measured_on("numpy"), "", *markdown(COLUMNS, rows)]))


def trainings(runs: Path, more: list[str]) -> dict[Path, list[str]]:
    """Return the arguments of all trainings, by folder."""
    return {runs / slug(name): [*NARROW.split(), *flags.split(), *more] for name, flags in CANDIDATES.items()}


def row(name: str, run: RunData) -> list[str]:
    """Return one candidate's row of the table."""
    config = Config().changed(read_config(run.folder / "config.toml"), str(run.folder))
    seconds = step_seconds(config)
    values = config.to_dict()
    return [name, *(f"{values[key]:,}" for key in SETTINGS), f"{run.total('tokens') / 1e6:.1f}M",
            f"{last_train_loss(run):.3f}", f"{best_loss(run):.4f}", f"{1e3 * seconds:.1f}",
            duration(run.total("step") * seconds)]


if __name__ == "__main__":
    cli.run(main)
