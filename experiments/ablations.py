#!/usr/bin/env python3
"""Measure what each choice in a GPT is worth: the preset `quick` with one change at a time, on three seeds.

    python experiments/ablations.py > assets/outputs/ablations.md

27 trainings of one to two minutes each. They are kept in runs/ablations/, and complete ones are not trained again.
"""

from __future__ import annotations

import math
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

import train
from benchmarks.common import markdown
from experiments.runs import best_loss, slug, train_run, training_parser
from numpygpt.training import Trainer
from numpygpt.training.start import new_run, open_data
from numpygpt.utils import cli

SEEDS = (1337, 1, 2)
BASE, UNSCALED = "`quick` as it is", "residual projections not scaled at the start"
VARIANTS: dict[str, tuple[str, ...]] = {  # flags in addition to the preset
    BASE: (),
    "sinusoidal positions": ("--positions", "sinusoidal"),
    "ReLU": ("--activation", "relu"),
    "untied head": ("--no-tie-weights",),
    UNSCALED: (),
    "no warm-up": ("--warmup", "0"),
    "no clipping": ("--clip", "0"),
    "dropout 0.1": ("--dropout", "0.1"),
    "dropout 0.2": ("--dropout", "0.2"),
}


def main() -> None:
    args = training_parser(__doc__, "ablations").parse_args()
    losses = {name: [loss(name, seed, args.runs, args.more) for seed in SEEDS] for name in VARIANTS}
    print("\n".join(table(losses)))


def loss(name: str, seed: int, runs: Path, more: list[str]) -> float:
    """Return the best validation loss of one variant with one seed."""
    out = runs / f"{slug(name)}_{seed}"
    flags = ["quick", "--seed", str(seed), "--eval-tokens", "-1", "--workers", "1"]  # one worker: the same rounding
    flags += [*VARIANTS[name], *more]
    if name == UNSCALED:
        flags += ["--init-from", str(unscaled(runs / f"unscaled_{seed}.npz", flags))]
    return best_loss(train_run(out, *flags))


def unscaled(path: Path, flags: list[str]) -> Path:
    """Save initial parameters without GPT-2's scaling of the residual projections.

    The two matrices of each block that write to the residual stream are drawn from N(0, 0.02^2) like all others: the
    factor 1/sqrt(2 n_layers) is undone.
    """
    if not path.exists():
        config = new_run(train.parse([*flags, "--dry-run"])).config
        trainer = Trainer(config, open_data(config, make=True, say=partial(print, file=sys.stderr)))
        for name, param in trainer.model.params().items():
            if name.endswith("proj.W"):
                param *= math.sqrt(2 * trainer.config.model.n_layers)
        path.parent.mkdir(parents=True, exist_ok=True)
        trainer.save_model(path)
    return path


def table(losses: dict[str, list[float]]) -> list[str]:
    """Return a Markdown table: the best validation loss of each seed in nats per character, mean, spread, and the
    difference of the mean to `quick`."""
    columns = ("changed", *(f"seed {seed}" for seed in SEEDS), "mean", "largest - smallest", "against `quick`")
    rows = []
    for name, found in losses.items():
        mean = float(np.mean(found))
        difference = "" if name == BASE else f"{mean - float(np.mean(losses[BASE])):+.3f}"
        rows.append([name, *(f"{value:.4f}" for value in found), f"{mean:.3f}", f"{max(found) - min(found):.3f}",
                     difference])
    return markdown(columns, rows)


if __name__ == "__main__":
    cli.run(main)
