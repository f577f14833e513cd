#!/usr/bin/env python3
"""Compare GPT-2's blocks with Llama's at equal parameters and equal time: one change at a time, and all, three seeds.

    python experiments/modern.py > assets/outputs/modern.md

First the time per step of each variant is measured, and kept in runs/modern/steps.json; it gives each its number of
steps. Let nothing else run. Then 15 trainings of about a minute, side by side, one core each. They are kept in
runs/modern/, and complete ones are not trained again.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import measured_on
from experiments.report import step_seconds
from experiments.runs import config_of, prepared
from experiments.sweep import SEEDS, jobs, loss_table, losses, train_all, training_parser
from numpygpt.parallel import blas_threads
from numpygpt.training.memory import parameters
from numpygpt.utils import cli

STEPS = 500  # of the first variant; the others take as long
ROUNDS = 3  # of measuring the time per step, in turn: the machine may be slower now and then
BASE, ALL = "`quick`: LayerNorm, learned positions, GELU, biases", "`llama_quick`: all of it, no biases"
VARIANTS: dict[str, str] = {  # preset and flags; d_ff makes the number of parameters equal
    BASE: "quick",
    "RMSNorm": "quick --norm rmsnorm",
    "rotary positions": "quick --positions rope --d-ff 520",
    "gated SiLU": "quick --ffn gated --activation silu",
    ALL: "llama_quick",
}


def main() -> None:
    args = training_parser(__doc__, "modern").parse_args()
    with blas_threads(1):
        steps = measured_steps(args.runs, args.more)
    variants = {name: arguments(name, steps) for name in VARIANTS}
    complete = train_all(jobs(variants, SEEDS, args.runs, args.more))
    found = losses(VARIANTS, SEEDS, args.runs, complete)
    table = loss_table(found, SEEDS, "blocks", "`quick`", sizes(steps, args.more))
    print("\n".join([measured_on("numpy"), "", *table]))


def arguments(name: str, steps: dict[str, int]) -> list[object]:
    """Return the arguments of train.py for one variant."""
    warmup = STEPS // 20  # as in `quick`
    return [*VARIANTS[name].split(), "--eval-every", STEPS, "--steps", steps[name], "--warmup", warmup]


def measured_steps(runs: Path, more: list[str]) -> dict[str, int]:
    """Return the number of steps of each variant that take as long as `STEPS` of the first one."""
    path = runs / "steps.json"
    if not path.exists():
        configs = {name: config_of([*VARIANTS[name].split(), "--workers", 1, *more]) for name in VARIANTS}
        prepared(configs[BASE])
        times = [{name: step_seconds(config) for name, config in configs.items()} for _ in range(ROUNDS)]
        fastest = {name: min(found[name] for found in times) for name in VARIANTS}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({name: round(STEPS * fastest[BASE] / fastest[name]) for name in VARIANTS}))
    return dict(json.loads(path.read_text()))


def sizes(steps: dict[str, int], more: list[str]) -> dict[str, list[str]]:
    """Return the columns of the table that come before the losses."""
    configs = [config_of([*VARIANTS[name].split(), *more]) for name in VARIANTS]
    vocab_size = prepared(configs[0]).vocab_size
    return {"parameters": [f"{parameters(config, vocab_size):,}" for config in configs],
            "steps": [f"{steps[name]:,}" for name in VARIANTS]}


if __name__ == "__main__":
    cli.run(main)
