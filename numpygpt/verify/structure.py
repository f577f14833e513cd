"""Guesses from the structure of a gradient: a factor on a part, rows that do not count, sums and products of rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpygpt.verify.explain import Fault


def part_off_by_a_factor(fault: Fault) -> Iterator[str]:
    """At least three wrong entries with one ratio, beside correct ones."""
    wrong = fault.wrong
    got, expected = fault.got[wrong], fault.expected[wrong]
    if np.count_nonzero(expected) < 3 or wrong.all():
        return
    factor = float((got * expected).sum() / (expected * expected).sum())
    if abs(factor) > 1e-6 and fault.same(got, factor * expected):
        yield ("there the sign is flipped" if abs(factor + 1) < 1e-6 else
               f"there all are {factor:.6g} times the expected values: a factor is missing or appears twice")


def rows_that_do_not_count(fault: Fault) -> Iterator[str]:
    """The wrong rows are those of one id, for instance an ignored target, and the expected rows are 0."""
    if not fault.got.ndim:
        return
    rows = fault.wrong.any(axis=-1)
    for ids in fault.inputs:
        if ids.dtype.kind in "iu" and ids.shape == rows.shape and rows.any() and not fault.expected[rows].any():
            values = np.unique(ids[rows])
            if len(values) == 1 and np.array_equal(rows, ids == values[0]):
                yield (f"they are in the rows whose target is {values[0]}: such a row does not count, so its gradient "
                       "is 0")


def rows_unbalanced(fault: Fault) -> Iterator[str]:
    """All rows of the expected gradient of an input sum to 0 and no wrong row does, or the other way round."""
    if fault.noise is not None or not fault.expected.ndim or fault.expected.size < 3:
        return
    expected, got, wrong = (x.reshape(-1, x.shape[-1]) for x in (fault.expected, fault.got, fault.wrong))
    rows = np.flatnonzero(wrong.any(axis=-1))
    sums, wanted = np.abs(got.sum(axis=-1)), np.abs(expected.sum(axis=-1))
    if wanted.max() <= fault.error and expected[rows].any(axis=-1).all() and (sums[rows] > fault.error).all():
        yield (f"each row should sum to 0, because adding a constant to a row changes nothing, but {len(rows)} of "
               f"{len(wrong)} do not: a term is missing or wrong")
    elif sums.max() <= fault.error and got[rows].any(axis=-1).all() and (wanted[rows] > fault.error).all():
        yield ("each row sums to 0, and the expected rows do not: a mean is subtracted that forward does not subtract, "
               "or a path around this layer is missing")


def rows_not_orthogonal(fault: Fault) -> Iterator[str]:
    """The rows of the expected gradient are orthogonal to those of the input (or to what remains of them without their
    mean), because forward divides each row by its size. The wrong rows are not."""
    inputs = [x for x in fault.inputs if x.shape == fault.got.shape and x.dtype.kind == "f"]
    if fault.noise is not None or len(inputs) != 1 or inputs[0].ndim < 1 or inputs[0].shape[-1] < 3:
        return
    rows = fault.wrong.any(axis=-1)
    for X, name in ((inputs[0], "the row of X"), (inputs[0] - inputs[0].mean(axis=-1, keepdims=True), "X - mean")):
        cosines = [np.abs((X * d).sum(axis=-1)) / np.maximum(np.linalg.norm(X, axis=-1) * np.linalg.norm(d, axis=-1),
                                                             np.finfo(np.float64).tiny)
                   for d in (fault.expected, fault.got)]
        if cosines[0].max() < 1e-3 and rows.any() and (cosines[1][rows] > 1e-2).all():
            yield (f"each row should be orthogonal to {name}, because scaling it changes nothing: the path through the "
                   "size of the row (its variance or mean square) is missing or wrong")
            return
