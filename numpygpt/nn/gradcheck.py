"""Finite differences against a module's backward: is the gradient that was derived by hand the right one?"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from numpygpt.nn.modules.module import Module

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


@dataclass(frozen=True)
class Report:
    """The checks of one module. True in a condition when all of them passed; `print` shows a line a tensor."""

    module: str
    checks: tuple[Check, ...]
    tolerance: float

    @property
    def failures(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.error <= self.tolerance)  # not <=: NaN fails

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
            if check in self.failures:
                place = ", ".join(map(str, check.index))
                line += f"   WRONG at [{place}]: expected {check.expected:.8g}, got {check.got:.8g}"
            lines.append(line)
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
    dropout keeps its mask. The error of a tensor is max |got - expected| over the largest entry of either (and over at
    least FLOOR of the largest gradient of all).
    """
    rng = np.random.default_rng(seed)
    twin = copy.deepcopy(module).astype(np.float64)
    if randomize:
        for param in twin.params().values():
            param[...] = 0.5 * rng.standard_normal(param.shape)
    arrays = [np.array(x, np.float64 if np.asarray(x).dtype.kind == "f" else None) for x in inputs]
    noise = {name: rng.standard_normal(grad.shape) for name, grad in twin.grads().items()}
    run = _Runner(twin, arrays)
    for name, grad in twin.grads().items():
        grad[...] = noise[name]
    G = _read_only(rng.standard_normal(np.shape(run()))) if np.shape(run()) else float(rng.standard_normal())
    got = _input_gradients(twin, arrays, twin.backward(G))
    got |= {name: grad - noise[name] for name, grad in twin.grads().items()}
    tensors = {f"X{i}": x for i, x in enumerate(arrays) if x.dtype.kind == "f"} | twin.params()
    expected = {name: _differences(lambda: float(np.sum(G * run())), x, eps) for name, x in tensors.items()}
    if not any(x.size for x in tensors.values()):
        raise ValueError(f"{type(module).__name__} has nothing to check: no parameter, and no entry in a float input")
    floor = FLOOR * max((np.abs(value).max(initial=0) for value in expected.values()), default=0)
    params = twin.params()
    checks = (_compare(name, "parameter" if name in params else "input", got[name], expected[name], floor)
              for name in tensors)
    return Report(type(module).__name__, tuple(checks), tolerance)


class _Runner:
    """Calls the module again and again under the same conditions: read-only inputs, generators at the same state."""

    def __init__(self, module: Module, arrays: list[np.ndarray]):
        self.module, self.inputs = module, [_read_only(x) for x in arrays]
        self.states = [(rng, rng.bit_generator.state) for rng in module.generators().values()]

    def __call__(self) -> Any:
        for rng, state in self.states:
            rng.bit_generator.state = state
        out = self.module(*self.inputs)
        return out[-1] if isinstance(out, tuple) else out


def _read_only(X: np.ndarray) -> np.ndarray:
    view = X.view()
    view.flags.writeable = False
    return view


def _input_gradients(module: Module, arrays: list[np.ndarray], returned: Any) -> dict[str, np.ndarray]:
    """What backward returned, by name of the float input that it belongs to."""
    names = [f"X{i}" for i, x in enumerate(arrays) if x.dtype.kind == "f"]
    grads = [g for g in (returned if isinstance(returned, tuple) else (returned,)) if g is not None]
    if len(grads) != len(names):
        raise ValueError(f"{type(module).__name__}.backward returned {len(grads)} gradients for {len(names)} float "
                         "inputs: return dX, or a tuple with one for each float input")
    for name, grad in zip(names, grads, strict=True):
        if np.shape(grad) != arrays[int(name[1:])].shape:
            raise ValueError(f"{type(module).__name__}.backward returned d{name} of shape {np.shape(grad)}, but {name} "
                             f"has shape {arrays[int(name[1:])].shape}: a gradient has the shape of its tensor")
    return dict(zip(names, grads, strict=True))


def _differences(f: Any, x: np.ndarray, h: float) -> np.ndarray:
    """df/dx for each entry of x, which is moved in place and put back."""
    out = np.empty(x.shape)
    for i in np.ndindex(*x.shape):
        kept = x[i]
        values = []
        for step in (h, -h, 2 * h, -2 * h):
            x[i] = kept + step
            values.append(f())
        x[i] = kept
        out[i] = (8 * (values[0] - values[1]) - (values[2] - values[3])) / (12 * h)
    return out


def _compare(name: str, kind: str, got: np.ndarray, expected: np.ndarray, floor: float) -> Check:
    difference = np.abs(got - expected)
    if not difference.size:
        return Check(name, kind, 0, 0.0, (), 0.0, 0.0)
    index = tuple(int(i) for i in np.unravel_index(difference.argmax(), difference.shape))
    scale = max(np.abs(expected).max(), np.abs(got).max(), floor, np.finfo(np.float64).tiny)
    error = float(difference[index] / scale) if np.isfinite(difference[index]) else np.inf
    return Check(name, kind, difference.size, error, index, float(expected[index]), float(got[index]))
