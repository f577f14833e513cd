"""Activations as layers; the formulas and their gradients are in functional.py."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from numpygpt.nn import functional as F
from numpygpt.nn.cost import Call, Cost, Formula
from numpygpt.nn.modules.checks import check_array
from numpygpt.nn.modules.module import Module


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
        Y, self.slope = F.gelu(X)
        return Y

    def backward(self, dY: np.ndarray) -> np.ndarray:
        return F.gelu_backward(dY, self.slope)

    formula: ClassVar[Formula] = Formula(
        ("Y = X/2 (1 + tanh u),  u = √(2/π) (X + 0.044715 X³)",), ("dX = dY ∂Y/∂X",))  # fmt: skip

    def cost(self, call: Call) -> Cost:
        return Cost(call.shape, forward=15 * call.size, backward=call.size, cached=call.nbytes)


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
