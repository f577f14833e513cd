"""What each module of a model does, seen from outside: shapes, numbers, time, operations and bytes, both ways."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain

from numpygpt.inspection.costs import learned
from numpygpt.inspection.cover import is_covered
from numpygpt.inspection.parts import whole
from numpygpt.inspection.stats import add
from numpygpt.inspection.tables import trace_tables
from numpygpt.inspection.watcher import Record, Watcher, total
from numpygpt.nn.modules.module import Module
from numpygpt.parallel.threads import DataParallel
from numpygpt.utils.signals import signals_wait

__all__ = ["Record", "trace"]


class trace:
    """Watch a module, or the workers of a `DataParallel`, for the time of a `with` block.

        with trace(model) as t:
            model.loss(x, y)
            model.backward()
        print(t)
        for record in t:                          # in the order in which they ran
            print(record.name, record.output_shape, record.output.std)
        t["blocks.0.attn"].gradient.norm

    `keep` says by its dotted name which modules' outputs and gradients are copied too: True for all, or a function.
    Several calls in the block add up. The methods are covered in these instances alone and uncovered at the end, so
    layers hold no hook and nothing is slower afterwards; what comes out is the same to the last bit. What watching
    takes is taken off the times. Raises RuntimeError where the model is being traced already. Source of the idea:
    forward and backward hooks of `torch.nn.Module`.
    """

    def __init__(self, model: Module | DataParallel, keep: bool | Callable[[str], bool] = False):
        if not isinstance(model, (Module, DataParallel)):
            raise ValueError(f"trace watches a Module or a DataParallel, got {type(model).__name__}")
        replicas, parallel = (model.replicas, model) if isinstance(model, DataParallel) else ([model], None)
        keeps = keep if callable(keep) else lambda name: bool(keep)
        self.watchers = [Watcher(replica, keeps, parallel) for replica in replicas]

    def __enter__(self) -> trace:
        for watcher in self.watchers:
            for name, module in watcher.modules.items():
                if is_covered(module):
                    raise RuntimeError(f"{name or type(module).__name__} is being traced already: leave that block "
                                       "before tracing it again, or read its numbers there")
        try:
            with signals_wait():
                for watcher in self.watchers:
                    watcher.cover()
        except BaseException:  # a signal that waited: nothing stays covered
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with signals_wait():
            for watcher in self.watchers:
                watcher.uncover()

    @property
    def records(self) -> list[Record]:
        """A record for each module that ran, in that order; those of several workers are one."""
        merged: dict[str, Record] = {}
        for watcher in self.watchers:
            for name, record in watcher.records.items():
                merged[name] = merge(merged[name], record) if name in merged else replace(record)
        if len(self.watchers) > 1:
            self.put_together(merged)
        modules = self.watchers[0].modules  # the replicas' names are the same
        seen: set[int] = set()  # arrays that are counted already
        for (name, record), n_params in zip(merged.items(), learned(modules[n] for n in merged), strict=True):
            found = {key: size for watcher in self.watchers for key, size in watcher.arrays.get(name, {}).items()}
            record.cached = sum(size for key, size in found.items() if key not in seen)
            record.n_params = n_params
            seen |= set(found)
        return list(merged.values())

    def put_together(self, merged: dict[str, Record]) -> None:
        """The numbers that are no arrays: of those the workers have parts."""
        parts = [watcher.parts for watcher in self.watchers]
        for name, record in merged.items():
            output = whole(chain.from_iterable(worker.outputs.get(name, []) for worker in parts))
            gradient = whole(chain.from_iterable(worker.gradients.get(name, []) for worker in parts))
            record.output, record.gradient = output or record.output, gradient or record.gradient

    @property
    def went_back(self) -> list[Record]:
        """The records of the modules whose backward ran, in that order."""
        found = {record.name: record for record in self.records}
        return [found[name] for name in dict.fromkeys(name for w in self.watchers for name in w.went_back)]

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __getitem__(self, name: str) -> Record:
        """The record of a module by its dotted name. KeyError where it did not run."""
        found = {record.name: record for record in self.records}
        if name not in found:
            raise KeyError(f"no module {name!r} ran in this trace; these did: {', '.join(filter(None, found))}")
        return found[name]

    def __str__(self) -> str:
        return trace_tables(self.records, self.went_back)


def merge(a: Record, b: Record) -> Record:
    """Two workers' records of one module: batches add up along the first axis, times run side by side."""
    return replace(
        a, input_shape=joined(a.input_shape, b.input_shape), output_shape=joined(a.output_shape, b.output_shape),
        output=add(a.output, b.output), gradient=add(a.gradient, b.gradient),
        forward_calls=max(a.forward_calls, b.forward_calls), backward_calls=max(a.backward_calls, b.backward_calls),
        forward_seconds=max(a.forward_seconds, b.forward_seconds),
        backward_seconds=max(a.backward_seconds, b.backward_seconds),
        forward_operations=total(a.forward_operations, b.forward_operations),
        backward_operations=total(a.backward_operations, b.backward_operations),
        outputs=a.outputs + b.outputs, gradients=a.gradients + b.gradients)


def joined(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    return (a[0] + b[0], *a[1:]) if a and b else a or b
