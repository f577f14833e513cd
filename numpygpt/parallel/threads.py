"""One batch on several threads, of one process or of every rank of a group."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import Any

import numpy as np

from numpygpt.nn.backend import on_host
from numpygpt.nn.exclusive import exclusive
from numpygpt.nn.modules.module import Module
from numpygpt.nn.replica import is_patched
from numpygpt.parallel.blas import blas_threads
from numpygpt.parallel.group import LOCAL, Group
from numpygpt.parallel.sharded import Sharded, choose_streams
from numpygpt.utils.checks import integer
from numpygpt.utils.signals import signals_wait

__all__ = ["THREADS", "DataParallel", "blas_threads"]

THREADS = "numpygpt-worker"  # the names of all workers' threads begin with this


class DataParallel(Sharded):
    """A model whose batch is split into shards, one per thread: same loss, same gradients, all cores busy.

    NumPy releases the interpreter's lock inside its loops and matrix products, so threads run side by side. The first
    worker is the model itself. The others are replicas that share its parameters and have their own caches, gradients
    and random generators. `backward` sums the gradients into the model's in a fixed order: with the same seed and the
    same number of workers, a run repeats to the last bit. While the workers run, BLAS uses one thread for each of them.
    An error or an interrupt is raised when every worker has ended, and the next loss starts clean.

        parallel = DataParallel(model, workers=2)
        loss = parallel.loss(x, y)
        parallel.backward()                       # model.grads() are now the gradients of the whole batch
        optimizer.step(parallel.map_slices)       # the same threads update the parameters

    `workers` defaults to the number of cores. Close it, or use it in a `with`, to end its threads. They start at the
    first use, and again in a forked process, which does not inherit them. A copy (deepcopy, pickle) gets its own.

    With a `group`, every rank is given the whole batch and takes its shards: n ranks of w workers compute what one
    process of n w workers does, with the same dropout masks. A rank then owns a part of the gradients and updates that
    part of the parameters only, so it holds 1/n of the optimiser's moments:

        loss = parallel.loss(x, y)                # of all ranks' shards
        parallel.backward()                       # this rank's gradients
        parallel.reduce()                         # the slices of them that this rank owns are now sums over the ranks
        clip_grad_norm(model, 1.0, parallel.map_own, parallel.total)
        optimizer.step(parallel.map_own)
        parallel.spread()                         # all parameters, from the ranks that own them

    With `apart`, the same calls let each rank train a model of its own on its shards, and no rank asks another.
    """

    def __init__(self, model: Any, workers: int | None = None, group: Group = LOCAL, apart: bool = False):
        if not isinstance(model, Module):
            raise ValueError(f"DataParallel needs the model itself, such as a GPT, got {type(model).__name__}")
        flat = model.flat()
        cores = group.cores if on_host(flat.params) else 1
        workers = cores if workers is None else integer("workers", workers)
        if workers > 1 and not on_host(flat.params):
            raise ValueError(f"workers must be 1 for a model on a GPU, which one thread keeps busy, got {workers}")
        if workers < 1:
            raise ValueError(f"workers must be at least 1, got {workers}")
        if workers > 1 and is_patched(model):
            raise ValueError("a function has replaced a method in one of this model's layers, and the replicas would "
                             "use the same function: use workers=1, or write a layer of your own")
        self.model: Any = model  # with a `loss` and a `backward`
        super().__init__(flat, group, apart)
        self.workers = workers
        self.shards = slice(group.rank * workers, (group.rank + 1) * workers)  # this rank's, of all shards
        self.replicas = [model, *(model.replica() for _ in range(workers - 1))]
        if group.size > 1:
            choose_streams(self.replicas, self.shards.start)
        self.grads = [replica.flat().grads for replica in self.replicas]  # each one's, as one array
        self.modes = [[module for _, module in replica.named_modules()] for replica in self.replicas]
        self.pool: ThreadPoolExecutor | None = None
        self.process, self.closed = os.getpid(), False
        self.weights: list[tuple[Any, float]] = []  # (replica, its fraction of the targets) of the last loss
        self.ready = False  # whether that loss is complete, so that backward may follow
        self.unfinished = False  # whether a backward failed, and has left gradients in the replicas

    def own_rows(self, batch: np.ndarray) -> list[np.ndarray]:
        """The rows of a whole batch in the shards of this rank, one for each worker."""
        return np.array_split(batch, self.workers * self.group.size)[self.shards]

    @exclusive
    def loss(self, x: np.ndarray, y: np.ndarray, apart: bool = False) -> float:
        """The mean loss over the targets of (x, y), both (B, T). Shards with more targets weigh more.

        With `apart`, here or for the whole object, only the shards of this rank count, and no other rank is asked.
        """
        apart = apart or self.apart
        self.check_open()
        self.ready = False
        if not np.ndim(x) or np.shape(x)[:1] != np.shape(y)[:1]:
            raise ValueError(f"x and y must be arrays with the same number of rows, got shapes {np.shape(x)} and "
                             f"{np.shape(y)}")
        if not self.flat.holds(self.model):
            raise RuntimeError("the model's parameters were moved (astype, or an optimiser of a larger module) or "
                               "frozen since these workers were made: make a new DataParallel")
        for modules in self.modes[1:]:  # model.train() and model.eval() reach the model alone
            for module, first in zip(modules, self.modes[0], strict=True):
                module.training = first.training
        xs, ys = self.own_rows(x), self.own_rows(y)
        shards = [shard for shard in zip(self.replicas, xs, ys, strict=True) if len(shard[1])]
        ignored = getattr(self.model, "ignore_index", -1)  # a model of the user's own may not have it
        counts = [int((ys != ignored).sum()) for _, _, ys in shards]
        total = max(sum(counts) if apart else int((np.asarray(y) != ignored).sum()), 1)
        self.weights = [(shard[0], count / total) for shard, count in zip(shards, counts, strict=True)]
        losses = self.map(lambda shard: shard[0].loss(shard[1], shard[2]), shards)
        self.ready = True
        loss = sum((loss * weight for loss, (_, weight) in zip(losses, self.weights, strict=True)), 0.0)
        return loss if apart else self.group.sum_scalar(loss)

    @exclusive
    def backward(self, scale: float = 1.0) -> None:
        """Add scale * dloss/dW to the model's gradients. Once after `loss`; otherwise RuntimeError."""
        self.check_open()
        ready, self.ready = self.ready, False
        weights, self.weights = self.weights, []
        if not ready:
            raise RuntimeError("backward() needs a loss: call loss(x, y) first")
        grads, others = self.grads[0], self.grads[1 : len(weights)]  # the model's own; replicas with a shard
        if self.unfinished:  # an earlier backward failed and left gradients of another batch
            for left in self.grads[1:]:
                for run in self.flat.runs():
                    left[run].fill(0)
        self.unfinished = True
        self.map(lambda item: item[0].backward(scale * item[1]), weights)
        if others:
            self.map_slices(lambda s: add_and_clear(grads[s], [other[s] for other in others]), self.flat.slices())
        self.unfinished = False

    @exclusive
    def map(self, function: Callable[[Any], Any], items: list[Any]) -> list[Any]:
        """[function(item) for item in items], one thread per item, with one BLAS thread each and the caller's errstate.

        All threads have ended when it returns or raises. A signal, such as Ctrl-C, waits until then.
        """
        self.check_open()
        if len(items) == 1 and self.workers == 1:
            return [function(items[0])]
        futures: list[Future] = []
        with signals_wait(), blas_threads(1):
            pool = self.threads()
            try:
                for item in items:
                    futures.append(pool.submit(copy_context().run, function, item))
            except BaseException:  # no thread could be started: the item may be in the queue nevertheless
                self.pool = None
                pool.shutdown(cancel_futures=True)
                raise
            finally:
                wait_for(futures)
        return [future.result() for future in futures]

    def check_open(self) -> None:
        """RuntimeError after `close`, unless there is a single worker, which needs no threads."""
        if self.closed and self.workers > 1:
            raise RuntimeError("this DataParallel is closed and has no threads: make a new one with "
                               "DataParallel(model, workers)")

    def threads(self) -> ThreadPoolExecutor:
        """This process's threads. Threads do not survive a fork, so a child process makes its own."""
        if self.pool is None or self.process != os.getpid():
            self.pool = ThreadPoolExecutor(self.workers, thread_name_prefix=THREADS)
            self.process = os.getpid()
        return self.pool

    def map_slices(self, function: Callable[[Any], Any], items: list[Any]) -> list[Any]:
        """[function(item) for item in items], for many items: each worker gets a run of neighbours."""
        edges = [len(items) * i // self.workers for i in range(self.workers + 1)]
        runs = [items[a:b] for a, b in itertools.pairwise(edges)]
        return [result for run in self.map(lambda run: [function(item) for item in run], runs) for result in run]

    def generators(self) -> dict[str, np.random.Generator]:
        """Every replica's random generators, by shard and dotted name."""
        return {f"{i}.{name}": rng for i, replica in enumerate(self.replicas, self.shards.start)
                for name, rng in replica.generators().items()}

    def close(self) -> None:
        """End the threads. Calls that need them raise RuntimeError from now on."""
        self.closed = True
        if self.pool is not None and self.process == os.getpid():
            self.pool.shutdown()
        self.pool = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Threads and views cannot be copied: a copy is made from the copied model, with the same random generators."""
        states = {name: rng.bit_generator.state for name, rng in self.generators().items()}
        return remade, (self.model, self.workers, states, self.closed)

    def __enter__(self) -> DataParallel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def remade(model: Any, workers: int, states: dict[str, Any], closed: bool) -> DataParallel:
    """The copy of a DataParallel."""
    parallel = DataParallel(model, workers)
    for name, rng in parallel.generators().items():
        rng.bit_generator.state = states[name]
    parallel.closed = closed
    return parallel


def wait_for(futures: list[Future]) -> None:
    """Return when all have ended. An exception that another thread raises in this one waits until then."""
    try:
        wait(futures)
    finally:
        if not all(future.done() for future in futures):
            wait_for(futures)


def add_and_clear(total: np.ndarray, others: list[np.ndarray]) -> None:
    """total += each of the others, in order; the others become zeros."""
    for other in others:
        total += other
        other.fill(0)
