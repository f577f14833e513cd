"""The position-wise feed-forward network."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from numpygpt.nn.cost import Call, Child, Cost, Formula, cost_of
from numpygpt.nn.modules.activation import GELU
from numpygpt.nn.modules.checks import check_sizes
from numpygpt.nn.modules.dropout import Dropout
from numpygpt.nn.modules.linear import Linear
from numpygpt.nn.modules.module import Module


class FeedForward(Module):
    """Y = dropout(act(X W1 + b1) W2 + b2), at each position separately.

    X, Y: (..., C); the hidden layer is d_ff wide, 4 C by default. `activation` is a layer, GELU() by default. The four
    layers cache what they need.
    """

    def __init__(self, d_model: int, d_ff: int | None = None, activation: Module | None = None, *, bias: bool = True,
                 dropout: float = 0.0, std: float | None = None, proj_std: float | None = None,
                 rng: np.random.Generator | int | None = None, dtype: str = "float32"):
        if activation is not None and not isinstance(activation, Module):
            raise ValueError(f"activation must be a layer such as GELU(), got {activation!r:.80}")
        rng = np.random.default_rng(rng)
        d_model, d_ff = check_sizes(d_model=d_model, d_ff=d_ff)
        d_ff = 4 * d_model if d_ff is None else d_ff
        self.fc = Linear(d_model, d_ff, bias, std=std, rng=rng, dtype=dtype)
        self.act = GELU() if activation is None else activation
        self.proj = Linear(d_ff, d_model, bias, std=proj_std, rng=rng, dtype=dtype)
        self.dropout = Dropout(dropout, rng=rng.spawn(1)[0])

    def forward(self, X: np.ndarray) -> np.ndarray:  # X: (..., C)
        H = self.fc(X)  # (..., d_ff)
        A = self.act(H)  # (..., d_ff)
        Y = self.proj(A)  # (..., C)
        return self.dropout(Y)

    def backward(self, dY: np.ndarray) -> np.ndarray:  # dY: (..., C)
        dY = self.dropout.backward(dY)
        dA = self.proj.backward(dY)  # (..., d_ff)
        dH = self.act.backward(dA)
        return self.fc.backward(dH)  # (..., C)

    formula: ClassVar[Formula] = Formula(
        ("Y = proj(act(fc(X)))",), ("dX = fc.backward(act.backward(proj.backward(dY)))",))  # fmt: skip

    def cost(self, call: Call) -> Cost:
        middle = call.of(*call.wide(self.fc.d_out))
        act = cost_of(self.act, middle)
        hidden = call.of(*middle.shape, input_cached=act is not None and act.output_cached)
        return Cost(call.shape, children=(
            Child("fc", self.fc, call), Child("act", self.act, middle), Child("proj", self.proj, hidden),
            Child("dropout", self.dropout, call.of(*call.shape))))
