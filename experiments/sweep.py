#!/usr/bin/env python3
"""Train many runs side by side, one core each, and print a table of their best validation losses.

    python experiments/sweep.py quick --vary lr=1e-3,3e-3,1e-2 --seeds 1 2 3
    python experiments/sweep.py quick --vary n-layers=2,4 --vary tie-weights=true,false -- --steps 500

Every combination of the values is trained with every seed. The runs are kept in runs/sweep/: plot.py draws them, and
the same command later resumes what was interrupted and trains only what is missing. If a run fails, the others go on.
Ctrl-C stops all runs; each saves a checkpoint first.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentTypeError
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.common import markdown
from experiments.runs import best_loss, config_of, is_complete, missing_arguments, prepared, slug
from numpygpt.plots.runs import RunData, load_run
from numpygpt.utils import cli
from numpygpt.utils.cores import cores
from numpygpt.utils.paths import ROOT
from numpygpt.utils.signals import signals_wait
from numpygpt.utils.text import duration

SEEDS = (1337, 1, 2)  # of the tables in docs/EXPERIMENTS.md
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OPENBLAS", "MKL", "OMP", "VECLIB_MAXIMUM")}
COMPARABLE = ("--eval-tokens", "-1", "--sample-tokens", "0")  # every evaluation reads the whole validation split
POLL = 0.1  # seconds between two looks at the running trainings


class Failed(RuntimeError):
    """Some runs failed. `complete` holds the others."""

    def __init__(self, reasons: Mapping[Path, str], complete: dict[Path, RunData]):
        super().__init__(f"{len(reasons)} of {len(reasons) + len(complete)} runs failed: "
                         + "; ".join(f"{out.name} ({reason})" for out, reason in reasons.items()))
        self.complete = complete


def main() -> None:
    parser = training_parser(__doc__, "sweep", preset=True)
    parser.add_argument("--vary", action="append", type=varied, default=[], metavar="FLAG=VALUE,VALUE",
                        help="train with each of these values; several --vary give all combinations")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, metavar="N", help="train with each of these")
    args = parser.parse_intermixed_args()  # flags for the trainings may follow ours
    variants, failed = combinations([args.preset, *args.more], args.vary), None
    try:
        complete = train_all(jobs(variants, args.seeds, args.runs))
    except Failed as error:
        complete, failed = error.complete, error
    print("\n".join(loss_table(losses(variants, args.seeds, args.runs, complete), args.seeds, "run")))
    if failed:
        raise failed


def training_parser(description: str, folder: str, preset: bool = False) -> cli.ArgumentParser:
    """Return a parser for a script that trains several runs, of one preset if the command names it."""
    parser = cli.ArgumentParser(description=description)
    if preset:
        parser.add_argument("preset", type=cli.name, help="a name in configs/ or a .toml file")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / folder, metavar="DIR",
                        help="folder of the runs")
    parser.add_argument("more", nargs="*", metavar="FLAG", help="flags for every training, after --; for a quick trial")
    return parser


def varied(text: str) -> list[tuple[str, tuple[str, ...]]]:
    """Parse `lr=1e-3,3e-3`: for each value its name in the table and its flags."""
    name, equals, values = text.partition("=")
    if not (name and equals and all(values.split(","))):
        raise ArgumentTypeError(f"expected FLAG=VALUE,VALUE such as lr=1e-3,3e-3, got {text!r}")
    flag = name.lstrip("-").replace("_", "-")
    switch = {"true": (f"--{flag}",), "false": (f"--no-{flag}",)}
    return [(f"{flag} {value}", switch.get(value, (f"--{flag}", value))) for value in values.split(",")]


def combinations(words: Sequence[str],
                 choices: Iterable[list[tuple[str, tuple[str, ...]]]]) -> dict[str, tuple[str, ...]]:
    """Return the arguments of train.py, which begin with `words`, for every combination of values, by its name."""
    return {", ".join([Path(words[0]).stem, *(name for name, _ in chosen)]): (*words, *sum((f for _, f in chosen), ()))
            for chosen in product(*choices)}


def jobs(variants: Mapping[str, Sequence[object]], seeds: Iterable[int], runs: Path,
         more: Sequence[str] = ()) -> dict[Path, list[object]]:
    """Return the trainings of each variant (name -> arguments of train.py, then `more`) with each seed, by folder.

    They go seed by seed, so that the variants meet the same load.
    """
    return {folder(runs, name, seed): [*arguments, "--seed", seed, *COMPARABLE, *more]
            for seed in seeds for name, arguments in variants.items()}


def folder(runs: Path, name: str, seed: int) -> Path:
    """Return where the run of a variant with a seed is kept. A remark in the name, after a colon, does not count."""
    return runs / f"{slug(name.split(':')[0])}_{seed}"


def train_all(wanted: Mapping[Path, Sequence[object]], ranks: int = 1) -> dict[Path, RunData]:
    """Run `./train.py ARGUMENTS --out OUT` for each folder -> arguments, as many at a time as there are cores. Each has
    one process (or `ranks` of them) with one worker and one BLAS thread.

    Complete runs are not trained again, and interrupted ones resume. A line per finished run goes to standard error.
    Raises ValueError if a folder holds a different run, and `Failed` when all have ended if some of them failed.
    """
    words = {out: ["--workers", "1", *map(str, arguments)] for out, arguments in wanted.items()}
    missing = {out: todo for out in words if (todo := missing_arguments(out, words[out]))}
    for config in {config.data: config for config in (config_of(words[out]) for out in missing)}.values():
        prepared(config)  # once, before several runs need it
    note(f"{len(missing)} of {len(wanted)} runs to train")
    failed = side_by_side(missing, max(1, cores() // ranks), ranks)
    complete = {out: load_run(out) for out in wanted if out not in failed}
    if failed:
        raise Failed(failed, complete)
    return complete


def side_by_side(trainings: Mapping[Path, list[str]], at_once: int, ranks: int = 1) -> dict[Path, str]:
    """Run `./train.py ARGUMENTS` for each run folder -> arguments, `at_once` at a time, and print a line for each.
    Return why runs failed, by folder. If an exception ends this, such as Ctrl-C, all trainings save and end."""
    waiting, running, failed = deque(trainings.items()), {}, {}
    with cli.clean_stop():
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    out, words = waiting.popleft()
                    with signals_wait():  # started and listed, or neither
                        running[out] = Training(out, words, ranks)
                time.sleep(POLL)
                for training in [training for training in running.values() if training.process.poll() is not None]:
                    del running[training.out]
                    if reason := training.failure():
                        failed[training.out] = reason
                    done = len(trainings) - len(waiting) - len(running)
                    note(f"{done}/{len(trainings)} {training.out.name}: "
                         + (f"failed: {reason}" if reason else result(load_run(training.out))))
        finally:
            end([training.process for training in running.values()])
    return failed


class Training:
    """A running `./train.py ARGUMENTS`, in a session of its own: a terminal's Ctrl-C reaches only the sweep."""

    def __init__(self, out: Path, arguments: list[str], ranks: int):
        self.out = out
        self.errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "train.py"), *arguments, "--processes", str(ranks)], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=self.errors, env=os.environ | ONE_THREAD, start_new_session=True)

    def failure(self) -> str:
        """Return why the training has failed, or an empty string."""
        with self.errors:
            self.errors.seek(0)
            lines = self.errors.read().split("\n")
        if self.process.returncode:
            return next((line for line in reversed(lines) if line.strip()), f"status {self.process.returncode}")
        return "" if is_complete(self.out) else "it was stopped"


