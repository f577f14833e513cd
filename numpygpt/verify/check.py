"""Compare a module's backward with finite differences: is the gradient that was derived by hand correct?"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from numpygpt.nn.modules.module import Module
from numpygpt.verify.explain import Fault, likely_cause, missing_sum

STREAM = 2  # with `seed` alone, G would equal an input that the caller drew from default_rng(seed)
FLOOR = 1e-4  # smallest scale of a tensor's error, as a fraction of the largest gradient of all tensors


@dataclass(frozen=True)
class Check:
    """The result for one tensor: its largest error, relative to the tensor's scale, and where that error is."""

    name: str
    kind: str  # "parameter" or "input"
    entries: int
    error: float
    index: tuple[int, ...]
    expected: float  # finite difference at `index`
    got: float  # result of backward at `index`
    cause: str = ""  # which entries are wrong, and the likely cause
    dtype: str = "float64"  # of the gradient that backward returned


@dataclass(frozen=True)
class Report:
    """The checks of one module: true if all of them passed. `print` shows one line per tensor."""

    module: str
    checks: tuple[Check, ...]
    tolerance: float

    @property
    def failures(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.error <= self.tolerance or check.dtype != "float64")

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
        lines = [f"{self.module}: {'all correct' if self.ok else 'WRONG'} ({self.entries} entries)"]
        for check in self.checks:
            line = f"  {check.name:<24} {check.kind:<9} {check.entries:>6} entries   error {check.error:.1e}"
            if not check.error <= self.tolerance:  # `not <=` instead of `>`: true for NaN as well
                index = ", ".join(map(str, check.index))
                line += f"   WRONG at [{index}]: expected {check.expected:.8g}, got {check.got:.8g}"
            elif check.dtype != "float64":
                line += f"   WRONG dtype: expected float64, got {check.dtype} (is there a cast?)"
            lines.append(line)
            lines += ["    " + check.cause] if check.cause else []
        return "\n".join(lines)


def gradcheck(module: Module, *inputs: Any, seed: int = 0, eps: float = 1e-4, tolerance: float = 1e-6,
              randomize: bool = True) -> Report:
    """Compare the gradient of every parameter and float input with finite differences, element-wise, in float64.

    Let out = module(*inputs), or its last item if it returns several, and let G be random and of the same shape. The
    scalar f = sum(G * out) has the gradients that backward(G) must give. The finite difference is the fourth-order
    central one, (8 (f(x+h) - f(x-h)) - (f(x+2h) - f(x-2h))) / 12h with h = `eps`.

    A float64 copy is checked. Its parameters are drawn again with entries of order one, because small weights hide
    errors below the tolerance; `randomize=False` keeps them. Inputs are read-only. Gradients start from noise, so that
    `=` for `+=` fails. Random generators restart at each call, so that dropout keeps its mask. A tensor's error is
    max |got - expected| over the largest entry of either (at least FLOOR times the largest gradient of all), and its
    gradient must be float64. `str(report)` says which entries are wrong and, if possible, why.
    """
    return Comparison(module, *inputs, seed=seed, eps=eps, randomize=randomize).report(tolerance)


class Comparison:
    """A float64 copy of a module and its finite differences, computed once for any number of versions of backward."""

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
        G = rng.standard_normal(np.shape(self.run()))
        self.G = np.broadcast_to(G, np.shape(G)) if np.ndim(G) else float(G)  # a read-only view
        self.tensors = {f"X{i}": x for i, x in enumerate(self.arrays) if x.dtype.kind == "f"} | {
            name: param for name, param in twin.params().items() if name in self.noise}  # those that learn

    @cached_property
    def expected(self) -> dict[str, np.ndarray]:
        """df/dx of every tensor x, by finite differences."""
        return {name: self.slopes(name, np.sum) for name in self.tensors}

    def slopes(self, name: str, reduce: Callable[[np.ndarray], Any]) -> np.ndarray:
        """d reduce(G * out)/dx for the tensor `name`: the axes of x, then those of reduce's result."""
        return differences(lambda: np.asarray(reduce(np.asarray(self.G * self.run()))), self.tensors[name], self.eps)

    def got(self, during: Callable[[], AbstractContextManager[Any]] = nullcontext) -> dict[str, np.ndarray]:
        """The gradients from a forward and a backward pass; `during()` is entered for the backward pass."""
        twin = copy.deepcopy(self.fresh)
        run = _Runner(twin, self.arrays)
        for name, grad in twin.grads().items():
            grad[...] = self.noise[name]
        run()  # as in training, where a forward pass came before: what it leaves in the layers must have no effect
        run()
        with during():
            with _noted():
                returned = twin.backward(self.G)
            got = _input_gradients(self.name, self.arrays, returned)
        return got | {name: grad - self.noise[name] for name, grad in twin.grads().items()}

    def report(self, tolerance: float, during: Callable[[], AbstractContextManager[Any]] = nullcontext,
               causes: bool = True) -> Report:
        """Compare `got` with `expected`. Without `causes`, do not look for the reason why a tensor is wrong."""
        got = self.got(during)
        if not any(x.size for x in self.tensors.values()):
            raise ValueError(f"{self.name} has nothing to check: no parameters and no entries in a float input")
        floor = FLOOR * max((np.abs(value).max(initial=0) for value in self.expected.values()), default=0)
        floor = max(floor, np.finfo(np.float64).tiny)
        checks = []
        for name, expected in self.expected.items():
            check = _compare(name, "parameter" if name in self.noise else "input", got[name], expected, floor)
            if causes and not check.error <= tolerance:
                scale = max(np.abs(expected).max(), floor)
                fault = Fault(got[name], expected, tolerance * scale, np.asarray(self.G), self.noise.get(name),
                              self.arrays, self.tensors, partial(self.slopes, name))
                check = replace(check, cause=likely_cause(fault))
            checks.append(check)
        return Report(self.name, tuple(checks), tolerance)


