"""Finite differences against a module's backward: is the gradient that was derived by hand the right one?"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from numpygpt.nn.modules.module import Module
from numpygpt.verify.causes import explain
from numpygpt.verify.shares import differences
from numpygpt.verify.words import explained, missing_sum, promoted

STREAM = 2  # drawn from `seed` alone, G would be the very input that a user draws from default_rng(seed)
FLOOR = 1e-4  # a tensor whose gradient is below this share of the largest one is held to that, not to its own noise


@dataclass(frozen=True)
class Check:
    """One tensor's result: the largest error over all entries, relative to the tensor's scale, and where it is."""

    name: str
    kind: str  # "parameter" or "input"
    entries: int
    error: float
    index: tuple[int, ...]
    expected: float  # by finite differences, at `index`
    got: float  # by backward, at `index`
    cause: str = ""  # which entries are wrong, and why, where the numbers show it
    dtype: str = "float64"  # of what backward gave, which is that of what came in


@dataclass(frozen=True)
class Report:
    """The checks of one module. True in a condition when all of them passed; `print` shows a line a tensor."""

    module: str
    checks: tuple[Check, ...]
    tolerance: float

    @property
    def failures(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if self.wrong(check) or check.dtype != "float64")

    def wrong(self, check: Check) -> bool:
        """Whether its numbers are."""
        return not check.error <= self.tolerance  # not >: NaN is

    @property
    def ok(self) -> bool:
        return not self.failures

    @property
    def entries(self) -> int:
        return sum(check.entries for check in self.checks)

    @property
    def error(self) -> float:
        return max(check.error for check in self.checks)

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        lines = [f"{self.module}: {'all right' if self.ok else 'WRONG'} ({self.entries} entries)"]
        for check in self.checks:
            line = f"  {check.name:<24} {check.kind:<9} {check.entries:>6} entries   error {check.error:.1e}"
            if self.wrong(check):
                place = ", ".join(map(str, check.index))
                line += f"   WRONG at [{place}]: expected {check.expected:.8g}, got {check.got:.8g}"
            elif check.dtype != "float64":
                line += f"   WRONG dtype: expected float64, got {check.dtype}"
            lines.append(line)
            lines += ["    " + check.cause] if check.cause else []
        return "\n".join(lines)


def gradcheck(module: Module, *inputs: Any, seed: int = 0, eps: float = 1e-4, tolerance: float = 1e-6,
              randomize: bool = True) -> Report:
    """Compare every entry of every parameter's and float input's gradient with finite differences, in float64.

    With out = module(*inputs) (its last item, where it returns several) and a random G of its shape, the scalar is
    f = sum(G * out) and backward(G) must give df/dW, df/dX. The numerical derivative is the fourth-order central one,
    (8 (f(x+h) - f(x-h)) - (f(x+2h) - f(x-2h))) / 12h with h = `eps`.

    The module itself is left alone: a float64 copy is checked, its parameters drawn anew with entries of order one
    (with small ones an error hides under the tolerance) unless `randomize=False`. Inputs are passed read-only, the
    gradients start from noise, so that `=` for `+=` fails, and random generators start alike at each call, so that
    dropout keeps its mask. What backward returns must be float64 too. The error of a tensor is max |got - expected|
    over the largest entry of either (and over at least FLOOR of the largest gradient of all). Where one is wrong,
    `str(report)` says which entries, and the usual cause if the numbers show one.
    """
    return Comparison(module, *inputs, seed=seed, eps=eps, randomize=randomize).report(tolerance)


class Comparison:
    """A float64 copy of a module, and the gradients that finite differences say it has: to check backward once, or
    with one change after another in it, for the price of one check."""

    def __init__(self, module: Module, *inputs: Any, seed: int = 0, eps: float = 1e-4, randomize: bool = True):
        rng = np.random.default_rng([seed, STREAM])
        self.name, self.eps = type(module).__name__, eps
        self.twin = twin = copy.deepcopy(module).astype(np.float64)
        if randomize:
            for param in twin.params().values():
                param[...] = 0.5 * rng.standard_normal(param.shape)
        self.arrays = [np.array(x, np.float64 if np.asarray(x).dtype.kind == "f" else None) for x in inputs]
        self.noise = {name: rng.standard_normal(grad.shape) for name, grad in twin.grads().items()}
        self.fresh = copy.deepcopy(twin)
        self.run = _Runner(twin, self.arrays)
        shape = np.shape(self.run())
        self.G = _read_only(rng.standard_normal(shape)) if shape else float(rng.standard_normal())
        self.tensors = {f"X{i}": x for i, x in enumerate(self.arrays) if x.dtype.kind == "f"} | twin.params()

    @cached_property
    def expected(self) -> dict[str, np.ndarray]:
        """df/dx of every tensor, by finite differences."""
        return {name: differences(lambda: np.asarray(np.sum(self.G * self.run())), x, self.eps)
                for name, x in self.tensors.items()}

    def got(self, around: Callable[[], AbstractContextManager[Any]] = nullcontext) -> dict[str, np.ndarray]:
        """What a forward and a backward pass give; `around()` is entered for the backward pass.

        A forward pass goes before, as it does in training: what it leaves in the layers must not count.
        """
        twin = copy.deepcopy(self.fresh)
        run = _Runner(twin, self.arrays)
        for name, grad in twin.grads().items():
            grad[...] = self.noise[name]
        run()
        run()
        with around():
            with explained(f"{self.name}.backward", twin.params()):
                returned = twin.backward(self.G)
            got = _input_gradients(self.name, self.arrays, returned)
        return got | {name: grad - self.noise[name] for name, grad in twin.grads().items()}

    def report(self, tolerance: float, around: Callable[[], AbstractContextManager[Any]] = nullcontext,
               causes: bool = True) -> Report:
        """The comparison of `got` with `expected`; `causes=False` leaves out why a tensor is wrong."""
        got, expected, params = self.got(around), self.expected, self.twin.params()
        if not any(x.size for x in self.tensors.values()):
            raise ValueError(f"{self.name} has nothing to check: no parameter, and no entry in a float input")
        floor = FLOOR * max((np.abs(value).max(initial=0) for value in expected.values()), default=0)
        checks = []
        for name in self.tensors:
            check = _compare(name, "parameter" if name in params else "input", got[name], expected[name], floor)
            if causes and not check.error <= tolerance:
                check = replace(check, cause=explain(self, name, got[name], tolerance, floor))
            elif causes and check.dtype != "float64":
                check = replace(check, cause=promoted(name, check.dtype))
            checks.append(check)
        return Report(self.name, tuple(checks), tolerance)


class _Runner:
    """Calls the module again and again under the same conditions: read-only inputs, generators at the same state."""

    def __init__(self, module: Module, arrays: list[np.ndarray]):
        self.module, self.inputs = module, [_read_only(x) for x in arrays]
        self.states = [(rng, rng.bit_generator.state) for rng in module.generators().values()]

    def __call__(self) -> Any:
        for rng, state in self.states:
            rng.bit_generator.state = state
        with explained(f"{type(self.module).__name__}.forward", {}):
            out = self.module(*self.inputs)
        return out[-1] if isinstance(out, tuple) else out


def _read_only(X: np.ndarray) -> np.ndarray:
    view = X.view()
    view.flags.writeable = False
    return view


def _input_gradients(module: str, arrays: list[np.ndarray], returned: Any) -> dict[str, np.ndarray]:
    """What backward returned, by name of the float input that it belongs to."""
    names = [f"X{i}" for i, x in enumerate(arrays) if x.dtype.kind == "f"]
    grads = [g for g in (returned if isinstance(returned, tuple) else (returned,)) if g is not None]
    if len(grads) != len(names):
        wanted = ("return dX, or a tuple with one for each float input" if names else
                  "ids have no gradient: return nothing" if arrays else "return nothing")
        raise ValueError(f"{module}.backward returned {len(grads)} gradients for {len(names)} float inputs: {wanted}")
    for name, grad in zip(names, grads, strict=True):
        if np.shape(grad) != arrays[int(name[1:])].shape:
            raise ValueError(f"{module}.backward returned d{name} of shape {np.shape(grad)}, but {name} "
                             f"has shape {arrays[int(name[1:])].shape}: a gradient has the shape of its tensor"
                             + missing_sum(np.shape(grad), arrays[int(name[1:])].shape))
    return dict(zip(names, map(np.asarray, grads), strict=True))


def _compare(name: str, kind: str, got: np.ndarray, expected: np.ndarray, floor: float) -> Check:
    difference = np.abs(got - expected)
    if not difference.size:
        return Check(name, kind, 0, 0.0, (), 0.0, 0.0, dtype=str(got.dtype))
    index = tuple(int(i) for i in np.unravel_index(difference.argmax(), difference.shape))
    scale = max(np.abs(expected).max(), np.abs(got).max(), floor, np.finfo(np.float64).tiny)
    error = float(difference[index] / scale) if np.isfinite(difference[index]) else np.inf
    return Check(name, kind, difference.size, error, index, float(expected[index]), float(got[index]),
                 dtype=str(got.dtype))
