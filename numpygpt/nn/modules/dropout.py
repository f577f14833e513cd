"""Dropout."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from numpygpt.nn.backend import uniform
from numpygpt.nn.cost import Call, Cost, Formula
from numpygpt.nn.functional import tiny_is_zero
from numpygpt.nn.modules.checks import check_array
from numpygpt.nn.modules.module import Module
from numpygpt.utils.checks import number


class Dropout(Module):
    """In training, each entry is set to 0 with probability p and the others are scaled by 1/(1 - p); else Y = X.

    X, Y: (...). The scaling keeps the expectation, so that evaluation needs no scaling. `rng`, a Generator or a seed,
    draws the mask, which is cached. Srivastava et al. 2014. Raises ValueError unless 0 <= p < 1.
    """

    def __init__(self, p: float = 0.1, *, rng: np.random.Generator | int | None = None):
        self.p, self.rng = check_probability("dropout", p), np.random.default_rng(rng)

    def forward(self, X: np.ndarray) -> np.ndarray:
        check_array(self, X, floats=True)
        self.mask = None
        if not self.training or self.p == 0:
            return X
        keep = uniform(self.rng, X) >= self.p
        self.mask = np.multiply(keep, 1 / (1 - self.p), dtype=X.dtype)  # 0 or 1/(1 - p)
        return masked(X, self.mask)

    def backward(self, dY: np.ndarray) -> np.ndarray:
        return dY if self.mask is None else masked(dY, self.mask)  # forward: Y = X mask  so  dX = dY mask

    formula: ClassVar[Formula] = Formula(("Y = X mask,  each entry 0 or 1/(1 - p)",), ("dX = dY mask",))

    def cost(self, call: Call) -> Cost:
        n = call.size if call.training and self.p > 0 else 0  # else Y is X itself
        return Cost(call.shape, forward=3 * n, backward=n, cached=n * call.itemsize)

    def extra_repr(self) -> str:
        return f"{self.p}"


@tiny_is_zero
def masked(X: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return X * mask


def check_probability(name: str, p: float) -> float:
    """p as a Python number. ValueError unless 0 <= p < 1."""
    p = number(name, p)
    if not 0 <= p < 1:
        raise ValueError(f"{name} must be at least 0 and below 1, got {p}")
    return p