def end(processes: list[subprocess.Popen]) -> None:
    """Let trainings save and end; an exception meanwhile, such as a second Ctrl-C, ends them at once."""
    try:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
    except BaseException:
        for process in processes:
            process.kill()
        raise


def result(run: RunData) -> str:
    """Return a run's loss and time in words."""
    return f"best validation loss {best_loss(run):.4f}, {duration(run.total('seconds'))}"


def note(text: str) -> None:
    """Print to standard error; tables go to standard output."""
    print(text, file=sys.stderr, flush=True)


def losses(variants: Iterable[str], seeds: Iterable[int], runs: Path,
           complete: Mapping[Path, RunData]) -> dict[str, list[float]]:
    """Return each variant's best validation losses by seed, in nats per token; nan for a run that is not complete."""
    found = {out: best_loss(run) for out, run in complete.items()}
    return {name: [found.get(folder(runs, name, seed), math.nan) for seed in seeds] for name in variants}


def loss_table(losses: Mapping[str, Sequence[float]], seeds: Sequence[int], what: str, against: str = "the first",
               extra: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """Return a Markdown table: each variant's best validation loss for each seed, their mean and spread, and the
    difference of the mean to that of the first row. `extra` (column -> cells) comes first."""
    extra = extra or {}
    columns = (what, *extra, *(f"seed {seed}" for seed in seeds), "mean", "largest - smallest", f"against {against}")
    first, rows = float(np.mean(next(iter(losses.values())))), []
    for i, (name, found) in enumerate(losses.items()):
        mean = float(np.mean(found))
        seeds_cells = ("failed" if math.isnan(loss) else f"{loss:.4f}" for loss in found)
        rows.append([name, *(cells[i] for cells in extra.values()), *seeds_cells, f"{mean:.3f}",
                     f"{np.ptp(found):.3f}", f"{mean - first:+.3f}" if i else ""])
    return markdown(columns, rows)


if __name__ == "__main__":
    cli.run(main)
