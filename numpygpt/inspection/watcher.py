"""Watching one module tree: what is measured at each call, and taken down in a record a module."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from numpygpt.inspection.costs import operations
from numpygpt.inspection.cover import Cover
from numpygpt.inspection.parts import Parts
from numpygpt.inspection.stats import Stats, add
from numpygpt.nn.modules.attention import KVCache
from numpygpt.nn.modules.module import Module
from numpygpt.parallel.threads import DataParallel

FORWARD = ("forward", "loss")  # `loss` is GPT's other forward


@dataclass
class Record:
    """One module in one traced block: the sum of its calls and, with workers, of its replicas.

    `output` are the numbers that `forward` returned, `gradient` those that came to `backward`: dL/doutput, of the same
    shape. Both are None where there were none. A number that is no array, such as a loss, is that of the whole batch.
    So are shapes, which are those of the last call. Times are seconds of the slowest worker, the modules inside
    included; the others are of this module alone. Operations are counted as in `costs`, and None where the class is
    unknown there. `cached` are the bytes of the arrays kept for backward after the last forward; one that two modules
    keep counts at the first. A module whose call failed has no call counted.
    """

    name: str  # dotted; "" is the traced module itself
    kind: str  # class
    depth: int  # modules around it
    n_params: int = 0  # what it learns itself; a head's own table counts at the head, one tied to it does not
    input_shape: tuple[int, ...] = ()
    output_shape: tuple[int, ...] = ()
    output: Stats | None = None
    gradient: Stats | None = None
    forward_calls: int = 0
    backward_calls: int = 0
    forward_seconds: float = 0.0
    backward_seconds: float = 0.0
    forward_operations: int | None = 0
    backward_operations: int | None = 0
    cached: int = 0
    outputs: list[np.ndarray] = field(default_factory=list)  # copies, where `keep` asked for them: one a call
    gradients: list[np.ndarray] = field(default_factory=list)  # the same of dL/doutput


class Watcher:
    """Watches one module tree, from one thread at a time."""

    def __init__(self, root: Module, keep: Callable[[str], bool], parallel: DataParallel | None = None):
        self.modules = dict(root.named_modules())
        self.ran = dict(self.modules)  # what ran last under each name: the module, or its twin that writes a text
        self.parts = Parts(root, parallel)
        self.keep = keep
        self.records: dict[str, Record] = {}  # in the order in which they ran
        self.went_back: dict[str, None] = {}  # names, in the order in which their backward ran
        self.arrays: dict[str, dict[int, int]] = {}  # what each module keeps for backward: identity -> bytes
        self.stale = True  # whether a forward ran since `arrays` were looked up
        self.covers: list[Cover] = []
        self.running: list[tuple[str, str]] = []  # watched calls under way: (name, "forward" or "backward")
        self.lost = 0.0  # seconds spent on watching

    def cover(self) -> None:
        for name, module in self.modules.items():
            for method in (*FORWARD, "backward"):
                if callable(getattr(type(module), method, None)):
                    watched = self.forward if method in FORWARD else self.backward
                    self.covers.append(Cover(module, method, partial(watched, name)))

    def uncover(self) -> None:
        while self.covers:
            self.covers.pop().remove()
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
        before = next((a.length for a in (*args, *kwargs.values()) if isinstance(a, KVCache)), 0)
        runs = getattr(method, "__self__", None)
        self.ran[name] = runs if type(runs) is type(self.modules[name]) else self.modules[name]
        self.stale = True
        out, seconds, ended = self.timed((name, "forward"), entered, method, args, kwargs)
        array = first_array(out)
        record.forward_calls += 1
        record.forward_seconds += seconds
        record.output_shape = shape_of(array)
        record.output = add(record.output, stats_of(array))
        self.parts.forward(name, array)
        done = operations(self.ran[name], record.input_shape, before)[0] if record.input_shape else None
        record.forward_operations = total(record.forward_operations, done)
        if self.keep(name):
            record.outputs.append(np.array(array))
        self.lost += time.perf_counter() - ended
        return out

    def backward(self, name: str, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if (name, "backward") in self.running:
            return method(*args, **kwargs)
        entered = time.perf_counter()
        self.look_up()  # before anything is let go of
        record = self.record(name)
        self.went_back.setdefault(name)
        given = first_array(first_argument(method, args, kwargs))
        gradient = stats_of(given)
        if self.keep(name):
            record.gradients.append(np.array(given))
        out, seconds, ended = self.timed((name, "backward"), entered, method, args, kwargs)
        record.gradient = add(record.gradient, gradient)
        self.parts.backward(name, given)
        record.backward_calls += 1
        record.backward_seconds += seconds
        done = operations(self.ran[name], record.input_shape)[1] if record.input_shape else None  # forward unseen
        record.backward_operations = total(record.backward_operations, done)
        self.lost += time.perf_counter() - ended
        return out

    def timed(self, call: tuple[str, str], entered: float, method: Callable[..., Any], args: Any,
              kwargs: Any) -> tuple[Any, float, float]:
        """(what the method returns, its seconds without those that watching took, when it ended)"""
        self.running.append(call)
        began = time.perf_counter()
        self.lost += began - entered
        lost = self.lost
        try:
            out = method(*args, **kwargs)
        finally:
            self.running.pop()
        ended = time.perf_counter()
        return out, ended - began - (self.lost - lost), ended

    def look_up(self) -> None:
        """What the modules keep now, where a forward ran since the last look."""
        if self.stale:
            self.arrays = {name: cached_arrays(module) for name, module in self.ran.items()}
            self.stale = False


def depth(name: str) -> int:
    """How many modules are around the one of this name; the numbers in lists are no modules."""
    return name.count(".") + 1 - sum(part.isdigit() for part in name.split(".")) if name else 0


def first_argument(method: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """What a method is given first, by place or by name; its default where it is left out."""
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
    """() of a number, and of what is no array."""
    return getattr(value, "shape", ())


def stats_of(value: Any) -> Stats | None:
    """The numbers of an array or of a number; None of anything else."""
    array = np.asarray(value) if isinstance(value, (np.ndarray, np.generic, float, int)) else None
    return Stats.of(array) if array is not None and array.dtype.kind in "fiub" else None


def total(a: int | None, b: int | None) -> int | None:
    """The sum; unknown where either is."""
    return None if a is None or b is None else a + b


def cached_arrays(module: Module) -> dict[int, int]:
    """{identity: bytes} of the arrays that this module alone keeps besides parameters, gradients and constants.

    A view counts as the array that it looks into: that is what stays in memory.
    """
    found: dict[int, int] = {}
    for name, value in vars(module).items():
        if name in module._owned or name in module._constants:
            continue
        if isinstance(value, dict):
            value = list(value.values())
        for array in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(array, np.ndarray):
                while isinstance(array.base, np.ndarray):
                    array = array.base
                found[id(array)] = array.nbytes
    return found
