"""Compares the local arrays of your `backward` with those of the same name in the solution: dO, dV, dP, dS ...

Nothing has to be stored: the marker watches the local variables of `backward` while it runs, line by line.
"""

from __future__ import annotations

import copy
import functools
import importlib.util
import itertools
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import numpy as np

from numpygpt.nn import Module
from numpygpt.verify.check import Comparison
from numpygpt.verify.explain import missing_sum, where

SOLUTIONS = Path(__file__).resolve().parent / "solutions"


class Watch:
    """Records the local arrays of a module's own `backward` whose names begin with d, not those of the layers in it."""

    def __init__(self, module: Module):
        self.code = type(module).backward.__code__
        self.values: dict[str, list[list[np.ndarray]]] = {}  # name -> its arrays, each in its states after each line
        self.arrays: dict[str, np.ndarray] = {}  # what forward cached, to compare with
        self.last: dict[str, np.ndarray] = {}
        self.returned: set[str] = set()  # names of arrays that are what backward returns, perhaps in another shape

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        return self.line if frame.f_code is self.code else None

    def line(self, frame: FrameType, event: str, arg: Any) -> Any:
        for name, value in frame.f_locals.items():
            if name[0] != "d" or name in ("dY", "dY2") or not isinstance(value, np.ndarray) or value.dtype.kind != "f":
                continue
            arrays = self.values.setdefault(name, [])
            if self.last.get(name) is not value:
                arrays.append([value.copy()])
            elif not np.array_equal(arrays[-1][-1], value):
                arrays[-1].append(value.copy())
            self.last[name] = value
            if event == "return" and isinstance(arg, np.ndarray) and np.shares_memory(arg, value):
                self.returned.add(name)
        for name, x in vars(frame.f_locals["self"]).items():
            if isinstance(x, np.ndarray) and x.dtype.kind == "f":
                self.arrays[f"self.{name}"] = x
        if isinstance(dY := frame.f_locals.get("dY"), np.ndarray):
            self.arrays["dY"] = dY
        return self.line


@contextmanager
def traced(watch: Watch) -> Iterator[None]:
    before = sys.gettrace()
    sys.settrace(watch)
    try:
        yield
    finally:
        sys.settrace(before)


def recorded(module: Module, inputs: tuple[Any, ...]) -> tuple[Watch, Watch]:
    """(arrays of a module's backward, those of the solution), with the same weights, inputs and upstream gradient.

    Without a solution in the folder there is nothing to compare with: the second record is empty.
    """
    twin = solved(module)
    watches = Watch(module), Watch(twin)
    if watches[0].code is not watches[1].code:
        for version, watch in zip((module, twin), watches, strict=True):
            with suppress(Exception), traced(watch):  # an attempt that stops has arrays up to there
                Comparison(version, *inputs).got()
    return watches


def solved(module: Module) -> Module:
    """A copy of a module in which every layer has the class of the solution."""
    twin = copy.deepcopy(module)
    for _, layer in list(twin.named_modules()):
        path = SOLUTIONS / Path(type(layer).backward.__code__.co_filename).name
        if path.is_file():
            kind = getattr(solution(path), type(layer).__name__, type(layer))  # you may have added a class
            object.__setattr__(layer, "__class__", kind)
    return twin


