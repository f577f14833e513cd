"""Guess why a gradient is wrong. A cause is reported only if it reproduces the wrong numbers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from numpygpt.verify.structure import (
    part_off_by_a_factor,
    rows_not_orthogonal,
    rows_that_do_not_count,
    rows_unbalanced,
)

MAX_ENTRIES = 1 << 16  # of an array that is computed for a guess: guessing must not take longer than the check
Slopes = Callable[[Callable[[np.ndarray], Any]], np.ndarray]


@dataclass(frozen=True)
class Fault:
    """The wrong gradient of one tensor, and everything that a guess may be compared with."""

    got: np.ndarray
    expected: np.ndarray
    error: float  # gradients that differ by no more than this count as equal
    G: np.ndarray  # dY, the upstream gradient
    noise: np.ndarray | None  # a parameter's gradient before backward added to it; None for an input
    inputs: list[np.ndarray]
    tensors: dict[str, np.ndarray]  # float inputs and parameters
    slopes: Slopes  # slopes(reduce): d reduce(G * out)/d(this tensor), by finite differences

    @property
    def wrong(self) -> np.ndarray:
        return np.abs(self.got - self.expected) > self.error

    @property
    def without_noise(self) -> np.ndarray:
        """The gradient if the wrong entries were assigned instead of added."""
        return self.got if self.noise is None else np.where(self.wrong, self.got + self.noise, self.got)

    def same(self, a: np.ndarray, b: np.ndarray) -> bool:
        return a.shape == b.shape and bool(np.abs(a - b).max(initial=0) <= self.error)


def likely_cause(fault: Fault) -> str:
    """Which entries are wrong, and the first cause that reproduces exactly these numbers, if any."""
    for array, what in ((fault.got, "entries"), (fault.expected, "finite differences")):
        if bad := np.count_nonzero(~np.isfinite(array)):
            hint = ": check what forward returns for these inputs" if array is fault.expected else ""
            return f"{bad} of {array.size} {what} are not finite{hint}"
    cause = next((found for guess in GUESSES for found in guess(fault)), "")
    return where(fault.wrong) + (f"; {cause}" if cause else "")


def where(wrong: np.ndarray) -> str:
    """How many entries are wrong, and the indices of one axis or the part of a square that they fill, if they do."""
    count = f"{np.count_nonzero(wrong)} of {wrong.size} entries are wrong"
    if wrong.all() or np.count_nonzero(wrong) < 2:
        return count
    for axis, size in enumerate(wrong.shape):
        hit = np.flatnonzero(wrong.any(axis=tuple(a for a in range(wrong.ndim) if a != axis)))
        if wrong.take(hit, axis).all() and len(hit) < size:
            run = len(hit) > 2 and hit[-1] - hit[0] == len(hit) - 1
            return (f"{count}, all those of index {f'{hit[0]} to {hit[-1]}' if run else ', '.join(map(str, hit))} "
                    f"on axis {axis}")
    if wrong.ndim == 2 and wrong.shape[0] == wrong.shape[1]:
        eye, full = np.eye(len(wrong), dtype=bool), np.ones(wrong.shape, dtype=bool)
        for part, mask in {"on": eye, "off": ~eye, "above": np.triu(full, 1), "below": np.tril(full, -1)}.items():
            if np.array_equal(wrong, mask):
                return f"{count}, all those {part} the diagonal"
    return count


def missing_sum(got: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """", and the sum over axis 0 is missing", if an array of shape `wanted` was broadcast to the shape `got`."""
    added = len(got) - len(wanted)
    if added < 0 or any(a not in (b, 1) for a, b in zip(wanted, got[added:], strict=True)):
        return ""
    axes = [*range(added), *(added + i for i, (a, b) in enumerate(zip(wanted, got[added:], strict=True)) if a != b)]
    return f", and the sum over axis {' and '.join(map(str, axes))}, along which it was broadcast, is missing"


# -- the guesses: each yields a sentence if its fault would give exactly the numbers that backward gave ----------------


def overwritten(fault: Fault) -> Iterator[str]:
    """The gradient starts from noise. If it is correct without the noise, backward assigned to it."""
    if fault.noise is not None and fault.same(fault.without_noise, fault.expected):
        part = not fault.wrong.all()
        ids = part and any(x.dtype.kind in "iu" for x in fault.inputs)
        yield (f"backward overwrites the previous gradient{' there' if part else ''}: use `+=`, not `=`"
               + (", or np.add.at if ids can repeat" if ids else ""))


def never_written(fault: Fault) -> Iterator[str]:
    if not fault.got.any():
        yield "backward gives 0: nothing is " + ("returned" if fault.noise is None else "added")
    elif not fault.got[np.abs(fault.got - fault.expected) > 1e-9 * np.abs(fault.expected).max()].any():
        yield "backward gives 0 there: nothing is added"


def upstream_missing(fault: Fault) -> Iterator[str]:
    """The derivative of an element-wise function without dY, or that of a loss without `scale`."""
    if fault.expected.any() and not fault.G.ndim and fault.same(fault.got * fault.G, fault.expected):
        yield "the argument of backward, the upstream gradient, is missing as a factor"
    elif fault.noise is None and fault.got.shape == fault.G.shape and fault.same(fault.got * fault.G, fault.expected):
        yield "dY is missing as a factor: this is the derivative alone"


def off_by_a_factor(fault: Fault) -> Iterator[str]:
    """At least three entries with one ratio. If the ratio of a parameter is 1 / rows of dY, a mean replaced a sum."""
    got, expected = fault.got, fault.expected
    if np.count_nonzero(expected) < 3:
        return
    factor = float((got * expected).sum() / (expected * expected).sum())
    if abs(factor) < 1e-6 or not fault.same(got, factor * expected):
        return
    lengths = fault.G.shape[:-1]
    means = {float(np.prod(some)) for n in range(1, len(lengths) + 1) for some in itertools.combinations(lengths, n)}
    divided = [n for n in means if n > 1 and abs(factor * n - 1) < 1e-6]
    if abs(factor + 1) < 1e-6:
        yield "the sign is flipped"
    elif divided and fault.noise is not None:
        yield f"all are 1/{divided[0]:.0f} of the expected values: a mean over {divided[0]:.0f} rows instead of a sum"
    else:
        yield f"all are {factor:.6g} times the expected values: a factor is missing or appears twice"


def transposed(fault: Fault) -> Iterator[str]:
    """The gradient itself is transposed, or one factor of the product that makes it."""
    got, expected = fault.got, fault.expected
    if got.ndim >= 2 and fault.same(got, expected.swapaxes(-1, -2)):
        yield "it is the transpose of the expected gradient"
        return
    tried = dict(products(fault))
    correct = [name for name, value in tried.items() if fault.same(value, expected.reshape(value.shape))]
    for name, value in tried.items():
        if fault.same(value, got.reshape(value.shape)):
            for other in correct:
                if sorted(factors(name)) == sorted(factors(other)):
                    yield f"it is {name} and should be {other}: a factor is transposed, or the two are swapped"
                    return


def factors(product: str) -> list[str]:
    return product.replace(".T", "").split(" @ ")


def products(fault: Fault) -> Iterator[tuple[str, np.ndarray]]:
    """("dY @ W.T", its value) for each pair of dY, float inputs and matrices whose product has the gradient's shape."""
    named = {"dY": fault.G} | fault.tensors
    flat = {name: x.reshape(-1, x.shape[-1]) for name, x in named.items() if x.ndim >= 2}
    sides = [(name + mark, x.T if mark else x) for name, x in flat.items() for mark in ("", ".T")]
    wanted = fault.got.reshape(-1, fault.got.shape[-1]).shape if fault.got.ndim else (0, 0)
    for (a, A), (b, B) in itertools.product(sides, sides):
        if A.shape[1] == B.shape[0] and (len(A), B.shape[1]) == wanted and A.size + B.size <= MAX_ENTRIES:
            yield f"{a} @ {b}", A @ B


