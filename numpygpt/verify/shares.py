"""What a part of the output or of the input has in a gradient, measured as gradcheck measures the whole: causes of a
wrong one that can be told from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpygpt.verify.causes import Fault

LARGEST = 1 << 16  # entries of a product that is tried: a hint must not take longer than the check


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


def own_entry_alone(fault: Fault) -> Iterator[str]:
    """What each entry does to the output's entry in its own place: the diagonal of the Jacobian, times dY."""
    check, got = fault.check, fault.got
    G = np.asarray(check.G)
    if fault.noise is None and got.shape == G.shape and got.size**2 <= LARGEST:
        shares = differences(lambda: G * check.run(), check.tensors[fault.name], check.eps)
        if fault.same(got, np.diagonal(shares.reshape(got.size, got.size)).reshape(got.shape)):
            yield "it is what each entry does to its own output: what it does to the others is missing"


def rows_unbalanced(fault: Fault) -> Iterator[str]:
    """Rows of the true dX that sum to 0, all of them, and every wrong row does not: a fact, whatever made it so."""
    if fault.noise is not None or not fault.expected.ndim or fault.expected.size < 3:
        return
    width = fault.expected.shape[-1]
    expected, got, wrong = (x.reshape(-1, width) for x in (fault.expected, fault.got, fault.wrong))
    rows = np.flatnonzero(wrong.any(axis=-1))
    balanced = np.abs(expected.sum(axis=-1)).max() <= fault.error and bool(expected[rows].any(axis=-1).all())
    if balanced and (np.abs(got[rows].sum(axis=-1)) > fault.error).all():
        yield ("its rows should sum to 0, as one number added to a row changes nothing: "
               f"{len(rows)} of {len(wrong)} do not, a term is missing or wrong")


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
