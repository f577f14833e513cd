#!/usr/bin/env python3
"""How long a training step takes on n ranks over a network: a model of the cost, and tables from it.

    python benchmarks/cost.py                        the tables of docs/SCALING.md
    python benchmarks/cost.py --speed 30             the same for hosts 30 times as fast as the measured one

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
from argparse import Namespace
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.common import markdown, show
from numpygpt.parallel.group import AHEAD, BUCKET, PART
from numpygpt.utils import cli

MEASURED = ROOT / "assets" / "outputs" / "network.json"
SCALARS = 3  # numbers that all ranks sum in a step
ITEM = 4  # bytes per parameter
RANKS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)
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
    clear: float = 0.0  # clearing all gradients


@dataclass(frozen=True)
class Link:
    """What joins two hosts, as a program sees it."""

    name: str
    bandwidth: float  # bytes per second, each way
    latency: float  # seconds, one way
    message: float = 0.0  # seconds of the processor per message
    byte: float = 0.0  # seconds of the processor per byte that is sent and received


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
    ahead = (AHEAD + 1) * min(bucket, size) * (n - 1) / n  # bytes that a rank sends before it needs an answer
    speed = min(link.bandwidth, ahead / link.latency) if link.latency else link.bandwidth
    return moved * (1 / speed + link.byte), link.latency + messages * link.message


def sums(n: int, link: Link) -> float:
    """Seconds until all ranks have the sum of a number: each round doubles the ranks that know of each other."""
    return math.ceil(math.log2(n)) * (link.latency + link.message)


def step(job: Job, n: int, link: Link, sync_every: int = 0, overlap: float = 0.0) -> Step:
    """The mean time of a step on n ranks. `overlap` is the fraction of backward that can hide communication."""
    compute = job.calls + math.ceil(job.rows / n) * job.context * job.token
    bandwidth, latency = (2 * part for part in exchange(ITEM * job.params, n, link))
    if sync_every:
        return Step(compute, job.update + job.clear, bandwidth / sync_every, latency / sync_every)
    hidden = min(overlap * 2 / 3 * compute, bandwidth / 2)  # the gradients, but not the new parameters
    return Step(compute, job.update / n + job.clear, bandwidth - hidden, latency + SCALARS * sums(n, link))


def efficiency(job: Job, n: int, link: Link, sync_every: int = 0, overlap: float = 0.0) -> float:
    """What n ranks reach of n times the speed of one."""
    return step(job, 1, link).seconds / (n * step(job, n, link, sync_every, overlap).seconds)


def cause(job: Job, n: int, link: Link, sync_every: int = 0) -> str:
    """Where most of the time goes that n ranks lose."""
    alone, of = step(job, 1, link), step(job, n, link, sync_every)
    lost = {"too few rows per rank": of.compute - alone.compute / n, "update": of.update - alone.update / n,
            "bandwidth": of.bandwidth, "latency": of.latency}
    return max(lost, key=lambda name: lost[name])


def limit(job: Job, link: Link, sync_every: int = 0, most: int = 1000) -> tuple[int, str]:
    """The fewest ranks, up to `most`, whose efficiency is below 50 %, and why; (0, "") if there are none."""
    for n in range(2, most + 1):
        if efficiency(job, n, link, sync_every) < ENOUGH:
            return n, cause(job, n, link, sync_every)
    return 0, ""