def differences(f: Callable[[], np.ndarray], x: np.ndarray, h: float) -> np.ndarray:
    """df/dx for each entry of x, which is moved in place and restored: the axes of x, then those of f."""
    out = None
    for i in np.ndindex(*x.shape):
        before = x[i]
        values = []
        for step in (h, -h, 2 * h, -2 * h):
            x[i] = before + step
            values.append(f())
        x[i] = before
        slope = (8 * (values[0] - values[1]) - (values[2] - values[3])) / (12 * h)
        out = np.empty((*x.shape, *np.shape(slope))) if out is None else out
        out[i] = slope
    return np.empty(x.shape) if out is None else out


class _Runner:
    """Calls the module under the same conditions each time: read-only inputs, generators in the same state."""

    def __init__(self, module: Module, arrays: list[np.ndarray]):
        self.module, self.inputs = module, [np.broadcast_to(x, x.shape) for x in arrays]  # read-only views
        self.states = [(rng, rng.bit_generator.state) for rng in module.generators().values()]

    def __call__(self) -> Any:
        for rng, state in self.states:
            rng.bit_generator.state = state
        with _noted():
            out = self.module(*self.inputs)
        return out[-1] if isinstance(out, tuple) else out


@contextmanager
def _noted() -> Iterator[None]:
    """Add the two rules that are broken most often to a layer's ValueError."""
    try:
        yield
    except ValueError as error:
        error.add_note("gradcheck passes read-only arrays, because a layer must not change its arguments. A gradient "
                       "has the shape of its array, so sum over the axes along which that was broadcast.")
        raise


def _input_gradients(module: str, arrays: list[np.ndarray], returned: Any) -> dict[str, np.ndarray]:
    """The arrays that backward returned, under the names of the float inputs. ValueError if count or shape is wrong."""
    named = {f"X{i}": x for i, x in enumerate(arrays) if x.dtype.kind == "f"}
    grads = [g for g in (returned if isinstance(returned, tuple) else (returned,)) if g is not None]
    if len(grads) != len(named):
        wanted = ("return dX, or a tuple with one gradient for each float input" if named else
                  "integer inputs have no gradient, so return None" if arrays else "return None")
        count = "None (is its return missing?)" if returned is None else f"{len(grads)} gradients"
        raise ValueError(f"{module}.backward returned {count} for {len(named)} float inputs: {wanted}")
    for (name, x), grad in zip(named.items(), grads, strict=True):
        if np.shape(grad) != x.shape:
            raise ValueError(f"{module}.backward returned d{name} of shape {np.shape(grad)}, but {name} has shape "
                             f"{x.shape}: both must be equal{missing_sum(np.shape(grad), x.shape)}")
    return dict(zip(named, map(np.asarray, grads), strict=True))


def _compare(name: str, kind: str, got: np.ndarray, expected: np.ndarray, floor: float) -> Check:
    difference, dtype = np.abs(got - expected), str(got.dtype)
    if not difference.size:
        return Check(name, kind, 0, 0.0, (), 0.0, 0.0, dtype=dtype)
    index = tuple(int(i) for i in np.unravel_index(difference.argmax(), difference.shape))
    scale = max(np.abs(expected).max(), np.abs(got).max(), floor)
    error = float(difference[index] / scale) if np.isfinite(difference[index]) else np.inf
    return Check(name, kind, difference.size, error, index, float(expected[index]), float(got[index]), dtype=dtype)
