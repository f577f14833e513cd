"""Trace one module tree: measure each call, and store the results in one record per module."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from numpygpt.inspection.patch import MethodPatch
from numpygpt.inspection.scalars import ScalarParts
from numpygpt.inspection.stats import Stats, add
from numpygpt.inspection.tree import depth, total
from numpygpt.nn.backend import is_array, to_host
from numpygpt.nn.cost import Call, cost_of
from numpygpt.nn.modules.module import Module
from numpygpt.parallel.threads import DataParallel

FORWARD = ("forward", "loss")  # `loss` is GPT's other forward


@dataclass
class Record:
    """One module in one traced block: the sum of its calls, over all workers.

    output: statistics of what `forward` returned. gradient: statistics of dL/d(output), which `backward` received.
    Each is None if there was none. Scalars, such as a loss, and shapes describe the whole batch; shapes are from the
    last call. Times are seconds of the slowest worker and include the modules inside; all else is of this module alone.
    FLOPs are None if the class does not describe its cost. `cached` is the size in bytes of the arrays held for
    backward after the last forward; an array that two modules hold counts at the first. A call that failed does not
    count.
    """

    name: str  # dotted; "" is the traced module itself
    kind: str  # class
    depth: int  # modules around it
    n_params: int = 0  # its own; a head's own table counts at the head, a tied one at the embedding
    input_shape: tuple[int, ...] = ()
    output_shape: tuple[int, ...] = ()
    output: Stats | None = None
    gradient: Stats | None = None
    forward_calls: int = 0
    backward_calls: int = 0
    forward_seconds: float = 0.0
    backward_seconds: float = 0.0
    forward_flops: int | None = 0
    backward_flops: int | None = 0
    cached: int = 0
    # Copies, one per call, if `keep` asked for them, without those of a forward that backward runs again.
    outputs: list[np.ndarray] = field(default_factory=list)
    gradients: list[np.ndarray] = field(default_factory=list)  # the same of dL/d(output)


class Tracer:
    """Traces one module tree, from one thread at a time."""

    def __init__(self, root: Module, keep: Callable[[str], bool], watch: Callable[[str], bool] | None = None,
                 parallel: DataParallel | None = None):
        self.modules = dict(root.named_modules())
        self.ran = dict(self.modules)  # what ran last under each name: the module, or its twin that generates a text
        self.scalars = ScalarParts(root, parallel)
        self.keep, self.watch = keep, watch or (lambda name: True)
        self.records: dict[str, Record] = {}  # in forward order
        self.backward_order: dict[str, None] = {}  # names, in the order in which their backward ran
        self.arrays: dict[str, dict[int, int]] = {}  # what each module caches: identity of an array -> bytes
        self.stale = True  # whether a forward ran since `arrays` were looked up
        self.patches: list[MethodPatch] = []
        self.running: list[tuple[str, str]] = []  # calls in progress: (name, "forward" or "backward")
        self.overhead = 0.0  # seconds spent on tracing

    def start(self) -> None:
        for name, module in self.modules.items():
            for method in (*FORWARD, "backward") if self.watch(name) else ():
                if callable(getattr(type(module), method, None)):
                    traced = self.forward if method in FORWARD else self.backward
                    self.patches.append(MethodPatch(module, method, partial(traced, name)))

    def stop(self) -> None:
        while self.patches:
            self.patches.pop().remove()
        self.look_up()

    def record(self, name: str) -> Record:
        if name not in self.records:
            self.records[name] = Record(name, type(self.modules[name]).__name__, depth(name))
        return self.records[name]

    def forward(self, name: str, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if (name, "forward") in self.running:  # a `loss` that calls `forward` of the same module is one call
            return method(*args, **kwargs)
        entered = time.perf_counter()
        record = self.record(name)  # before the modules inside: the order is that of the calls
        record.input_shape = shape_of(first_argument(method, args, kwargs))
        before = next((arg.length for arg in (*args, *kwargs.values()) if hasattr(arg, "length")), 0)  # of a KV cache
        runs = getattr(method, "__self__", None)
        self.ran[name] = runs if type(runs) is type(self.modules[name]) else self.modules[name]
        self.stale = True
        out, seconds, ended = self.timed((name, "forward"), entered, method, args, kwargs)
        array = first_array(out)
        record.forward_calls += 1
        record.forward_seconds += seconds
        record.output_shape = shape_of(array)
        record.output = add(record.output, stats_of(array))
        self.scalars.forward(name, array)
        record.forward_flops = total((record.forward_flops, self.flops(record, "forward", before)))
        if self.keep(name) and not any(direction == "backward" for _, direction in self.running):
            record.outputs.append(to_host(array).copy())
        self.overhead += time.perf_counter() - ended
        return out

    def backward(self, name: str, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if (name, "backward") in self.running:
            return method(*args, **kwargs)
        entered = time.perf_counter()
        self.look_up()  # before backward releases anything
        record = self.record(name)
        self.backward_order.setdefault(name)
        received = first_array(first_argument(method, args, kwargs))
        gradient = stats_of(received)
        if self.keep(name):
            record.gradients.append(to_host(received).copy())
        out, seconds, ended = self.timed((name, "backward"), entered, method, args, kwargs)
        record.gradient = add(record.gradient, gradient)
        self.scalars.backward(name, received)
        record.backward_calls += 1
        record.backward_seconds += seconds
        record.backward_flops = total((record.backward_flops, self.flops(record, "backward")))
        self.overhead += time.perf_counter() - ended
        return out

    def flops(self, record: Record, direction: str, before: int = 0) -> int | None:
        """FLOPs of a call with the record's input shape; None if unknown, or if the trace saw no forward."""
        module, shape = self.ran[record.name], record.input_shape
        cost = cost_of(module, Call(shape, training=module.training, before=before)) if shape else None
        return getattr(cost, direction) if cost else None

    def timed(self, call: tuple[str, str], entered: float, method: Callable[..., Any], args: Any,
              kwargs: Any) -> tuple[Any, float, float]:
        """(what the method returns, its seconds without the overhead of tracing, when it ended)"""
        self.running.append(call)
        began = time.perf_counter()
        self.overhead += began - entered
        overhead = self.overhead
        try:
            out = method(*args, **kwargs)
        finally:
            self.running.pop()
        ended = time.perf_counter()
        return out, ended - began - (self.overhead - overhead), ended

    def look_up(self) -> None:
        """Look up what the modules cache now, if a forward ran since the last time."""
        if self.stale:
            self.arrays = {name: cached_arrays(module) for name, module in self.ran.items()}
            self.stale = False


