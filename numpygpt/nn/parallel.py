"""One batch on several threads."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from contextvars import copy_context
from functools import cache
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from numpygpt.nn.functional import pieces
from numpygpt.nn.modules.checks import whole
from numpygpt.utils.cores import cores


@cache
def blas() -> ThreadpoolController:
    """The BLAS libraries of this process; looking for them takes milliseconds, so it is done once."""
    return ThreadpoolController().select(user_api="blas")


def blas_threads(n: int) -> AbstractContextManager:
    """A `with` block in which BLAS uses at most n threads; afterwards as many as before."""
    return blas().limit(limits=n)


class DataParallel:
    """A model whose batch is cut into shards, a thread each: same loss, same gradients, all cores busy.

    NumPy lets go of the interpreter's lock inside its loops and matrix products, so threads run side by side. The first
    worker is the model itself; the others are replicas that share its parameters and have caches, gradients and random
    generators of their own. `backward` sums the gradients into the model's, in a fixed order: with the same seed and
    the same number of workers a run repeats to the last bit. While the workers run, BLAS is held to one thread each,
    and set back afterwards.

        parallel = DataParallel(model, workers=2)
        loss = parallel.loss(x, y)
        parallel.backward()          # model.grads() are now those of the whole batch

    `workers` defaults to the number of cores. Close it, or use it in a `with`, to end its threads.
    """

    def __init__(self, model: Any, workers: int | None = None):
        if not hasattr(model, "replica"):
            raise ValueError(f"DataParallel needs the model itself, such as a GPT, got {type(model).__name__}")
        workers = cores() if workers is None else whole("workers", workers)
        if workers < 1:
            raise ValueError(f"workers must be at least 1, got {workers}")
        self.model, self.workers, self.flat = model, workers, model.flat()
        self.replicas = [model, *(model.replica() for _ in range(workers - 1))]
        self.grads = [replica.flat().grads for replica in self.replicas]  # each one's, as one array
        self.pool = ThreadPoolExecutor(workers, thread_name_prefix="worker")
        self.shares: list[tuple[Any, float]] = []  # (replica, its share of the targets) of the last loss

    def loss(self, x: np.ndarray, y: np.ndarray) -> float:
        """The mean loss over the targets of (x, y), both (B, T). Shards with more targets weigh more."""
        if self.model.flat() is not self.flat:
            raise RuntimeError("the model's parameters were moved (astype, or an optimiser of a larger module) since "
                               "these workers were made: make the DataParallel anew")
        for replica in self.replicas[1:]:
            replica.train(self.model.training)  # model.train() and model.eval() are heard by the model alone
        shards = [(replica, xs, ys) for replica, xs, ys in zip(
            self.replicas, np.array_split(x, self.workers), np.array_split(y, self.workers), strict=True) if len(xs)]
        counts = [int((ys != self.model.ignore_index).sum()) for _, _, ys in shards]
        total = max(sum(counts), 1)
        self.shares = [(shard[0], count / total) for shard, count in zip(shards, counts, strict=True)]
        losses = self.map(lambda shard: shard[0].loss(shard[1], shard[2]), shards)
        return float(sum(loss * share for loss, (_, share) in zip(losses, self.shares, strict=True)))

    def backward(self, scale: float = 1.0) -> None:
        """Add scale * dloss/dW to the model's gradients. Once after `loss`; else RuntimeError."""
        shares, self.shares = self.shares, []
        if not shares:
            raise RuntimeError("backward() needs a loss to go back from: call loss(x, y) first")
        self.map(lambda item: item[0].backward(scale * item[1]), shares)
        grads, *others = self.grads[: len(shares)]  # the model's own come first; replicas without a shard are left out
        if others:
            self.share(lambda s: add_and_clear(grads[s], [other[s] for other in others]), list(pieces(len(grads), 1)))

    def map(self, function: Callable[[Any], Any], items: list[Any]) -> list[Any]:
        """[function(item) for item in items], an item a thread, with one BLAS thread each and the caller's errstate."""
        if len(items) == 1 and self.workers == 1:
            return [function(items[0])]
        with blas_threads(1):
            futures = [self.pool.submit(copy_context().run, function, item) for item in items]
            wait(futures)  # all of them: none may still run when an error of one goes up
            return [future.result() for future in futures]

    def share(self, function: Callable[[Any], Any], items: list[Any]) -> list[Any]:
        """[function(item) for item in items], many items dealt out in runs of neighbours, one run a worker."""
        edges = [len(items) * i // self.workers for i in range(self.workers + 1)]
        runs = [items[a:b] for a, b in itertools.pairwise(edges)]
        return [result for run in self.map(lambda run: [function(item) for item in run], runs) for result in run]

    def generators(self) -> dict[str, np.random.Generator]:
        """Every replica's random generators, by replica and dotted name."""
        return {f"{i}.{name}": rng for i, replica in enumerate(self.replicas)
                for name, rng in replica.generators().items()}

    def close(self) -> None:
        """End the threads."""
        self.pool.shutdown()

    def __enter__(self) -> DataParallel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def add_and_clear(total: np.ndarray, others: list[np.ndarray]) -> None:
    """total += each of the others, in order; the others become zeros."""
    for other in others:
        total += other
        other.fill(0)
