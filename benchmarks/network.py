#!/usr/bin/env python3
"""Measure what `benchmarks/cost.py` starts from, and compare its predictions with real steps over a network.

    python benchmarks/network.py --write       two minutes; also writes assets/outputs/network.json and network.md

Two hosts of one core each share this machine (`benchmarks/hosts.py`): it needs root, Linux and two cores. The times of
a rank are measured without communication. Those of the network are measured by single calls over three links. Then
steps over other links are predicted, and measured. Let nothing else run meanwhile.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import cost
from benchmarks.cases import CASES, Case
from benchmarks.common import markdown, measured_on, row, show, write
from benchmarks.hosts import Hosts, missing
from benchmarks.peers import BETAS, DECAY, EPS, LR, batch, training
from numpygpt.optim import AdamW, clip_grad_norm
from numpygpt.parallel import blas_threads
from numpygpt.parallel.group import Group, started
from numpygpt.utils import cli

NAMES = ("quick", "char")
FREE, NEAR, FAR = ("10gbit", 0.0), ("1gbit", 0.0), ("1gbit", 0.01)  # calibration: rate, seconds
SIZES = (1 << 20, 1 << 22)  # entries of the arrays that are exchanged to calibrate
LINKS = tuple((rate, latency) for rate in ("1gbit", "100mbit") for latency in (0.001, 0.005, 0.02))
BITS = {"gbit": 1e9, "mbit": 1e6}
COLUMNS = ("case", "rate", "latency", "measured", "predicted", "of it computing", "error")


def parse(argv: list[str] | None = None) -> Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the results to assets/outputs/")
    parser.add_argument("--rank", choices=RANK, help="internal: be a rank that measures this")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    if args.rank:
        be_rank(args.rank)
        return 0
    if lacks := missing():
        raise RuntimeError(f"several hosts on one machine need {lacks}")
    jobs = {name: cost.Job(**of) for name, of in over(FREE, "alone").items()}
    calls = {link: over(link, "calls") for link in (FREE, NEAR, FAR)}
    link = calibrated(calls)
    lines = show([measured_on("numpy", "mpi4py", "mpich"), "", *markdown(COLUMNS)])
    for rate, latency in LINKS:
        one = replace(link, bandwidth=bytes_per_second(rate), latency=latency)
        for name, seconds in over((rate, latency), "steps").items():
            lines += show([compared(jobs[name], one, rate, seconds)])
    if args.write:
        found = {"link": asdict(link), "jobs": {name: asdict(job) for name, job in jobs.items()}}
        cost.MEASURED.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        write(cost.MEASURED.with_suffix(".md"), lines)
    return 0


def bytes_per_second(rate: str) -> float:
    """The bytes per second of a rate such as 1gbit."""
    number, unit = next((rate.removesuffix(unit), unit) for unit in BITS if rate.endswith(unit))
    return float(number) * BITS[unit] / 8


def over(link: tuple[str, float], what: str) -> dict[str, Any]:
    """What two ranks measure over a link: the results of a function of `RANK`."""
    with Hosts(2, *link) as hosts:
        process = hosts.mpiexec([sys.executable, __file__, "--rank", what], stdout=subprocess.PIPE, text=True)
        return json.loads(process.communicate(timeout=120)[0])


def be_rank(what: str) -> None:
    """Be a rank on a host of one core."""
    group = started()
    with blas_threads(1):
        found = RANK[what](group)
    if group.rank == 0:
        print(json.dumps(found), flush=True)


def timed(group: Group, call: Callable[[], Any], times: int) -> float:
    """The median of so many calls in seconds, all of which the ranks begin together; the slowest rank's counts."""
    spent = []
    for _ in range(times + 1):
        group.barrier()
        start = time.perf_counter()
        call()
        spent.append(max(group.share(time.perf_counter() - start)))
    return median(spent[1:])


def alone(group: Group) -> dict[str, Any]:
    """A Job for each case: the times of a rank, while the other ranks do the same."""
    return {name: asdict(job_of(CASES[name], group)) for name in NAMES}


def job_of(case: Case, group: Group, times: int = 9, workers: int = 1) -> cost.Job:
    """Measure the times of a rank: of forward and backward with half of the rows and with a quarter, and of an update."""
    spent = {}
    for rows in (case.B // 4, case.B // 2):
        parallel, _ = training(replace(case, B=rows), workers)
        x, y = batch(replace(case, B=rows))
        spent[rows] = timed(group, lambda: (parallel.loss(x, y), parallel.backward()), times)  # noqa: B023
    optimizer = AdamW(parallel.model, LR, BETAS, EPS, DECAY)

    def update() -> None:
        clip_grad_norm(parallel.model, 1.0, parallel.map_slices)
        optimizer.step(parallel.map_slices)

    few, many = spent
    token = (spent[many] - spent[few]) / (many - few) / case.T
    return cost.Job(case.name, parallel.model.n_params(), case.B, case.T, token, spent[few] - few * case.T * token,
                    timed(group, update, times), timed(group, optimizer.zero_grad, times))


def calls(group: Group) -> dict[str, Any]:
    """Seconds of a sum of a number, and of an exchange of arrays of two sizes."""
    found: dict[str, Any] = {"sum": timed(group, lambda: group.sum_scalar(1.0), 30)}
    for size in SIZES:
        flat, runs = np.ones(size, np.float32), [slice(0, size)]
        found[str(size)] = timed(group, lambda: group.sum(flat, runs), 5) / 2  # noqa: B023
    return found


def steps(group: Group) -> dict[str, Any]:
    """Seconds of a training step of each case that the ranks share, with the question of the training loop whether to
    stop."""
    found = {}
    for name in NAMES:
        _, step = training(CASES[name], 1, group)
        found[name] = timed(group, lambda: (step(), group.any(False)), 9)  # noqa: B023
    return found


RANK: dict[str, Callable[[Group], dict[str, Any]]] = {"alone": alone, "calls": calls, "steps": steps}


if __name__ == "__main__":
    cli.run(main)