@functools.cache
def solution(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"solutions_{path.stem}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def told(mine: Watch, other: Watch) -> list[str]:
    """Which arrays are correct, which is the first that is not and, if the numbers show it, why.

    If the solution returns an array, yours is compared only if you return it too: you may scale it in the last line.
    """
    correct, wrong, kind = [], [], mine.code.co_qualname
    wanted = {name: [states[-1] for states in arrays] for name, arrays in other.values.items()}
    for name, arrays in mine.values.items():
        if name not in wanted or name in other.returned - mine.returned:
            continue
        fits = [any(same(state, array) for state in states for array in wanted[name]) for states in arrays]
        if fits[-1]:
            correct.append(name)
        else:
            i = fits.index(False)
            wrong.append((name, i, arrays[i][-1], wanted[name][min(i, len(wanted[name]) - 1)]))
    lines = [f"correct arrays in {kind}: {', '.join(correct)}"] if correct else []
    if wrong:
        name, i, got, expected = wrong[0]
        known = other.arrays | {n: arrays[-1] for n, arrays in wanted.items() if n != name}
        nth = f" (assignment {i + 1})" if i else ""
        lines.append(f"the first incorrect array in {kind}: {name}{nth}, {why(name, got, expected, known)}")
        lines += [f"also incorrect in {kind}: {', '.join(w[0] for w in wrong[1:])}"] if wrong[1:] else []
    return lines


# -- why an array is wrong ---------------------------------------------------------------------------------------------


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and bool(np.abs(a - b).max(initial=0) <= 1e-9 * max(np.abs(b).max(initial=0), 1e-9))


def why(name: str, got: np.ndarray, expected: np.ndarray, known: dict[str, np.ndarray]) -> str:
    """The first simple relation of a wrong array to the correct arrays that gives exactly its numbers."""
    if got.shape != expected.shape:
        return f"shape {got.shape}, expected {expected.shape}{missing_sum(got.shape, expected.shape)}"
    if not got.any():
        return "all zeros"
    if bad := np.count_nonzero(~np.isfinite(got)):
        return f"{bad} of {got.size} entries are not finite"
    for other, array in known.items():
        if same(got, array):
            return f"these are the numbers of {other}"
        if same(got, -array):
            return f"these are the numbers of -{other}"
        if same(expected - got, array):
            return f"{other} is missing from the sum"
        if same(got - expected, array):
            return f"{other} is added once too often"
    if got.ndim > 1 and same(got, expected.swapaxes(-1, -2)):
        return "it is the transpose of what it should be"
    if factor := factor_of(got, expected, expected.shape):
        return f"all entries are {factor} times the expected values (correct if a later line makes up for it)"
    tried = dict(products(known, got.shape))
    good = [pair for pair, value in tried.items() if direction(value, expected)]
    for pair, value in tried.items():
        if direction(value, got):
            better = next((other for other in good if bare(other) == bare(pair)), good[0] if good else "")
            return f"it is {pair}" + (f" and should be {better}" if better else "") + ", up to a factor"
    return where(np.abs(got - expected) > 1e-6 * np.abs(expected).max())


def bare(product: str) -> list[str]:
    return sorted(product.replace(".T", "").split(" @ "))


def products(known: dict[str, np.ndarray], shape: tuple[int, ...]) -> Iterator[tuple[str, np.ndarray]]:
    """("dS.T @ self.Q", its value) for each pair of arrays whose product has this shape; .T exchanges the last axes."""
    sides = [(name + mark, x.swapaxes(-1, -2) if mark else x) for name, x in known.items()
             if x.ndim == len(shape) > 1 for mark in ("", ".T")]
    for (a, A), (b, B) in itertools.product(sides, sides):
        if A.shape[-1] == B.shape[-2] and A.shape[:-2] == B.shape[:-2] and (
                *A.shape[:-1], B.shape[-1]) == shape:
            yield f"{a} @ {b}", A @ B


def direction(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays differ by a positive factor only."""
    sizes = np.linalg.norm(a), np.linalg.norm(b)
    return a.shape == b.shape and min(sizes) > 0 and same(a / sizes[0], b / sizes[1])


def factor_of(got: np.ndarray, expected: np.ndarray, sizes: tuple[int, ...]) -> str:
    """The common ratio of two arrays, in words if it is a root of one of the sizes; empty if there is none."""
    if got.shape != expected.shape or np.count_nonzero(expected) < 3:
        return ""
    factor = float((got * expected).sum() / (expected * expected).sum())
    if abs(factor) < 1e-6 or np.abs(got - factor * expected).max() > 1e-6 * np.abs(expected).max():
        return ""
    for size in sorted(set(sizes)):
        for name, value in ((f"1/{size}", 1 / size), (f"sqrt({size})", size**0.5), (f"1/sqrt({size})", size**-0.5)):
            if size > 1 and abs(factor - value) < 1e-6:
                return f"{factor:.6g} = {name}"
    return f"{factor:.6g}"