def first_argument(method: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """The first argument of a call, by position or by name; its default if it was left out."""
    if args:
        return args[0]
    first = next(iter(inspect.signature(method).parameters.values()), None)
    if first is not None and first.name in kwargs:
        return kwargs[first.name]
    if first is None or first.default is first.empty:
        return next(iter(kwargs.values()), None)
    return first.default


def first_array(out: Any) -> Any:
    """The output itself, or the first of several (the logits of `GPT.forward`)."""
    return out[0] if isinstance(out, (tuple, list)) and out else out


def shape_of(value: Any) -> tuple[int, ...]:
    """() for a scalar, and for anything that is not an array."""
    return getattr(value, "shape", ())


def stats_of(value: Any) -> Stats | None:
    """Statistics of an array or a scalar; None for anything else."""
    known = isinstance(value, (float, int)) or (is_array(value) and value.dtype.kind in "fiub")
    return Stats.of(value) if known else None


def cached_arrays(module: Module) -> dict[int, int]:
    """{identity: bytes} of the arrays that this module holds besides parameters, gradients and constants.

    A view counts as the array behind it: that is what stays in memory.
    """
    found: dict[int, int] = {}
    for name, value in vars(module).items():
        if name in module._owned or name in module._constants:
            continue
        if isinstance(value, dict):
            value = list(value.values())
        for array in value if isinstance(value, (list, tuple)) else [value]:
            if is_array(array) and array.ndim:
                while is_array(array.base):
                    array = array.base
                found[id(array)] = array.nbytes
    return found
