"""Why a gradient is wrong: hypotheses that are tried against its numbers. One that they do not bear out is not said."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from numpygpt.nn.gradcheck_words import where

if TYPE_CHECKING:
    from numpygpt.nn.gradcheck import Comparison

LARGEST = 1 << 16  # entries of a product that is tried: a hint must not take longer than the check


@dataclass(frozen=True)
class Fault:
    """The wrong gradient of one tensor, as the hypotheses see it."""

    check: Comparison
    name: str
    got: np.ndarray
    expected: np.ndarray
    error: float  # up to which two gradients of this tensor count as the same

    @property
    def noise(self) -> np.ndarray | None:
        """What stood in the gradient before, if it is a parameter's."""
        return self.check.noise.get(self.name)

    @property
    def wrong(self) -> np.ndarray:
        return np.abs(self.got - self.expected) > self.error

    @property
    def without_noise(self) -> np.ndarray:
        """The gradient as it was, had the wrong entries been overwritten and not added to."""
        return self.got if self.noise is None else np.where(self.wrong, self.got + self.noise, self.got)

    def same(self, a: np.ndarray, b: np.ndarray) -> bool:
        return a.shape == b.shape and bool(np.abs(a - b).max(initial=0) <= self.error)


def explain(check: Comparison, name: str, got: np.ndarray, tolerance: float, floor: float) -> str:
    """Which entries of the tensor `name` are wrong, and the cause, where a hypothesis gives exactly these numbers."""
    if not np.isfinite(got).all():
        return f"{np.count_nonzero(~np.isfinite(got))} of {got.size} entries are not finite"
    expected = check.expected[name]
    lost = np.count_nonzero(~np.isfinite(expected))
    if lost:
        return (f"{lost} of {expected.size} finite differences are not finite: look at what the forward pass gives for "
                "these inputs")
    scale = max(np.abs(expected).max(), floor, np.finfo(np.float64).tiny)
    fault = Fault(check, name, got, expected, tolerance * scale)
    cause = next((found for hypothesis in HYPOTHESES for found in hypothesis(fault)), "")
    return where(fault.wrong) + (f"; {cause}" if cause else "")


# -- the hypotheses: each yields a sentence if the numbers are those that its fault would give -------------------------

def overwritten(fault: Fault) -> Iterator[str]:
    """A gradient starts from noise here. If what stands in it is right without the noise, it was not added to."""
    if fault.noise is not None and fault.same(fault.without_noise, fault.expected):
        there = "" if fault.wrong.all() else " in these"
        ids = any(x.dtype.kind in "iu" for x in fault.check.arrays)
        yield (f"the gradient that was there before is gone{there}: `=` stands where `+=` belongs"
               + (", or np.add.at where ids may repeat" if there and ids else ""))


def never_written(fault: Fault) -> Iterator[str]:
    if not fault.got.any():
        yield "backward gives 0 here: nothing is " + ("returned for it" if fault.noise is None else "added to it")
    elif not fault.got[np.abs(fault.got - fault.expected) > 1e-9 * np.abs(fault.expected).max()].any():
        yield "the wrong ones are 0 in backward: nothing is added to them"


def off_by_a_factor(fault: Fault) -> Iterator[str]:
    """Three entries or more, all in one ratio. One over a length of the output: a mean in the place of a sum."""
    got, expected = fault.got, fault.expected
    if np.count_nonzero(expected) < 3:
        return
    factor = float((got * expected).sum() / (expected * expected).sum())
    if abs(factor) < 1e-6 or not fault.same(got, factor * expected):
        return
    lengths = np.shape(fault.check.G)[:-1]
    means = {float(np.prod(some)) for n in range(1, len(lengths) + 1) for some in itertools.combinations(lengths, n)}
    divided = [n for n in means if n > 1 and abs(factor * n - 1) < 1e-6]
    if abs(factor + 1) < 1e-6:
        yield "the sign is flipped"
    elif divided:
        yield f"all are 1/{divided[0]:.0f} of what they should be: a mean over {divided[0]:.0f} rows in place of a sum"
    else:
        yield f"all are {factor:.6g} times what they should be: a factor is missing or stands there twice"


def transposed(fault: Fault) -> Iterator[str]:
    """The gradient itself, or one factor of the product that it is."""
    got, expected = fault.got, fault.expected
    if got.ndim >= 2 and fault.same(got, expected.swapaxes(-1, -2)):
        yield "it is the transpose of what it should be"
        return
    for right, value in products(fault.check, expected):
        if fault.same(value, expected.reshape(value.shape)):
            for other, wrong in products(fault.check, got):
                if sorted(factors(other)) == sorted(factors(right)) and fault.same(wrong, got.reshape(wrong.shape)):
                    yield f"it is {other} and should be {right}: a factor is transposed, or the two are exchanged"
                    return


