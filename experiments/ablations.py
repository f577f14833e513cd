#!/usr/bin/env python3
"""What each choice in a GPT is worth: the preset `quick` with one thing changed at a time, on three seeds.

    python experiments/ablations.py > assets/outputs/ablations.md

27 trainings of one to two minutes each. They stay in runs/ablations/, where what is done is not done again.
"""

from __future__ import annotations

import argparse
import math
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

import train
from experiments.runs import ROOT, best_loss, markdown, slug, trained
from numpygpt.training import Trainer
from numpygpt.training.start import begun, open_data
from numpygpt.utils import cli

SEEDS = (1337, 1, 2)
BASE, UNSCALED = "`quick` as it is", "residual projections not scaled at the start"
VARIANTS: dict[str, tuple[str, ...]] = {  # flags beside the preset's
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "ablations", help="where the runs are")
    parser.add_argument("more", nargs="*", help="flags for every training, after --: to try this out")
    args = parser.parse_args()
    losses = {name: [loss(name, seed, args.runs, args.more) for seed in SEEDS] for name in VARIANTS}
    print("\n".join(table(losses)))


def loss(name: str, seed: int, runs: Path, more: list[str]) -> float:
    """The best validation loss of a variant with a seed."""
    out = runs / f"{slug(name)}_{seed}"
    flags = ["quick", "--seed", str(seed), "--eval-tokens", "-1", "--workers", "1"]  # more would round sums otherwise
    flags += [*VARIANTS[name], *more]
    if name == UNSCALED:
        flags += ["--init-from", str(unscaled(runs / f"unscaled_{seed}.npz", flags))]
    return best_loss(trained(out, *flags))


def unscaled(path: Path, flags: list[str]) -> Path:
    """The parameters that a run begins with, but for the two matrices of each block that write into the residual
    stream: they are drawn from N(0, 0.02^2) like the others, without 1/sqrt(2 n_layers)."""
    if not path.exists():
        config = begun(train.parse([*flags, "--dry-run"])).config
        trainer = Trainer(config, open_data(config, make=True, say=partial(print, file=sys.stderr)))
        for name, param in trainer.model.params().items():
            if name.endswith("proj.W"):
                param *= math.sqrt(2 * trainer.config.model.n_layers)
        path.parent.mkdir(parents=True, exist_ok=True)
        trainer.save_model(path)
    return path


def table(losses: dict[str, list[float]]) -> list[str]:
    """A Markdown table: best validation losses in nats a character, their mean and spread, and the mean's distance from
    that of `quick`."""
    columns = ("changed", *(f"seed {seed}" for seed in SEEDS), "mean", "largest - smallest", "against `quick`")
    rows = []
    for name, found in losses.items():
        mean = float(np.mean(found))
        against = "" if name == BASE else f"{mean - float(np.mean(losses[BASE])):+.3f}"
        rows.append([name, *(f"{value:.4f}" for value in found), f"{mean:.3f}", f"{max(found) - min(found):.3f}",
                     against])
    return markdown(columns, rows)


if __name__ == "__main__":
    cli.run(main)
