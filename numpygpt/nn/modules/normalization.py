"""Layer normalisation, with the mean subtracted (LayerNorm) or not (RMSNorm)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from numpygpt.nn import init
from numpygpt.nn.backend import on_host, ones, row_dot
from numpygpt.nn.cost import Call, Cost, Formula
from numpygpt.nn.functional import column_sums, tiny_is_zero
from numpygpt.nn.modules.checks import check_dtype, check_sizes, check_width
from numpygpt.nn.modules.module import Module
from numpygpt.utils.checks import boolean, number


class LayerNorm(Module):
    """Y = gamma * Xhat + beta with Xhat = (X - mean) / sqrt(var + eps), over the last axis.

    X, Y: (..., C); gamma, beta: (C,); mean and (biased) variance are those of each row. Caches Xhat and
    1/sqrt(var + eps), which is all that the gradient needs. Ba et al. 2016; derived in llm.c's layernorm notes.
    """

    gamma: np.ndarray
    dgamma: np.ndarray
    beta: np.ndarray
    dbeta: np.ndarray

    def __init__(self, d_model: int, bias: bool = True, *, eps: float = 1e-5, dtype: str = "float32"):
        (self.d_model,), self.bias = check_sizes(d_model=d_model), boolean("bias", bias)
        self.eps = check_eps(eps, dtype)
        self.param("gamma", init.ones((self.d_model,), dtype))
        if self.bias:
            self.param("beta", init.zeros((self.d_model,), dtype))

    @tiny_is_zero
    def forward(self, X: np.ndarray) -> np.ndarray:  # X: (..., C)
        check_width(self, X, self.d_model)
        Xhat = X - row_mean(X, ones(self.d_model, X))  # (..., C)
        self.rstd = inverse_rms(Xhat, self.eps)  # (..., 1): the mean of Xhat^2 is the variance
        Xhat *= self.rstd
        self.Xhat = Xhat
        Y = Xhat * self.gamma
        if self.bias:
            Y += self.beta
        return Y  # (..., C)

    @tiny_is_zero
    def backward(self, dY: np.ndarray) -> np.ndarray:  # dY: (..., C)
        Xhat, gamma = self.Xhat, self.gamma
        dot = dY * Xhat
        if self.bias and self.trains("beta"):
            self.dbeta += column_sums(dY)  # forward: Y = .. + beta, on every row  so  dbeta = sum of dY
        if self.trains("gamma"):
            self.dgamma += column_sums(dot)  # forward: Y = gamma Xhat + ..        so  dgamma = sum of dY Xhat
        dX = dY * gamma  #                                                         and dXhat = dY gamma
        # forward: Xhat = (X - mean) rstd. X also moves the mean and the variance of its row: subtract both paths.
        # dX = rstd (dXhat - mean(dXhat) - Xhat mean(dXhat Xhat))
        dX -= row_mean(dY, gamma)
        dX -= np.multiply(Xhat, row_mean(dot, gamma), out=dot)
        dX *= self.rstd
        return dX  # (..., C)

    formula: ClassVar[Formula] = Formula(
        ("Y = gamma Xhat + beta,  Xhat = (X - mean) rstd",),
        ("dgamma = Σ dY Xhat,  dbeta = Σ dY,  dXhat = dY gamma",
         "dX = rstd (dXhat - mean(dXhat) - Xhat mean(dXhat Xhat))"))  # fmt: skip

    def cost(self, call: Call) -> Cost:
        call.check(self, self.d_model)
        cached = (call.size + call.rows) * call.itemsize  # Xhat and rstd
        return Cost(call.shape, forward=7 * call.size, backward=11 * call.size, cached=cached)

    def extra_repr(self) -> str:
        return f"{self.d_model}" + ("" if self.bias else ", bias=False")


class RMSNorm(Module):
    """Y = gamma * Xhat with Xhat = X / sqrt(mean(X^2) + eps), over the last axis.

    X, Y: (..., C); gamma: (C,). LayerNorm without the mean and without beta. Caches Xhat and 1/sqrt(mean(X^2) + eps).
    Zhang and Sennrich 2019.
    """

    gamma: np.ndarray
    dgamma: np.ndarray

    def __init__(self, d_model: int, *, eps: float = 1e-5, dtype: str = "float32"):
        (self.d_model,), self.eps = check_sizes(d_model=d_model), check_eps(eps, dtype)
        self.param("gamma", init.ones((self.d_model,), dtype))

    @tiny_is_zero
    def forward(self, X: np.ndarray) -> np.ndarray:  # X: (..., C)
        check_width(self, X, self.d_model)
        self.rstd = inverse_rms(X, self.eps)  # (..., 1)
        self.Xhat = X * self.rstd
        return self.Xhat * self.gamma  # (..., C)

    @tiny_is_zero
    def backward(self, dY: np.ndarray) -> np.ndarray:  # dY: (..., C)
        Xhat = self.Xhat
        dot = dY * Xhat
        if self.trains("gamma"):
            self.dgamma += column_sums(dot)  # forward: Y = gamma Xhat  so  dgamma = sum of dY Xhat
        dX = dY * self.gamma  #                                         and dXhat = dY gamma
        # forward: Xhat = X rstd. X also moves the mean square of its row: subtract that path.
        # dX = rstd (dXhat - Xhat mean(dXhat Xhat))
        dX -= np.multiply(Xhat, row_mean(dot, self.gamma), out=dot)
        dX *= self.rstd
        return dX  # (..., C)

    formula: ClassVar[Formula] = Formula(
        ("Y = gamma Xhat,  Xhat = X rstd,  rstd = 1/√(mean(X²) + eps)",),
        ("dgamma = Σ dY Xhat,  dXhat = dY gamma", "dX = rstd (dXhat - Xhat mean(dXhat Xhat))"))  # fmt: skip

    def cost(self, call: Call) -> Cost:
        call.check(self, self.d_model)
        cached = (call.size + call.rows) * call.itemsize  # Xhat and rstd
        return Cost(call.shape, forward=4 * call.size, backward=8 * call.size, cached=cached)

    def extra_repr(self) -> str:
        return f"{self.d_model}"


def inverse_rms(X: np.ndarray, eps: float) -> np.ndarray:
    """1 / sqrt(mean of X^2 + eps) over the last axis, as an axis of length 1."""
    with np.errstate(over="ignore"):
        found = 1 / np.sqrt(row_mean(X, X) + eps)
    # A square may overflow, as that of 1e20 does in float32. A device is not asked: reading its answer would take time.
    if on_host(found) and np.count_nonzero(found) < found.size:
        wide = X.astype(np.float64)
        found = (1 / np.sqrt(row_mean(wide, wide) + eps)).astype(X.dtype)
    return found


def check_eps(eps: float, dtype: str) -> float:
    """eps as a Python number. ValueError unless it is 0, or in `dtype` also finite and above 0."""
    eps, kind = number("eps", eps), check_dtype(dtype)
    if not 0 <= eps <= float(np.finfo(kind).max) or (eps > 0 and kind.type(eps) == 0):
        raise ValueError(f"eps must be 0, or a number above it that {dtype} can represent, got {eps!s:.40}")
    return eps


def row_mean(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """The mean of A * B over the last axis, as an axis of length 1, without making the array A * B."""
    return row_dot(A, B)[..., None] / A.shape[-1]
