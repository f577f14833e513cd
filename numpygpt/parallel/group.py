"""Groups of processes, called ranks, that train one model together: on one machine, or on several through MPI."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator
from itertools import pairwise, zip_longest
from typing import Any, NoReturn

import numpy as np

from numpygpt.nn.flat import cut
from numpygpt.utils.cores import cores

BUCKET = 1 << 18  # entries: 1 MB in float32. Larger messages wait for an answer before their bytes leave
PART = 1 << 14  # a rank's part of a bucket has at least as many entries, 64 KB
AHEAD = 4  # buckets on their way while one more starts, so that a slow answer does not leave the line idle
ABORT_SECONDS = 3.0  # an abort that takes longer hangs, because the network is gone
LAUNCHED = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "MPI_LOCALRANKID")  # mpiexec sets one of these


class Group:
    """The ranks of a run. This class is the group of a single process, in which every call does nothing.

    `rank` counts from 0 to `size` - 1. `cores` is how many cores each rank may use: those of its machine, divided among
    the ranks on it; if the machines differ, the smallest of these numbers. Every rank must make the same calls in the
    same order, because each call waits for all ranks.

    Of a flat array each rank owns a part. It is sent in buckets of about 1 MB, which hold entries of all ranks. `runs`
    are the slices of the array that count (see `Flat.runs`). Rajbhandari et al. 2020, ZeRO, stage 1.
    """

    rank, size = 0, 1
    local, here = 0, 1  # this rank's number among those on its machine, and how many these are

    def __init__(self) -> None:
        self.cores = cores()

    def own(self, runs: list[slice]) -> list[slice]:
        """The slices that this rank owns, in order."""
        return [part for run in runs if (part := self.divided(run)[self.rank]).start < part.stop]

    def divided(self, run: slice) -> list[slice]:
        """The run in one slice per rank. A rank owns one piece of it, not a part of every bucket: otherwise a huge page
        of memory (2 MB) would hold entries of several ranks, and moments would take as much memory on each of them."""
        edges = [run.start + (run.stop - run.start) * i // self.size for i in range(self.size + 1)]
        return [slice(a, b) for a, b in pairwise(edges)]

    def shares(self, runs: list[slice]) -> Iterator[list[slice]]:
        """The runs in buckets: neighbouring entries of each rank's slice, as many of each."""
        for run in runs:
            of_ranks = [cut(part.start, part.stop, max(BUCKET // self.size, PART)) for part in self.divided(run)]
            yield from (list(shares) for shares in zip_longest(*of_ranks, fillvalue=slice(0, 0)))

    def sum(self, flat: np.ndarray, runs: list[slice]) -> None:
        """Replace the runs of a 1-D array by their sum over the ranks. All ranks get the same bits."""
        self.reduce_scatter(flat, runs)
        self.all_gather(flat, runs)

    def reduce_scatter(self, flat: np.ndarray, runs: list[slice]) -> None:
        """Replace the slices that this rank owns by their sum over the ranks, which is taken in the order of the ranks.
        The others keep their values."""

    def all_gather(self, flat: np.ndarray, runs: list[slice]) -> None:
        """Replace the slices that other ranks own by their values there."""

    def sum_scalar(self, value: float) -> float:
        """The sum over the ranks, in float64 and in their order. All ranks get the same bits."""
        return value

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any rank."""
        return flag

    def share(self, value: Any) -> list[Any]:
        """The values of all ranks, by rank. For small values of JSON's types."""
        return [value]

    def barrier(self) -> None:
        """Return when all ranks have made this call."""

    def abort(self, status: int) -> NoReturn:
        """End this process, and every other rank, at once."""
        os._exit(status)


Local = Group
LOCAL = Local()


class Mpi(Group):
    """The ranks that mpiexec has started. RuntimeError if mpi4py, or the MPI library that it needs, is missing."""

    def __init__(self) -> None:
        try:
            from mpi4py import MPI
        except ImportError as error:
            raise RuntimeError(f'this was started by mpiexec, which needs mpi4py: run pip install -e ".[mpi]" ({error})'
                               ) from error
        self.mpi, self.comm = MPI, MPI.COMM_WORLD
        self.rank, self.size = self.comm.Get_rank(), self.comm.Get_size()
        here = self.comm.Split_type(MPI.COMM_TYPE_SHARED)  # the ranks on this machine
        self.local = here.Get_rank()
        usable = here.allgather(list(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(cores()))
        self.here = here.Get_size()
        mine = max(1, len(set().union(*usable)) // self.here)  # also right if mpiexec binds ranks to cores
        self.cores = self.comm.allreduce(mine, MPI.MIN)  # the same on all ranks, whose shards are of one size

    def reduce_scatter(self, flat: np.ndarray, runs: list[slice]) -> None:
        def start(shares: list[slice]) -> tuple[list[Any], Callable[[], None]]:
            mine = flat[shares[self.rank]]
            found = np.empty((self.size, len(mine)), flat.dtype)  # what each rank has there
            found[self.rank] = mine
            return self.exchange([flat[share] for share in shares], list(found)), lambda: add_up(found, mine)

        self.in_turn(start, runs)

    def all_gather(self, flat: np.ndarray, runs: list[slice]) -> None:
        def start(shares: list[slice]) -> tuple[list[Any], Callable[[], None]]:
            mine = flat[shares[self.rank]]
            return self.exchange([mine] * self.size, [flat[share] for share in shares]), lambda: None

        self.in_turn(start, runs)

    def exchange(self, sent: list[np.ndarray], received: list[np.ndarray]) -> list[Any]:
        """Start to send an array to each other rank and to receive one from each; both lists are by rank."""
        others = [(self.rank + i) % self.size for i in range(1, self.size)]  # no two ranks begin with the same one
        return [*(self.comm.Irecv(received[other], other) for other in others[::-1]),
                *(self.comm.Isend(sent[other], other) for other in others)]

    def in_turn(self, start: Callable[[list[slice]], tuple[list[Any], Callable[[], None]]], runs: list[slice]) -> None:
        """Start the messages of one bucket after another, and finish a bucket when its messages have arrived.

        MPI's own Reduce_scatter and Allgatherv wait for several answers per bucket. With a few buckets on their way the
        line is never idle, and the sum is the same for every MPI.
        """
        started: deque[tuple[list[Any], Callable[[], None]]] = deque()
        for shares in self.shares(runs):
            started.append(start(shares))
            if len(started) > AHEAD:
                self.finish(*started.popleft())
        for messages, then in started:
            self.finish(messages, then)

    def finish(self, messages: list[Any], then: Callable[[], None]) -> None:
        self.mpi.Request.Waitall(messages)
        then()

    def sum_scalar(self, value: float) -> float:
        found = np.full((self.size, 1), value, np.float64)  # each rank asks all others: one latency, not two or more
        self.mpi.Request.Waitall(self.exchange([found[self.rank]] * self.size, list(found)))
        return float(sum(found[:, 0]))

    def any(self, flag: bool) -> bool:
        return self.sum_scalar(flag) > 0

    def share(self, value: Any) -> list[Any]:
        return self.comm.allgather(value)

    def barrier(self) -> None:
        self.comm.Barrier()

    def abort(self, status: int) -> NoReturn:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # MPI prints a line of its own about this
        signal.setitimer(signal.ITIMER_REAL, ABORT_SECONDS)  # SIGALRM ends a process that hangs in the next call
        self.comm.Abort(status)
        os._exit(status)


def started() -> Group:
    """The group of this process: `Mpi` if mpiexec started it, else `Local`. MPI is imported in the first case only."""
    return Mpi() if any(name in os.environ for name in LAUNCHED) else LOCAL


def add_up(found: np.ndarray, total: np.ndarray) -> None:
    """total = the sum of the rows, in order. found: (ranks, entries), total: (entries,)."""
    total[:] = found[0]
    for row in found[1:]:
        total += row