def factors(product: str) -> list[str]:
    return product.replace(".T", "").split(" @ ")


def products(check: Comparison, like: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """("dY @ W.T", its value) for each two of dY, the float inputs and the matrices, where it has the shape wanted."""
    named = {"dY": np.asarray(check.G)} | check.tensors
    flat = {name: x.reshape(-1, x.shape[-1]) for name, x in named.items() if x.ndim >= 2}
    sides = [(name + mark, x.T if mark else x) for name, x in flat.items() for mark in ("", ".T")]
    wanted = like.reshape(-1, like.shape[-1]).shape if like.ndim else (0, 0)
    for (a, A), (b, B) in itertools.product(sides, sides):
        if A.shape[1] == B.shape[0] and (len(A), B.shape[1]) == wanted and A.size + B.size <= LARGEST:
            yield f"{a} @ {b}", A @ B


def a_path_missing(fault: Fault) -> Iterator[str]:
    """An input whose gradient is off by exactly dY, the residual path; or is dY, which passed through untouched."""
    G = np.asarray(fault.check.G)
    if fault.noise is None and fault.got.shape == G.shape:
        if fault.same(fault.got, G):
            yield "it is dY as it came: what the layer does to its input is missing"
        elif fault.same(fault.got + G, fault.expected):
            yield "dY itself is missing from the sum: the path that goes around the layer"
        elif fault.same(fault.got - G, fault.expected):
            yield "dY itself is in the sum once too often"


def rows_missing(fault: Fault) -> Iterator[str]:
    """A parameter is used on every row of the output, so its gradient is a sum over them: is a part all that is there?

    The share of each row is found by finite differences too: f is then an array, the sum over the last axis alone.
    """
    check, got, ndim = fault.check, fault.got, fault.got.ndim
    G = np.asarray(check.G)
    lead = G.shape[:-1]
    if fault.noise is None or not lead or got.size * int(np.prod(lead)) > LARGEST:
        return
    shares = differences(lambda: (G * check.run()).sum(axis=-1), check.tensors[fault.name], check.eps)
    for axis, size in enumerate(lead):
        parts = np.moveaxis(shares, ndim + axis, 0)  # (size, *shape of the tensor, the other leading axes)
        others = tuple(range(1 + ndim, parts.ndim))
        for i, part in enumerate(parts.sum(axis=others)):
            if size > 1 and fault.same(got, part):
                yield f"only index {i} of axis {axis} of dY is in it: the sum over the {size} of that axis is missing"
                return
    rows = shares.reshape(*got.shape, -1)
    for i in range(rows.shape[-1]):
        if fault.same(got, rows[..., i]):
            yield f"only row {i} of the {rows.shape[-1]} rows of dY is in it: the sum over the rows is missing"
            return
    yield from last_of_repeated(fault, rows)


def last_of_repeated(fault: Fault, rows: np.ndarray) -> Iterator[str]:
    """Of rows whose ids are equal NumPy's `dW[ids] += dY` keeps one, the last; so does `=`, which clears them too."""
    for ids in (x.reshape(-1) for x in fault.check.arrays if x.dtype.kind in "iu" and x.size == rows.shape[-1]):
        last = [i for i, token in enumerate(ids) if token not in ids[i + 1 :]]
        found = rows[..., last].sum(axis=-1)
        if len(last) < len(ids) and fault.same(fault.got, found):
            yield ("of an id that occurs several times only the last place is in it: `dW[ids] += ..` keeps one, "
                   "np.add.at sums them")
        elif len(last) < len(ids) and fault.same(fault.without_noise, found):
            yield ("of an id that occurs several times only the last place is in it, and the gradient that was there "
                   "before is gone: `dW[ids] = ..` overwrites, np.add.at adds and sums")


HYPOTHESES = (overwritten, never_written, off_by_a_factor, transposed, a_path_missing, rows_missing)


def differences(f: Callable[[], np.ndarray], x: np.ndarray, h: float) -> np.ndarray:
    """df/dx for each entry of x, which is moved in place and put back: the axes of x, then those of f."""
    out = None
    for i in np.ndindex(*x.shape):
        kept = x[i]
        values = []
        for step in (h, -h, 2 * h, -2 * h):
            x[i] = kept + step
            values.append(f())
        x[i] = kept
        slope = (8 * (values[0] - values[1]) - (values[2] - values[3])) / (12 * h)
        out = np.empty((*x.shape, *np.shape(slope))) if out is None else out
        out[i] = slope
    return np.empty(x.shape) if out is None else out
