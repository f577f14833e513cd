#!/usr/bin/env python3
"""How long a training step takes on n ranks over a network: a model of the cost, and tables from it.

    python benchmarks/cost.py > assets/outputs/cost.md      the tables of docs/SCALING.md

The times that it starts from were measured by `benchmarks/network.py`, which also compares the model with real steps.
A step of a rank is the sum of

    compute    forward and backward of the rank's rows: a time per call of the layers, and a time per token
    update     clipping and optimiser of the rank's part of the parameters: 1 / n of the whole (all of it with H)
    bandwidth  a reduce-scatter of the gradients and an all-gather of the parameters: 2 (n - 1) / n of their bytes
    latency    of these two, of their messages, and of the numbers that all ranks sum in a step (loss, norm, stop)

With `sync_every` = H the last two are paid once in H steps. Rows are whole: more ranks than rows have nothing to do.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import markdown, show
from numpygpt.parallel.group import AHEAD, BUCKET, PART
from numpygpt.utils import cli
from numpygpt.utils.paths import ROOT

MEASURED = ROOT / "assets" / "outputs" / "network.json"
FRAMES = 1448 / 1538  # of the bytes on an Ethernet are ours: 1,500 per frame, of which 52 are headers, and 38 between
SCALARS = 3  # numbers that all ranks sum in a step
ITEM = 4  # bytes per parameter
RANKS = (2, 4, 8, 16, 64, 256, 1000)
HOSTS = {"as measured": 1.0, "30 times as fast": 30.0}
APART = (1, 100, 500)  # values of sync_every over home lines
ENOUGH = 0.5  # an efficiency below this is reported


@dataclass(frozen=True)
class Job:
    """A model and a batch, and the times of one rank: `token`, `calls`, `update` and `clear` in seconds."""

    name: str
    params: int
    rows: int  # sequences per step, of all ranks together
    context: int  # tokens per sequence
    token: float  # forward and backward, per token
    calls: float  # forward and backward, however few tokens
    update: float  # clipping and the optimiser, for all parameters
    clear: float  # clearing all gradients
    at_once: int  # sequences per call; more are several micro-batches

    def faster(self, speed: float) -> Job:
        """The same job on hosts `speed` times as fast."""
        return replace(self, **{name: getattr(self, name) / speed for name in ("token", "calls", "update", "clear")})


@dataclass(frozen=True)
class Link:
    """What joins two hosts, as a program sees it."""

    name: str
    bandwidth: float  # bytes per second, each way
    latency: float  # seconds, one way
    message: float = 0.0  # seconds of the processor per message
    byte: float = 0.0  # seconds of the processor per byte that is sent and received
    window: float = 3e6  # bytes that TCP sends to a host before it must have an answer


@dataclass(frozen=True)
class Step:
    """The parts of a step's time, in seconds. Communication that `overlap` hides is left out."""

    compute: float
    update: float
    bandwidth: float
    latency: float

    @property
    def seconds(self) -> float:
        return self.compute + self.update + self.bandwidth + self.latency


def exchange(size: int, n: int, link: Link) -> tuple[float, float]:
    """Seconds of a reduce-scatter, or of an all-gather, of `size` bytes: (due to bandwidth, due to latency)."""
    if n == 1:
        return 0.0, 0.0
    bucket = ITEM * max(BUCKET, PART * n)
    moved, messages = size * (n - 1) / n, math.ceil(size / bucket) * (n - 1)
    unanswered = min(link.window * (n - 1), 2 * (AHEAD + 1) * bucket * (n - 1) / n)
    wait = max(0.0, 2 * link.latency / unanswered - 1 / link.bandwidth)  # per byte, on a long and fast line
    return moved * (1 / link.bandwidth + link.byte), link.latency + moved * wait + messages * link.message


def sums(n: int, link: Link) -> float:
    """Seconds until all ranks have the sum of a number: each round doubles the ranks that know of each other."""
    return math.ceil(math.log2(n)) * (link.latency + link.message)


def step(job: Job, n: int, link: Link, sync_every: int = 0, overlap: float = 0.0) -> Step:
    """The mean time of a step on n ranks. `overlap` is the fraction of backward that can hide communication."""
    rows = math.ceil(job.rows / n)
    compute = math.ceil(rows / job.at_once) * job.calls + rows * job.context * job.token
    bandwidth, latency = (2 * part for part in exchange(ITEM * job.params, n, link))
    if sync_every:
        return Step(compute, job.update + job.clear, bandwidth / sync_every, latency / sync_every)
    hidden = min(overlap * 2 / 3 * compute, bandwidth / 2)  # the gradients, but not the new parameters
    return Step(compute, job.update / n + job.clear, bandwidth - hidden, latency + SCALARS * sums(n, link))


