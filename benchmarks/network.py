#!/usr/bin/env python3
"""Measure what `benchmarks/cost.py` starts from, and compare its predictions with real steps over a network.

    python benchmarks/network.py machine        the times of this whole machine, for tables of the cost model
    python benchmarks/network.py steps > assets/outputs/network.md             steps over a network
    python benchmarks/network.py exchanges > assets/outputs/exchanges.md       our exchange of arrays, and MPI's own

The first two also write what they measured to assets/outputs/network.json. In the last two, two hosts of one core each
share this machine (`benchmarks/hosts.py`): they need root, Linux and two cores. The times of a rank are measured
without communication, and those of the network by single calls over two links. From these, steps over other links are
predicted, and then measured. Let nothing else run meanwhile.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import cost
from benchmarks.cases import CASES, Case
from benchmarks.common import markdown, measured_on, row, show
from benchmarks.hosts import Hosts, missing
from benchmarks.peers import BETAS, DECAY, EPS, LR, batch, training
from numpygpt.nn.flat import cut
from numpygpt.optim import AdamW, clip_grad_norm
from numpygpt.parallel import blas_threads
from numpygpt.parallel.group import BUCKET, LOCAL, Group, started
from numpygpt.utils import cli
from numpygpt.utils.cores import cores

TIMES = {"quick": 24, "char": 8}  # cases, and how many steps of each are measured
NEAR, FAR = ("1gbit", 0.0), ("1gbit", 0.02)  # calibration: rate, seconds
SIZES = (1 << 20, 1 << 22)  # entries of the arrays that are exchanged to calibrate
LINKS = tuple((rate, latency) for rate in ("1gbit", "100mbit") for latency in (0.001, 0.005, 0.02))
BITS = {"gbit": 1e9, "mbit": 1e6}
COLUMNS = ("case", "rate", "latency", "measured", "predicted", "of it computing", "error")


def parse(argv: list[str] | None = None) -> Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=COMMANDS, help="what to measure, as above")
    parser.add_argument("--rank", choices=RANK, help="internal: be a rank that measures this")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    if args.rank:
        be_rank(args.rank)
        return 0
    if lacks := missing():
        raise RuntimeError(lacks)
    COMMANDS[args.what]()
    return 0


def measure_machine() -> None:
    """Measure the times of `char` and of GPT-2 124M with all cores."""
    jobs = [job_of(CASES[name], LOCAL, CASES[name].B, cores(), times=2) for name in ("char", "gpt2")]
    keep(hosts={job.name: asdict(job) for job in jobs})


def keep(**found: Any) -> None:
    """Write what was measured, beside what the file already has."""
    before = json.loads(cost.MEASURED.read_text(encoding="utf-8")) if cost.MEASURED.exists() else {}
    cost.MEASURED.write_text(json.dumps(before | found, indent=2) + "\n", encoding="utf-8")


def compare_steps() -> None:
    """Predict steps, and measure them."""
    link = calibrated(over(NEAR, "calls"), over(FAR, "calls"))
    keep(link=asdict(link))
    show([measured_on("numpy", "mpi4py", "mpich"), "", *markdown(COLUMNS)])
    for rate, latency in LINKS:
        one = replace(link, bandwidth=bytes_per_second(rate), latency=latency)
        for job, seconds in over((rate, latency), "steps").values():
            show([compared(cost.Job(**job), one, rate, seconds)])


def compare_exchanges() -> None:
    """Print the times of a reduce-scatter and an all-gather of the parameters of `char`: ours, and MPI's own."""
    show([measured_on("numpy", "mpi4py", "mpich"), "", *markdown(["rate", "latency", *WAYS])])
    for rate, latency in (("1gbit", 0.001), ("1gbit", 0.02), ("100mbit", 0.005)):
        found = over((rate, latency), "ways")
        show([row([spoken(rate), f"{1e3 * latency:.0f} ms",
                   *(f"{1e3 * seconds:,.0f} ms" for seconds in found.values())])])


def spoken(rate: str) -> str:
    """1 Gbit/s for 1gbit."""
    unit = next(unit for unit in BITS if rate.endswith(unit))
    return f"{rate.removesuffix(unit)} {unit.capitalize()}/s"


def bytes_per_second(rate: str) -> float:
    """The bytes per second of a rate such as 1gbit."""
    number, unit = next((rate.removesuffix(unit), unit) for unit in BITS if rate.endswith(unit))
    return float(number) * BITS[unit] / 8


def over(link: tuple[str, float], what: str) -> dict[str, Any]:
    """What two ranks measure over a link: the results of a function of `RANK`."""
    with Hosts(2, *link) as hosts:
        process = hosts.mpiexec([sys.executable, __file__, "steps", "--rank", what], stdout=subprocess.PIPE, text=True)
        return json.loads(process.communicate(timeout=120)[0])


