"""Why a gradient is wrong: hypotheses that are tried against its numbers. One that they do not bear out is not said."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from numpygpt.verify.shares import LARGEST, own_entry_alone, rows_missing, rows_unbalanced
from numpygpt.verify.words import where

if TYPE_CHECKING:
    from numpygpt.verify.check import Comparison


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


def upstream_missing(fault: Fault) -> Iterator[str]:
    """An entry's slope by itself, or of a loss the gradient that does not know `scale`."""
    G, got = np.asarray(fault.check.G), fault.got
    if fault.expected.any() and not G.ndim and fault.same(got * G, fault.expected):
        yield "backward's argument, the upstream gradient, is missing: all are to be multiplied by it"
    elif fault.noise is None and got.shape == G.shape and fault.same(got * G, fault.expected):
        yield "dY is missing: it is the slope alone"


def off_by_a_factor(fault: Fault) -> Iterator[str]:
    """Three entries or more, all in one ratio. For a parameter, one over a length of the output is a mean for a sum."""
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
    elif divided and fault.noise is not None:
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


HYPOTHESES = (overwritten, never_written, upstream_missing, off_by_a_factor, transposed, a_path_missing, rows_missing,
              own_entry_alone, rows_unbalanced)