def efficiency(job: Job, n: int, link: Link, sync_every: int = 0, overlap: float = 0.0) -> float:
    """What n ranks reach of n times the speed of one."""
    return step(job, 1, link).seconds / (n * step(job, n, link, sync_every, overlap).seconds)


def cause(job: Job, n: int, link: Link, sync_every: int = 0, overlap: float = 0.0) -> str:
    """Where most of the time goes that n ranks lose."""
    alone, of = step(job, 1, link), step(job, n, link, sync_every, overlap)
    lost = {"too few rows per rank": of.compute - alone.compute / n, "update": of.update - alone.update / n,
            "bandwidth": of.bandwidth, "latency": of.latency}
    return max(lost, key=lambda name: lost[name])


def limit(job: Job, link: Link, sync_every: int = 0, overlap: float = 0.0, most: int = 1000) -> tuple[int, str]:
    """The fewest ranks, up to `most`, whose efficiency is below 50 %, and why; (0, "") if there are none."""
    for n in range(2, most + 1):
        if efficiency(job, n, link, sync_every, overlap) < ENOUGH:
            return n, cause(job, n, link, sync_every, overlap)
    return 0, ""


def links(measured: Link) -> list[Link]:
    """Three local networks and a home line. With TCP, the processor's costs are the measured ones."""
    return [replace(measured, name="1 Gbit/s, 0.1 ms", bandwidth=FRAMES * 125e6, latency=1e-4),
            replace(measured, name="10 Gbit/s, 0.05 ms", bandwidth=FRAMES * 1.25e9, latency=5e-5),
            Link("100 Gbit/s, 3 μs", 12.5e9, 3e-6, message=2e-6, byte=1e-10),  # RDMA, and adding 10 GB/s
            replace(measured, name="home, 50 Mbit/s up, 20 ms", bandwidth=FRAMES * 6.25e6, latency=0.02)]


def jobs(measured: dict[str, Job]) -> list[Job]:
    """char with its own batch and with a large one; GPT-2's smallest and largest model with 0.5 million tokens."""
    char, small = measured["char"], measured["gpt2"]
    layers, width, context, params = 48, 1600, 1024, 1_557_611_200
    per_token = 6 * params + 6 * layers * width * context  # FLOPs: products with weights, and causal attention
    ratio = per_token / (6 * small.params + 6 * 12 * 768 * small.context)
    grown = params / small.params
    return [replace(char, name="char, 16 rows"), replace(char, name="char, 1,024 rows", rows=1024),
            replace(small, name="124M, 2,048 rows of 256", rows=2048),
            Job("1.5B, 512 rows of 1,024", params, 512, context, small.token * ratio, small.calls * layers / 12,
                small.update * grown, small.clear * grown, at_once=1)]


def duration(seconds: float) -> str:
    unit, size = next((unit, size) for unit, size in (("h", 3600), ("min", 60), ("s", 1), ("ms", 1e-3)) if
                      seconds >= 2 * size or unit == "ms")
    return f"{seconds / size:.3g} {unit}"


def megabytes(size: float) -> str:
    return f"{size / 1e6:,.0f} MB" if size >= 1e7 else f"{size / 1e6:.2g} MB"


def efficiencies(job: Job, link: Link, sync_every: int = 0) -> list[str]:
    """The cells of a row: the efficiency for each number of ranks, and the first that is below 50 %, and why."""
    n, why = limit(job, link, sync_every)
    return [*(f"{efficiency(job, k, link, sync_every):.0%}".replace("%", " %") for k in RANKS),
            f"{n}: {why}" if n else "none"]


def tables(of: list[Job], over: list[Link]) -> list[str]:
    """Ranks that train together over local networks, and ranks that train apart over a home line, the last one."""
    *local, home = over
    first, last = ["job", "host"], [*map("{:,}".format, RANKS), "first below 50 %"]
    together = [[job.name, host, link.name, duration(step(job.faster(speed), 1, link).seconds),
                 *efficiencies(job.faster(speed), link), str(limit(job.faster(speed), link, overlap=1)[0] or "none")]
                for job in of for host, speed in HOSTS.items() for link in local]
    apart = [[job.name, host, str(H), megabytes(2 * ITEM * job.params / H),
              *efficiencies(job.faster(speed), home, H if H > 1 else 0)]
             for job in of for host, speed in HOSTS.items() for H in APART]
    return [*markdown([*first, "link", "one rank", *last, "if backward hides it"], together), "",
            *markdown([*first, "H", "sent per step", *last], apart)]


def main(argv: list[str] | None = None) -> int:
    cli.ArgumentParser(description=__doc__).parse_args(argv)
    found = json.loads(MEASURED.read_text(encoding="utf-8"))
    show(tables(jobs({name: Job(**of) for name, of in found["hosts"].items()}), links(Link(**found["link"]))))
    return 0


if __name__ == "__main__":
    cli.run(main)
