#!/usr/bin/env python3
"""Compare GPT-2's blocks with Llama's at equal parameters and equal time: one change at a time, and all, three seeds.

    python experiments/modern.py > assets/outputs/modern.md

First the time per step of each variant is measured, and kept in runs/modern/steps.json; it gives each its number of
steps. Let nothing else run. Then 15 trainings of about a minute, on one thread each, as many at a time as there are
cores. They are kept in runs/modern/, and complete ones are not trained again.
"""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

import train
from benchmarks.common import markdown, measured_on
from experiments.report import step_seconds
from experiments.runs import best_loss, slug, train_run, training_parser
from numpygpt.parallel import blas_threads
from numpygpt.training.config import Config
from numpygpt.training.memory import parameters
from numpygpt.training.start import new_run, open_data
from numpygpt.utils import cli
from numpygpt.utils.cores import cores

SEEDS = (1337, 1, 2)
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
    os.environ |= {f"{library}_NUM_THREADS": "1" for library in ("OPENBLAS", "MKL", "OMP")}  # for the trainings
    with blas_threads(1):
        steps = measured_steps(args.runs, args.more)
    with ThreadPoolExecutor(cores()) as pool:  # seed by seed, so that the variants meet the same load
        jobs = list(product(SEEDS, VARIANTS))
        found = dict(zip(jobs, pool.map(lambda job: loss(*job, steps, args.runs, args.more), jobs), strict=True))
    losses = {name: [found[seed, name] for seed in SEEDS] for name in VARIANTS}
    print("\n".join([measured_on("numpy"), "", *table(losses, steps, args.more)]))


def flags_of(name: str, more: list[str]) -> list[str]:
    return [*VARIANTS[name].split(), "--eval-tokens", "-1", "--eval-every", str(STEPS), "--sample-tokens", "0",
            "--workers", "1", *more]


def config_of(name: str, more: list[str]) -> Config:
    return new_run(train.parse([*flags_of(name, more), "--dry-run"])).config


def measured_steps(runs: Path, more: list[str]) -> dict[str, int]:
    """Return the number of steps of each variant that take as long as `STEPS` of the first one."""
    path = runs / "steps.json"
    if not path.exists():
        configs = {name: config_of(name, more) for name in VARIANTS}
        open_data(configs[BASE], make=True, say=lambda text: print(text, file=sys.stderr))
        times = [{name: step_seconds(config) for name, config in configs.items()} for _ in range(ROUNDS)]
        fastest = {name: min(found[name] for found in times) for name in VARIANTS}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({name: round(STEPS * fastest[BASE] / fastest[name]) for name in VARIANTS}))
    return dict(json.loads(path.read_text()))


def loss(seed: int, name: str, steps: dict[str, int], runs: Path, more: list[str]) -> float:
    """Return the best validation loss of one variant with one seed."""
    warmup = STEPS // 20  # as in `quick`
    return best_loss(train_run(runs / f"{slug(name.split(':')[0])}_{seed}", *flags_of(name, more), "--seed", seed,
                               "--steps", steps[name], "--warmup", warmup))


def table(losses: dict[str, list[float]], steps: dict[str, int], more: list[str]) -> list[str]:
    """Return a Markdown table: parameters and steps, the best validation loss of each seed in nats per character, and
    the difference of the mean to the first row."""
    columns = ("blocks", "parameters", "steps", *(f"seed {seed}" for seed in SEEDS), "mean", "against `quick`")
    rows = []
    for name, found in losses.items():
        config, mean = config_of(name, more), float(np.mean(found))
        vocab_size = open_data(config, make=False, say=lambda text: None).vocab_size
        difference = "" if name == BASE else f"{mean - float(np.mean(losses[BASE])):+.3f}"
        rows.append([name, f"{parameters(config, vocab_size):,}", f"{steps[name]:,}", *(f"{one:.4f}" for one in found),
                     f"{mean:.3f}", difference])
    return markdown(columns, rows)


if __name__ == "__main__":
    cli.run(main)
