"""What is worth knowing of an array: mean, standard deviation, extremes, the share of zeros."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from numpygpt.nn.functional import row_slices


@dataclass(frozen=True)
class Stats:
    """`count` numbers with their `mean`, the sum of their squared distances from it, `low`, `high` and exact `zeros`.

    NaN anywhere makes all but count and zeros NaN, which is what one wants to see.
    """

    count: int
    mean: float
    squares: float
    low: float
    high: float
    zeros: int

    @classmethod
    def of(cls, values: np.ndarray | float) -> Stats | None:
        """The numbers of an array of any shape, summed in float64; None of an empty one."""
        flat = np.asarray(values).reshape(-1)
        if not len(flat):
            return None
        with np.errstate(all="ignore"):
            mean = flat.mean(dtype=np.float64)
            squares = 0.0
            for piece in row_slices(len(flat), 1):  # a float64 copy of all of it would be twice as large
                away = flat[piece] - mean
                squares += float(away @ away)
            return cls(len(flat), float(mean), squares, float(flat.min()), float(flat.max()),
                       len(flat) - int(np.count_nonzero(flat)))

    @property
    def std(self) -> float:
        """The standard deviation (of all the numbers, so divided by their count)."""
        return math.sqrt(self.squares / self.count)

    @property
    def norm(self) -> float:
        """The Euclidean norm: the root of the sum of the squares."""
        return math.sqrt(self.squares + self.count * self.mean * self.mean)

    @property
    def zero_share(self) -> float:
        return self.zeros / self.count

    def __add__(self, other: Stats) -> Stats:
        """The numbers of both together (Chan et al. 1979: their variances, and that of their means)."""
        count = self.count + other.count
        apart = other.mean - self.mean
        with np.errstate(all="ignore"):
            return Stats(count, self.mean + apart * other.count / count,
                         self.squares + other.squares + apart * apart * self.count * other.count / count,
                         float(np.minimum(self.low, other.low)), float(np.maximum(self.high, other.high)),
                         self.zeros + other.zeros)


def add(a: Stats | None, b: Stats | None) -> Stats | None:
    """The numbers of both, where either may be missing."""
    return a + b if a and b else a or b
