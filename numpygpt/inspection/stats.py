"""Statistics of an array: mean, standard deviation, extremes, the fraction of zeros."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import numpy as np

from numpygpt.nn.backend import to_host
from numpygpt.nn.functional import row_slices


@dataclass(frozen=True)
class Stats:
    """Statistics of `count` numbers. `squares` is the sum of squared distances from the mean, `zeros` the number of
    exact zeros. One NaN makes all but count and zeros NaN, so that it is seen."""

    count: int
    mean: float
    squares: float
    low: float
    high: float
    zeros: int

    @classmethod
    def of(cls, values: np.ndarray | float) -> Stats | None:
        """Statistics of an array of any shape, summed in float64; None for an empty one."""
        flat = to_host(values).reshape(-1)
        if not len(flat):
            return None
        with np.errstate(all="ignore"):
            mean = flat.mean(dtype=np.float64)
            squares = 0.0
            for piece in row_slices(len(flat), 1):  # a float64 copy of the whole array would be twice its size
                away = flat[piece] - mean
                squares += float(away @ away)
            return cls(len(flat), float(mean), squares, float(flat.min()), float(flat.max()),
                       len(flat) - int(np.count_nonzero(flat)))

    @property
    def std(self) -> float:
        """The standard deviation (divided by count, not by count - 1)."""
        return math.sqrt(self.squares / self.count)

    @property
    def norm(self) -> float:
        """The Euclidean norm: the square root of the sum of squares."""
        return math.sqrt(self.squares + self.count * self.mean * self.mean)

    @property
    def zero_fraction(self) -> float:
        return self.zeros / self.count

    def __add__(self, other: Stats) -> Stats:
        """Statistics of both sets of numbers together (Chan et al. 1979)."""
        count = self.count + other.count
        apart = other.mean - self.mean
        with np.errstate(all="ignore"):
            return Stats(count, self.mean + apart * other.count / count,
                         self.squares + other.squares + apart * apart * self.count * other.count / count,
                         float(np.minimum(self.low, other.low)), float(np.maximum(self.high, other.high)),
                         self.zeros + other.zeros)


def add(a: Stats | None, b: Stats | None) -> Stats | None:
    """Statistics of both together; either may be None."""
    return a + b if a and b else a or b


def stats_of_all(arrays: Iterable[np.ndarray]) -> Stats | None:
    return reduce(add, map(Stats.of, arrays), None)
