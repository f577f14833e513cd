"""The affine map."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from numpygpt.nn import init
from numpygpt.nn.cost import Call, Cost, Formula
from numpygpt.nn.functional import rows, tiny_is_zero
from numpygpt.nn.modules.checks import check_sizes, check_width
from numpygpt.nn.modules.module import Module
from numpygpt.utils.checks import boolean


class Linear(Module):
    """Y = X W + b on the last axis of X, of any rank.

    X: (..., in), W: (in, out), b: (out,), Y: (..., out). W starts as N(0, std^2), by default with std = 1/sqrt(in),
    which preserves the variance of X; b starts as zeros, and `bias=False` leaves it out. Caches X, which dW needs; a
    frozen layer caches nothing.

    >>> layer = Linear(2, 3, rng=0)
    >>> layer(np.ones((4, 5, 2), np.float32)).shape
    (4, 5, 3)
    """

    W: np.ndarray
    dW: np.ndarray
    b: np.ndarray
    db: np.ndarray
    X: Any  # None if W is frozen

    def __init__(self, d_in: int, d_out: int, bias: bool = True, *, std: float | None = None,
                 rng: np.random.Generator | int | None = None, dtype: str = "float32"):
        d_in, d_out = check_sizes(d_in=d_in, d_out=d_out)
        bias = boolean("bias", bias)
        self.d_in, self.d_out, self.bias = d_in, d_out, bias
        std = 1 / math.sqrt(d_in) if std is None else std
        self.param("W", init.normal(np.random.default_rng(rng), (d_in, d_out), std, dtype))
        if bias:
            self.param("b", init.zeros((d_out,), dtype))

    @tiny_is_zero
    def forward(self, X: np.ndarray) -> np.ndarray:  # X: (..., in)
        check_width(self, X, self.d_in)
        X = self.rounded(X)  # X itself without mixed precision
        self.X = X if self.trains("W") else None
        Y = self.product(rows(X), self.W)  # (N, out): one large product instead of one per sequence
        if self.bias:
            Y += self.b
        return Y.reshape(*X.shape[:-1], self.d_out)  # (..., out)

    @tiny_is_zero
    def backward(self, dY: np.ndarray) -> np.ndarray:  # dY: (..., out)
        dY2 = rows(dY)  # (N, out)
        if self.trains("W"):
            self.dW += self.product(rows(self.X).T, dY2)  # forward: Y = X W  so  dW = X^T dY
        if self.bias and self.trains("b"):
            self.db += dY2.sum(axis=0)  # forward: Y = .. + b, on every row   so  db = sum over the rows of dY
        dX = self.product(dY2, self.W.T)  # forward: Y = X W                  so  dX = dY W^T
        return dX.reshape(*dY.shape[:-1], self.d_in)  # (..., in)

    formula: ClassVar[Formula] = Formula(("Y = X W + b",), ("dX = dY Wᵀ,  dW = Xᵀ dY,  db = Σ dY",))

    def cost(self, call: Call) -> Cost:
        call.check(self, self.d_in)
        product = 2 * call.rows * self.d_in * self.d_out  # X W; as many for dY W^T and X^T dY
        bias = call.rows * self.d_out if self.bias else 0
        if not self.trains("W"):
            return Cost(call.wide(self.d_out), product + bias, product + (bias if self.trains("b") else 0))
        return Cost(call.wide(self.d_out), product + bias, 2 * product + bias, call.input_bytes)

    def extra_repr(self) -> str:
        return f"{self.d_in}, {self.d_out}" + ("" if self.bias else ", bias=False")
