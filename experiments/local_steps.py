#!/usr/bin/env python3
"""Measure what `sync_every` costs in loss and saves in bytes: ranks that train apart, against ranks that share steps.

    python experiments/local_steps.py > assets/outputs/local_steps.md

A small model of characters, at equal tokens: every run reads the same batches, and n ranks take 1/n of each. Ranks that
share every step do the same as one process, so one process stands for them. "One of n ranks alone" is what a rank would
reach without the others, with its part of the tokens. 21 trainings, kept in runs/local_steps/; complete ones are not
trained again. Then, as root on Linux, the bytes that a rank sends are counted between several hosts (network
namespaces), and compared with those that the sizes predict.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import hosts
from benchmarks.common import markdown, measured_on, show
from experiments.runs import config_of, prepared
from experiments.sweep import SEEDS, jobs, loss_table, losses, note, train_all, training_parser
from numpygpt.training.memory import parameters
from numpygpt.utils import cli
from numpygpt.utils.paths import ROOT

RANKS, EVERY = (2, 4), (10, 50)
MODEL = "quick --d-model 64 --n-heads 2 --n-layers 2 --batch-size 24 --steps 1000 --eval-every 500".split()


class Variant(NamedTuple):
    """`ranks` ranks that come together every `every` steps (1: they share each step; 0: never), in so many
    processes."""

    ranks: int
    every: int
    processes: int
    flags: tuple[object, ...]


def variants(batch_size: int) -> dict[str, Variant]:
    """Return all variants by name, those that share every step first: one run for any number of ranks."""
    found = {f"every step: {n} ranks": Variant(n, 1, 1, ()) for n in RANKS}
    found |= {f"every {every} steps, {n} ranks": Variant(n, every, n, ("--sync-every", every))
              for n in RANKS for every in EVERY}
    return found | {f"never, one of {n} ranks": Variant(n, 0, 1, ("--batch-size", batch_size // n)) for n in RANKS}


def main() -> None:
    args = training_parser(__doc__, "local_steps").parse_args()
    words = [*MODEL, *args.more]
    config = config_of(words)
    all_ = variants(config.batch_size)
    found = train(all_, args.runs, words)
    size = 4 * parameters(config, prepared(config).vocab_size)
    sent = {name: sent_per_step(variant, size) for name, variant in all_.items()}
    columns = {"sent per rank": [f"{config.steps * bytes_ / 1e6:,.1f} MB" for bytes_ in sent.values()]}
    model = config.model
    setting = f"{size // 4:,} parameters, {config.steps:,} steps of {config.batch_size} x {model.max_len} tokens."
    show([measured_on("numpy", "mpi4py", "mpich"), "", setting, "",
          *loss_table(found, SEEDS, "ranks meet", "every step", columns)])
    if lacking := hosts.missing():
        note(f"the bytes were not counted: {lacking}")
        return
    counts = {name: counted(variant, words) for name, variant in all_.items() if variant.every}
    show(["", *markdown(("ranks meet", "sent per rank and step, predicted", "counted"), [
        [name, f"{sent[name]:,.0f} bytes", f"{count:,.0f} bytes"] for name, count in counts.items()])])


def train(all_: Mapping[str, Variant], runs: Path, words: list[str]) -> dict[str, list[float]]:
    """Train all variants with all seeds; return their best validation losses by seed."""
    complete = {}
    for processes in sorted({variant.processes for variant in all_.values()}):
        arguments = {name: [*words, *variant.flags] for name, variant in all_.items() if variant.processes == processes}
        complete |= train_all(jobs(arguments, SEEDS, runs), processes)
    return losses(all_, SEEDS, runs, complete)


def sent_per_step(variant: Variant, size: int) -> float:
    """Return how many bytes a rank sends per step, on average. `size` is that of the parameters.

    Summing the gradients (reduce-scatter) and spreading the parameters (all-gather) each send (n - 1) / n of them. A
    meeting of ranks that train apart does the same once, with parameters only.
    """
    n, every, *_ = variant
    return 2 * (n - 1) / n * size / every if every else 0.0


def counted(variant: Variant, words: list[str]) -> float:
    """Return how many bytes a rank sends per step: the difference of two runs, as counted by a host's network."""
    few = variant.every * (4 if variant.every > 1 else 20)
    counts = []
    with hosts.Hosts(variant.ranks) as several, tempfile.TemporaryDirectory() as folder:
        for steps in (few, 2 * few):
            before = several.sent(1)
            flags = [*variant.flags, "--steps", steps, "--eval-every", 2 * few, "--sample-tokens", 0]
            command = [sys.executable, ROOT / "train.py", *words, *flags, "--workers", 1, "--out", f"{folder}/{steps}"]
            if status := several.mpiexec(command, stdout=sys.stderr).wait():
                raise RuntimeError(f"training on {variant.ranks} hosts ended with status {status}")
            counts.append(several.sent(1) - before)
    return (counts[1] - counts[0]) / few


if __name__ == "__main__":
    cli.run(main)