def be_rank(what: str) -> None:
    """Be a rank on a host of one core."""
    group = started()
    with blas_threads(1):
        found = RANK[what](group)
    if group.rank == 0:
        print(json.dumps(found), flush=True)


def timed(group: Group, call: Callable[[], Any], times: int) -> float:
    """Seconds per call, the median over pairs of calls. One rank may be a latency ahead of another, and behind it after
    the next call, so that single calls take too long and too short in turn."""
    call()
    group.barrier()
    at = [time.perf_counter()]
    for _ in range(times):
        call()
        at.append(time.perf_counter())
    return median((after - before) / 2 for before, after in zip(at, at[2:], strict=False))


def job_of(case: Case, group: Group, most: int, workers: int, times: int) -> cost.Job:
    """Measure the times of a rank: of forward and backward with `most` rows and with half as many, and of an update."""
    spent = {}
    for rows in (most // 2, most):
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
                    timed(group, update, times), timed(group, optimizer.zero_grad, times), most)


def calls(group: Group) -> dict[str, float]:
    """Seconds of a sum of a number, and of an exchange of arrays of two sizes."""
    found = {"sum": timed(group, lambda: group.sum_scalar(1.0), 30)}
    for size in SIZES:
        flat, runs = np.ones(size, np.float32), [slice(0, size)]
        found[str(size)] = timed(group, lambda: group.sum(flat, runs), 6) / 2  # noqa: B023
    return found


def calibrated(near: dict[str, float], far: dict[str, float]) -> cost.Link:
    """What the calls cost besides the rate and the latency of the links that they were measured over."""
    small, large = (cost.ITEM * size / 2 for size in SIZES)  # bytes that each of two ranks sends
    rate, latency, messages = bytes_per_second(NEAR[0]), FAR[1], (SIZES[1] - SIZES[0]) / BUCKET
    more = near[str(SIZES[1])] - near[str(SIZES[0])] - messages * near["sum"]
    byte = max(0.0, more / (large - small) - 1 / rate)
    speed = large / (far[str(SIZES[1])] - latency - large * byte)
    return cost.Link("measured", rate, latency, near["sum"], byte, 2 * latency * speed)


def compared(job: cost.Job, link: cost.Link, rate: str, seconds: float) -> str:
    """A row of the table: a measured step and its prediction."""
    step = cost.step(job, 2, link)
    return row([job.name, spoken(rate), f"{1e3 * link.latency:.0f} ms", f"{1e3 * seconds:,.0f} ms",
                f"{1e3 * step.seconds:,.0f} ms", f"{1e3 * (step.compute + step.update):,.0f} ms",
                f"{step.seconds / seconds - 1:+.0%}"])


def steps(group: Group) -> dict[str, Any]:
    """For each case the Job of a rank, measured while the other rank does the same, and seconds of a training step that
    the ranks share, with the question of the training loop whether to stop. One after the other, so that drift of the
    processor's speed is in both."""
    found = {}
    for name, times in TIMES.items():
        job = job_of(CASES[name], group, CASES[name].B // 2, 1, times // 2)
        _, step = training(CASES[name], 1, group)
        found[name] = (asdict(job), timed(group, lambda: (step(), group.any(False)), times))  # noqa: B023
    return found


def ours(group: Any, flat: np.ndarray) -> None:
    group.sum(flat, [slice(0, len(flat))])


def of_mpi(group: Any, flat: np.ndarray, entries: int = 1 << 20) -> None:
    """The same by MPI's own calls, for pieces of so many entries, by default 4 MB."""
    for piece in (flat[s] for s in cut(0, len(flat), entries)):
        counts = [len(piece) // 2, len(piece) - len(piece) // 2]
        group.comm.Reduce_scatter(piece, np.empty(counts[group.rank], piece.dtype), counts)
        group.comm.Allgatherv(group.mpi.IN_PLACE, [piece, counts])


WAYS = {"ours": ours, "MPI's own, in pieces of 4 MB": of_mpi,
        "MPI's own, all at once": lambda group, flat: of_mpi(group, flat, len(flat))}


def ways(group: Group) -> dict[str, float]:
    """Seconds of a reduce-scatter and an all-gather of the parameters of `char`, in each way."""
    flat = np.ones(3_208_960, np.float32)
    return {name: timed(group, partial(way, group, flat), 2) for name, way in WAYS.items()}


RANK: dict[str, Callable[[Group], dict[str, Any]]] = {"calls": calls, "steps": steps, "ways": ways}
COMMANDS = {"machine": measure_machine, "steps": compare_steps, "exchanges": compare_exchanges}


if __name__ == "__main__":
    cli.run(main)