def a_path_missing(fault: Fault) -> Iterator[str]:
    """The gradient of an input is dY itself, or is off by exactly dY: the residual path."""
    if fault.noise is None and fault.got.shape == fault.G.shape:
        for values, cause in ((fault.got, "it equals dY: the layer's own derivative is missing"),
                              (fault.expected - fault.got, "dY is missing from the sum: the residual path"),
                              (fault.got - fault.expected, "dY is added once too often")):
            if fault.same(values, fault.G):
                yield cause
                return


def rows_missing(fault: Fault) -> Iterator[str]:
    """A parameter's gradient is a sum over the rows of dY. Does only one row, or one index of an axis, appear in it?"""
    got, lead = fault.got, fault.G.shape[:-1]
    if fault.noise is None or not lead or got.size * int(np.prod(lead)) > MAX_ENTRIES:
        return
    terms = fault.slopes(lambda X: X.sum(axis=-1))  # one term per row of dY: (*shape of the tensor, *lead)
    for axis, size in enumerate(lead):
        others = tuple(got.ndim + a for a in range(len(lead)) if a != axis)
        for i in range(size if size > 1 else 0):
            if fault.same(got, terms.sum(axis=others).take(i, axis=-1)):
                yield f"only index {i} of axis {axis} of dY is used: the sum over its {size} entries is missing"
                return
    rows = terms.reshape(*got.shape, -1)
    for i in range(rows.shape[-1]):
        if fault.same(got, rows[..., i]):
            yield f"only row {i} of the {rows.shape[-1]} rows of dY is used: the sum over the rows is missing"
            return
    for ids in (x.reshape(-1) for x in fault.inputs if x.dtype.kind in "iu" and x.size == rows.shape[-1]):
        last = [i for i, token in enumerate(ids) if token not in ids[i + 1 :]]
        for values, lost in ((got, ""), (fault.without_noise, " and overwrites the previous gradient")):
            if len(last) < len(ids) and fault.same(values, rows[..., last].sum(axis=-1)):
                yield f"only the last place of a repeated id is used: indexing keeps one{lost}; np.add.at sums them"
                return


def own_entry_alone(fault: Fault) -> Iterator[str]:
    """Only the diagonal of the Jacobian: the effect of each entry on the output at the same place."""
    if fault.noise is None and fault.got.shape == fault.G.shape and fault.got.size**2 <= MAX_ENTRIES:
        jacobian = fault.slopes(lambda X: X).reshape(fault.got.size, fault.got.size)
        if fault.same(fault.got, np.diagonal(jacobian).reshape(fault.got.shape)):
            yield "only the diagonal of the Jacobian is used: the effect of each entry on the others is missing"


GUESSES = (overwritten, never_written, upstream_missing, off_by_a_factor, transposed, a_path_missing, rows_missing,
           own_entry_alone, rows_that_do_not_count, part_off_by_a_factor, rows_unbalanced, rows_not_orthogonal)
