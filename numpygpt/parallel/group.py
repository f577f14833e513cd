"""Groups of processes, called ranks, that train one model together: on one machine, or on several through MPI."""

from __future__ import annotations

import os
from itertools import pairwise
from typing import Any, NoReturn

import numpy as np

from numpygpt.nn.flat import cut
from numpygpt.utils.cores import cores

BUCKET = 1 << 20  # entries per call: 4 MB in float32, which stays in the cache
LAUNCHED = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "MPI_LOCALRANKID")  # mpiexec sets one of these


class Group:
    """The ranks of a run. This class is the group of a single process, in which every call does nothing.

    `rank` counts from 0 to `size` - 1. `cores` is how many cores this rank may use: those of its machine, divided among
    the ranks on it. Every rank must make the same calls in the same order, because each call waits for all ranks.

    A flat array is shared out in buckets of 4 MB, and each rank owns a part of each bucket. `runs` are the slices of
    the array that count (see `Flat.runs`). Rajbhandari et al. 2020, ZeRO, stage 1.
    """

    rank, size = 0, 1

    def __init__(self) -> None:
        self.cores = cores()

    def own(self, runs: list[slice]) -> list[slice]:
        """The slices that this rank owns, in order."""
        return [part for bucket in buckets(runs) if (part := parts(bucket, self.size)[self.rank]).start < part.stop]

    def sum(self, flat: np.ndarray, runs: list[slice]) -> None:
        """Replace the runs of a 1-D array by their sum over the ranks. All ranks get the same bits."""

    def reduce_scatter(self, flat: np.ndarray, runs: list[slice]) -> None:
        """Replace the slices that this rank owns by their sum over the ranks. The others keep their values."""

    def all_gather(self, flat: np.ndarray, runs: list[slice]) -> None:
        """Replace the slices that other ranks own by their values there."""

    def sum_scalar(self, value: float) -> float:
        """The sum over the ranks, in float64. All ranks get the same bits."""
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
        usable = here.allgather(list(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(cores()))
        self.cores = max(1, len(set().union(*usable)) // here.Get_size())  # also right if mpiexec binds ranks to cores

    def sum(self, flat: np.ndarray, runs: list[slice]) -> None:
        for bucket in buckets(runs):
            self.comm.Allreduce(self.mpi.IN_PLACE, flat[bucket])

    def reduce_scatter(self, flat: np.ndarray, runs: list[slice]) -> None:
        for bucket in buckets(runs):
            shares = parts(bucket, self.size)
            total = np.empty(lengths(shares)[self.rank], flat.dtype)
            self.comm.Reduce_scatter(flat[bucket], total, lengths(shares))
            flat[shares[self.rank]] = total

    def all_gather(self, flat: np.ndarray, runs: list[slice]) -> None:
        for bucket in buckets(runs):
            shares = parts(bucket, self.size)
            starts = [part.start - bucket.start for part in shares]
            self.comm.Allgatherv(self.mpi.IN_PLACE, [flat[bucket], (lengths(shares), starts)])

    def sum_scalar(self, value: float) -> float:
        total = np.array([value], np.float64)
        self.comm.Allreduce(self.mpi.IN_PLACE, total)
        return float(total[0])

    def any(self, flag: bool) -> bool:
        return self.sum_scalar(flag) > 0

    def share(self, value: Any) -> list[Any]:
        return self.comm.allgather(value)

    def barrier(self) -> None:
        self.comm.Barrier()

    def abort(self, status: int) -> NoReturn:
        self.comm.Abort(status)
        os._exit(status)


def started() -> Group:
    """The group of this process: `Mpi` if mpiexec started it, else `Local`. MPI is imported in the first case only."""
    return Mpi() if any(name in os.environ for name in LAUNCHED) else LOCAL


def buckets(runs: list[slice]) -> list[slice]:
    return [bucket for run in runs for bucket in cut(run.start, run.stop, BUCKET)]


def parts(bucket: slice, size: int) -> list[slice]:
    """The bucket in `size` neighbouring slices, one for each rank."""
    edges = [bucket.start + (bucket.stop - bucket.start) * i // size for i in range(size + 1)]
    return [slice(a, b) for a, b in pairwise(edges)]


def lengths(slices: list[slice]) -> list[int]:
    return [s.stop - s.start for s in slices]
