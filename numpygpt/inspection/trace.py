"""What each module of a model does, seen from outside: shapes, numbers, time, operations and bytes, both ways."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from numpygpt.inspection.costs import cached_arrays, operations
from numpygpt.inspection.stats import Stats, add
from numpygpt.nn.modules.module import Module
from numpygpt.nn.parallel import DataParallel


@dataclass
class Record:
    """One module in one traced block: the sum of its calls and, with workers, of its replicas.

    `output` are the numbers that `forward` returned, `gradient` those that came to `backward`: dL/doutput, of the same
    shape. Both are None where there were none. Times are seconds of the slowest worker, the modules inside included;
    the others are of this module alone. Operations are floating-point operations, a multiplication and its addition
    being two. `cached` are the bytes of the arrays kept for backward; one that two modules keep counts at the first.
    """

    name: str  # dotted; "" is the traced module itself
    kind: str  # class
    depth: int  # modules around it
    n_params: int
    input_shape: tuple[int, ...] = ()
    output_shape: tuple[int, ...] = ()
    output: Stats | None = None
    gradient: Stats | None = None
    forward_calls: int = 0
    backward_calls: int = 0
    forward_seconds: float = 0.0
    backward_seconds: float = 0.0
    forward_operations: int = 0
    backward_operations: int = 0
    cached: int = 0
    outputs: list[np.ndarray] = field(default_factory=list)  # copies, where `keep` asked for them: one a call
    gradients: list[np.ndarray] = field(default_factory=list)  # the same of dL/doutput


class trace:
    """Watch a module, or the workers of a `DataParallel`, for the time of a `with` block.

        with trace(model) as t:
            model.loss(x, y)
            model.backward()
        for record in t:                          # in the order in which they ran
            print(record.name, record.output_shape, record.output.std)
        t["blocks.0.attn"].gradient.norm

    `keep` says by its dotted name which modules' outputs and gradients are copied too: True for all, or a function.
    The module's methods are covered in this one instance and uncovered at the end, so layers hold no hook and nothing
    is slower afterwards. What a trace measures costs time itself; that time is taken off the times it reports.
    Source of the idea: forward and backward hooks of `torch.nn.Module`.
    """

    def __init__(self, model: Module | DataParallel, keep: bool | Callable[[str], bool] = False):
        replicas = model.replicas if isinstance(model, DataParallel) else [model]
        keeps = keep if callable(keep) else lambda name: bool(keep)
        self.watchers = [Watcher(replica, keeps) for replica in replicas]

    def __enter__(self) -> trace:
        for watcher in self.watchers:
            watcher.cover()
        return self

    def __exit__(self, *_: object) -> None:
        for watcher in self.watchers:
            watcher.uncover()

    @property
    def records(self) -> list[Record]:
        """A record for each module that ran, in that order; those of several workers are one."""
        merged: dict[str, Record] = {}
        for watcher in self.watchers:
            for name, record in watcher.records.items():
                merged[name] = merge(merged[name], record) if name in merged else replace(record)
        seen: set[int] = set()  # arrays that are counted already
        for name, record in merged.items():
            found = {key: size for watcher in self.watchers for key, size in watcher.arrays.get(name, {}).items()}
            record.cached = sum(size for key, size in found.items() if key not in seen)
            seen |= set(found)
        return list(merged.values())

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __getitem__(self, name: str) -> Record:
        """The record of a module by its dotted name. KeyError where it did not run."""
        found = {record.name: record for record in self.records}
        if name not in found:
            raise KeyError(f"no module {name!r} ran in this trace; these did: {', '.join(filter(None, found))}")
        return found[name]


class Watcher:
    """Watches one module tree, from one thread at a time."""

    def __init__(self, root: Module, keep: Callable[[str], bool]):
        self.modules = list(root.named_modules())
        self.keep = keep
        self.records: dict[str, Record] = {}
        self.arrays: dict[str, dict[int, int]] = {}  # what each module keeps for backward: identity -> bytes
        self.inside = 0  # watched forward calls under way
        self.lost = 0.0  # seconds spent on watching

    def cover(self) -> None:
        for name, module in self.modules:
            for method in ("forward", "backward", "loss"):  # `loss` is GPT's other forward
                if callable(getattr(module, method, None)) and method not in vars(module):
                    watched = self.backward if method == "backward" else self.forward
                    vars(module)[method] = watched(name, module, getattr(module, method))

    def uncover(self) -> None:
        for _, module in self.modules:
            for method in ("forward", "backward", "loss"):
                vars(module).pop(method, None)

    def record(self, name: str, module: Module) -> Record:
        if name not in self.records:
            depth = name.count(".") + 1 - sum(part.isdigit() for part in name.split(".")) if name else 0
            self.records[name] = Record(name, type(module).__name__, depth, own_params(module))
        return self.records[name]

    def forward(self, name: str, module: Module, method: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            record = self.record(name, module)  # before the modules inside: the order is that of the calls
            self.inside += 1
            try:
                out, seconds = self.timed(method, args, kwargs)
            finally:
                self.inside -= 1
            began = time.perf_counter()
            array = first_array(out)
            record.forward_calls += 1
            record.forward_seconds += seconds
            record.input_shape, record.output_shape = np.shape(args[0]) if args else (), np.shape(array)
            record.output = add(record.output, Stats.of(array))
            forward = operations(module, record.input_shape)[0]
            record.forward_operations += forward
            if self.keep(name):
                record.outputs.append(np.array(array))
            if not self.inside:
                self.arrays = {name: cached_arrays(module) for name, module in self.modules}
            self.lost += time.perf_counter() - began
            return out
        return watched

    def backward(self, name: str, module: Module, method: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            record = self.record(name, module)
            began = time.perf_counter()
            given = args[0] if args else 1.0
            gradient = add(record.gradient, Stats.of(given))
            if self.keep(name):
                record.gradients.append(np.array(given))
            self.lost += time.perf_counter() - began
            out, seconds = self.timed(method, args, kwargs)
            record.gradient = gradient
            record.backward_calls += 1
            record.backward_seconds += seconds
            record.backward_operations += operations(module, record.input_shape)[1]
            return out
        return watched

    def timed(self, method: Callable[..., Any], args: Any, kwargs: Any) -> tuple[Any, float]:
        """(what the method returns, its seconds without those that watching took)"""
        lost, began = self.lost, time.perf_counter()
        out = method(*args, **kwargs)
        return out, time.perf_counter() - began - (self.lost - lost)


def own_params(module: Module) -> int:
    """How many numbers this module alone learns, those of the modules inside not counted."""
    return sum(getattr(module, name).size for name in module._params)


def first_array(out: Any) -> Any:
    """The output itself, or the first of several (the logits of `GPT.forward`)."""
    return out[0] if isinstance(out, tuple) else out


def merge(a: Record, b: Record) -> Record:
    """Two workers' records of one module: batches add up along the first axis, times run side by side."""
    return replace(
        a, input_shape=joined(a.input_shape, b.input_shape), output_shape=joined(a.output_shape, b.output_shape),
        output=add(a.output, b.output), gradient=add(a.gradient, b.gradient),
        forward_calls=max(a.forward_calls, b.forward_calls), backward_calls=max(a.backward_calls, b.backward_calls),
        forward_seconds=max(a.forward_seconds, b.forward_seconds),
        backward_seconds=max(a.backward_seconds, b.backward_seconds),
        forward_operations=a.forward_operations + b.forward_operations,
        backward_operations=a.backward_operations + b.backward_operations,
        outputs=a.outputs + b.outputs, gradients=a.gradients + b.gradients)


def joined(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    return (a[0] + b[0], *a[1:]) if a and b else a or b
