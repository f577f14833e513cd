#!/usr/bin/env python3
"""Measure what each choice in a GPT is worth: the preset `quick` with one change at a time, on three seeds.

    python experiments/ablations.py > assets/outputs/ablations.md

27 trainings of one to two minutes each, side by side. They are kept in runs/ablations/, and complete ones are not
trained again.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from experiments.runs import config_of, prepared
from experiments.sweep import SEEDS, folder, jobs, loss_table, losses, train_all, training_parser
from numpygpt.training import Trainer
from numpygpt.utils import cli

BASE, UNSCALED = "`quick` as it is", "residual projections not scaled at the start"
VARIANTS: dict[str, tuple[str, ...]] = {  # preset and flags
    BASE: ("quick",),
    "sinusoidal positions": ("quick", "--positions", "sinusoidal"),
    "ReLU": ("quick", "--activation", "relu"),
    "untied head": ("quick", "--no-tie-weights"),
    UNSCALED: ("quick",),
    "no warm-up": ("quick", "--warmup", "0"),
    "no clipping": ("quick", "--clip", "0"),
    "dropout 0.1": ("quick", "--dropout", "0.1"),
    "dropout 0.2": ("quick", "--dropout", "0.2"),
}


def main() -> None:
    args = training_parser(__doc__, "ablations").parse_args()
    complete = train_all(trainings(args.runs, args.more))
    print("\n".join(loss_table(losses(VARIANTS, SEEDS, args.runs, complete), SEEDS, "changed", "`quick`")))


def trainings(runs: Path, more: list[str]) -> dict[Path, list[object]]:
    """Return the arguments of all trainings, by folder."""
    wanted = jobs(VARIANTS, SEEDS, runs, more)
    for seed in SEEDS:
        arguments = wanted[folder(runs, UNSCALED, seed)]
        arguments += ["--init-from", unscaled(runs / f"unscaled_{seed}.npz", arguments)]
    return wanted


def unscaled(path: Path, arguments: list[object]) -> Path:
    """Save initial parameters without GPT-2's scaling of the residual projections.

    The two matrices of each block that write to the residual stream are drawn from N(0, 0.02^2) like all others: the
    factor 1/sqrt(2 n_layers) is undone.
    """
    if not path.exists():
        config = config_of(arguments)
        trainer = Trainer(config, prepared(config))
        for name, param in trainer.model.params().items():
            if name.endswith("proj.W"):
                param *= math.sqrt(2 * trainer.config.model.n_layers)
        path.parent.mkdir(parents=True, exist_ok=True)
        trainer.save_model(path)
    return path


if __name__ == "__main__":
    cli.run(main)
