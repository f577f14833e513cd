"""What each module of a model does, seen from outside: shapes, statistics, time, FLOPs and memory, in both passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain

from numpygpt.inspection.patch import has_patch
from numpygpt.inspection.scalars import merged
from numpygpt.inspection.stats import add
from numpygpt.inspection.tables import trace_tables
from numpygpt.inspection.tracer import Record, Tracer
from numpygpt.inspection.tree import parameter_counts, total
from numpygpt.nn.modules.module import Module
from numpygpt.parallel.threads import DataParallel
from numpygpt.utils.signals import signals_wait

__all__ = ["Record", "trace"]


class trace:
    """Trace a module, or the workers of a `DataParallel`, during a `with` block.

        with trace(model) as t:
            model.loss(x, y)
            model.backward()
        print(t)
        for record in t:                          # in forward order
            print(record.name, record.output_shape, record.output.std)
        t["blocks.0.attn"].gradient.norm

    `keep` selects the modules whose outputs and gradients are also copied: True for all, or a function of the dotted
    name. `watch`, such a function too, selects those that are traced at all: fewer cost less time. Several calls in the
    block add up. Only the methods of these instances are replaced, and they are put back at the end, so layers hold no
    hook. Results are the same to the last bit. Times exclude the overhead of tracing. Raises RuntimeError if the model
    is being traced already. The idea: forward and backward hooks of `torch.nn.Module`.
    """

    def __init__(self, model: Module | DataParallel, keep: bool | Callable[[str], bool] = False,
                 watch: Callable[[str], bool] | None = None):
        if not isinstance(model, (Module, DataParallel)):
            raise ValueError(f"trace needs a Module or a DataParallel, got {type(model).__name__}")
        replicas, parallel = (model.replicas, model) if isinstance(model, DataParallel) else ([model], None)
        keeps = keep if callable(keep) else lambda name: bool(keep)
        self.tracers = [Tracer(replica, keeps, watch, parallel) for replica in replicas]

    def __enter__(self) -> trace:
        for tracer in self.tracers:
            for name, module in tracer.modules.items():
                if has_patch(module):
                    raise RuntimeError(f"{name or type(module).__name__} is being traced already: leave that block "
                                       "first, or read its records there")
        try:
            with signals_wait():
                for tracer in self.tracers:
                    tracer.start()
        except BaseException:  # a signal that waited
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with signals_wait():
            for tracer in self.tracers:
                tracer.stop()

    @property
    def records(self) -> list[Record]:
        """One record per module that ran, in forward order. Those of several workers are merged."""
        found: dict[str, Record] = {}
        for tracer in self.tracers:
            for name, record in tracer.records.items():
                found[name] = merge(found[name], record) if name in found else replace(record)
        if len(self.tracers) > 1:
            self.merge_scalars(found)
        counts = parameter_counts({name: self.tracers[0].modules[name] for name in found})
        seen: set[int] = set()  # arrays that are counted already
        for name, record in found.items():
            arrays = {key: size for tracer in self.tracers for key, size in tracer.arrays.get(name, {}).items()}
            record.cached = sum(size for key, size in arrays.items() if key not in seen)
            record.n_params = counts[name]
            seen |= set(arrays)
        return list(found.values())

    def merge_scalars(self, found: dict[str, Record]) -> None:
        """Merge the scalars: each worker has a part of them."""
        scalars = [tracer.scalars for tracer in self.tracers]
        for name, record in found.items():
            output = merged(chain.from_iterable(worker.outputs.get(name, []) for worker in scalars))
            gradient = merged(chain.from_iterable(worker.gradients.get(name, []) for worker in scalars))
            record.output, record.gradient = output or record.output, gradient or record.gradient

    @property
    def backward_order(self) -> list[Record]:
        """The records of the modules whose backward ran, in that order."""
        found = {record.name: record for record in self.records}
        names = dict.fromkeys(name for tracer in self.tracers for name in tracer.backward_order)
        return [found[name] for name in names]

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __getitem__(self, name: str) -> Record:
        """The record of a module by its dotted name. Raises KeyError if it did not run."""
        found = {record.name: record for record in self.records}
        if name not in found:
            raise KeyError(f"no module {name!r} ran in this trace; these did: {', '.join(filter(None, found))}")
        return found[name]

    def __str__(self) -> str:
        return trace_tables(self.records, self.backward_order)


def merge(a: Record, b: Record) -> Record:
    """Two workers' records of one module. Batches add up along the first axis; times run in parallel."""
    return replace(
        a, input_shape=joined(a.input_shape, b.input_shape), output_shape=joined(a.output_shape, b.output_shape),
        output=add(a.output, b.output), gradient=add(a.gradient, b.gradient),
        forward_calls=max(a.forward_calls, b.forward_calls), backward_calls=max(a.backward_calls, b.backward_calls),
        forward_seconds=max(a.forward_seconds, b.forward_seconds),
        backward_seconds=max(a.backward_seconds, b.backward_seconds),
        forward_flops=total((a.forward_flops, b.forward_flops)),
        backward_flops=total((a.backward_flops, b.backward_flops)),
        outputs=a.outputs + b.outputs, gradients=a.gradients + b.gradients)


def joined(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    return (a[0] + b[0], *a[1:]) if a and b else a or b
