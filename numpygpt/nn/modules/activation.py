"""Activations as layers; the formulas and their gradients are in functional.py."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from numpygpt.nn import functional as F
from numpygpt.nn.cost import Call, Cost, Formula
from numpygpt.nn.modules.checks import check_array
from numpygpt.nn.modules.module import Module
from numpygpt.utils.checks import number


class ReLU(Module):
    """Y = max(X, 0). X, Y: (...). Caches Y: the gradient needs only its sign."""

    def forward(self, X: np.ndarray) -> np.ndarray:
        check_array(self, X)
        self.Y = F.relu(X)
        return self.Y

    def backward(self, dY: np.ndarray) -> np.ndarray:
        return F.relu_backward(dY, self.Y)

    formula: ClassVar[Formula] = Formula(("Y = max(X, 0)",), ("dX = dY where Y > 0, else 0",))

    def cost(self, call: Call) -> Cost:
        return Cost(call.shape, forward=call.size, backward=2 * call.size, cached=call.nbytes, output_cached=True)


class GELU(Module):
    """Y = X/2 (1 + tanh(sqrt(2/pi) (X + 0.044715 X^3))), GPT-2's form. X, Y: (...). Caches ∂Y/∂X."""

    def forward(self, X: np.ndarray) -> np.ndarray:
        check_array(self, X, floats=True)
        Y, self.slope = F.gelu(X, not self.inference)
        return Y

    def backward(self, dY: np.ndarray) -> np.ndarray:
        return F.gelu_backward(dY, self.slope)

    formula: ClassVar[Formula] = Formula(
        ("Y = X/2 (1 + tanh u),  u = √(2/π) (X + 0.044715 X³)",), ("dX = dY ∂Y/∂X",))  # fmt: skip

    def cost(self, call: Call) -> Cost:
        return Cost(call.shape, forward=15 * call.size, backward=call.size, cached=call.nbytes)


class SiLU(Module):
    """Y = X / (1 + exp(-X)), also called swish. X, Y: (...). Caches ∂Y/∂X."""

    def forward(self, X: np.ndarray) -> np.ndarray:
        check_array(self, X, floats=True)
        Y, self.slope = F.silu(X, not self.inference)
        return Y

    def backward(self, dY: np.ndarray) -> np.ndarray:
        return F.silu_backward(dY, self.slope)

    formula: ClassVar[Formula] = Formula(("Y = X s,  s = 1 / (1 + exp(-X))",), ("dX = dY s (1 + X (1 - s))",))

    def cost(self, call: Call) -> Cost:
        return Cost(call.shape, forward=8 * call.size, backward=call.size, cached=call.nbytes)


class LeakyReLU(Module):
    """Y = X where X > 0, else a X. X, Y: (...). Caches Y: the gradient needs only its sign.

    A negative input keeps a slope `a` instead of 0, so its unit can recover. Maas et al. 2013. ValueError unless
    0 < a < 1.
    """

    def __init__(self, a: float = 0.01):
        self.a = number("a", a)
        if not 0 < self.a < 1:
            raise ValueError(f"a must be above 0 and below 1, got {a}")

    def forward(self, X: np.ndarray) -> np.ndarray:
        check_array(self, X, floats=True)
        self.Y = F.leaky_relu(X, self.a)
        return self.Y

    def backward(self, dY: np.ndarray) -> np.ndarray:
        return F.leaky_relu_backward(dY, self.Y, self.a)

    formula: ClassVar[Formula] = Formula(("Y = X where X > 0, else a X",), ("dX = dY where Y > 0, else a dY",))

    def cost(self, call: Call) -> Cost:
        return Cost(call.shape, forward=2 * call.size, backward=2 * call.size, cached=call.nbytes, output_cached=True)

    def extra_repr(self) -> str:
        return f"{self.a}"


class Softmax(Module):
    """Y_i = exp(X_i) / sum_j exp(X_j) over the last axis. X, Y: (..., C). Caches Y, from which the gradient follows."""

    def forward(self, X: np.ndarray) -> np.ndarray:
        check_array(self, X, floats=True)
        self.Y = F.softmax(X)
        return self.Y

    def backward(self, dY: np.ndarray) -> np.ndarray:
        return F.softmax_backward(dY, self.Y)

    formula: ClassVar[Formula] = Formula(("Y = exp(X) / Σ exp(X)",), ("dX = Y (dY - Σ dY Y)",))

    def cost(self, call: Call) -> Cost:
        return Cost(call.shape, forward=5 * call.size, backward=4 * call.size, cached=call.nbytes, output_cached=True)
