"""The position-wise feed-forward network, plain or gated."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from numpygpt.nn.cost import Call, Child, Cost, Formula, cost_of
from numpygpt.nn.functional import tiny_is_zero
from numpygpt.nn.modules.activation import GELU, SiLU
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
        rng = np.random.default_rng(rng)
        d_model, d_ff = check_sizes(d_model=d_model, d_ff=d_ff)
        d_ff = 4 * d_model if d_ff is None else d_ff
        self.fc = Linear(d_model, d_ff, bias, std=std, rng=rng, dtype=dtype)
        self.act = activation_layer(activation, GELU)
        self.proj = Linear(d_ff, d_model, bias, std=proj_std, rng=rng, dtype=dtype)
        self.dropout = Dropout(dropout, rng=rng.spawn(1)[0])

    def forward(self, X: np.ndarray) -> np.ndarray:  # X: (..., C)
        Z = self.fc(X)  # (..., d_ff)
        A = self.act(Z)  # (..., d_ff)
        Y = self.proj(A)  # (..., C)
        return self.dropout(Y)

    def backward(self, dY: np.ndarray) -> np.ndarray:  # dY: (..., C)
        dY = self.dropout.backward(dY)
        dA = self.proj.backward(dY)  # (..., d_ff)
        dZ = self.act.backward(dA)
        return self.fc.backward(dZ)  # (..., C)

    formula: ClassVar[Formula] = Formula(
        ("Y = proj(act(fc(X)))",), ("dX = fc.backward(act.backward(proj.backward(dY)))",))  # fmt: skip

    def cost(self, call: Call) -> Cost:
        middle = call.of(*call.wide(self.fc.d_out))
        act = cost_of(self.act, middle)
        hidden = call.of(*middle.shape, input_cached=act is not None and act.output_cached)
        return Cost(call.shape, children=(
            Child("fc", self.fc, call), Child("act", self.act, middle), Child("proj", self.proj, hidden),
            Child("dropout", self.dropout, call.of(*call.shape))))


class GatedFeedForward(Module):
    """Y = dropout((act(G) U) W2 + b2) with G, U = X W1 + b1, at each position separately.

    X, Y: (..., C); G, U: (..., d_ff), by default 8/3 C rounded up to a multiple of 8, which gives as many parameters as
    FeedForward. The gate act(G) says, for each hidden unit, how much of U passes. One product `fc` makes both: its
    first d_ff columns are those of the gate. `activation` is a layer, SiLU() by default (SwiGLU); with GELU() it is
    GeGLU. Caches act(G) and U; the layers inside cache what they need. Shazeer 2020.
    """

    def __init__(self, d_model: int, d_ff: int | None = None, activation: Module | None = None, *, bias: bool = True,
                 dropout: float = 0.0, std: float | None = None, proj_std: float | None = None,
                 rng: np.random.Generator | int | None = None, dtype: str = "float32"):
        rng = np.random.default_rng(rng)
        d_model, d_ff = check_sizes(d_model=d_model, d_ff=d_ff)
        self.d_ff = -(-8 * d_model // 24) * 8 if d_ff is None else d_ff
        self.fc = Linear(d_model, 2 * self.d_ff, bias, std=std, rng=rng, dtype=dtype)
        self.act = activation_layer(activation, SiLU)
        self.proj = Linear(self.d_ff, d_model, bias, std=proj_std, rng=rng, dtype=dtype)
        self.dropout = Dropout(dropout, rng=rng.spawn(1)[0])

    @tiny_is_zero
    def forward(self, X: np.ndarray) -> np.ndarray:  # X: (..., C)
        G, U = self.split(self.fc(X))  # (..., d_ff) each: views
        self.g, self.U = self.act(G), U.copy()  # G is not needed any more: without the copy, U would hold its memory
        Y = self.proj(self.g * self.U)  # (..., C)
        return self.dropout(Y)

    @tiny_is_zero
    def backward(self, dY: np.ndarray) -> np.ndarray:  # dY: (..., C)
        dY = self.dropout.backward(dY)
        dA = self.proj.backward(dY)  # (..., d_ff)
        dGU = np.empty((*dA.shape[:-1], self.fc.d_out), dA.dtype, like=dA)
        dG, dU = self.split(dGU)
        np.multiply(dA, self.g, out=dU)  # forward: A = g U           so  dU = dA g
        dG[...] = self.act.backward(dA * self.U)  #                   and dg = dA U; forward: g = act(G)
        return self.fc.backward(dGU)  # (..., C)

    formula: ClassVar[Formula] = Formula(
        ("G, U = fc(X), split in halves", "Y = proj(act(G) U)"),
        ("dA = proj.backward(dY),  dU = dA act(G),  dG = act.backward(dA U)", "dX = fc.backward(dG, dU)"))  # fmt: skip

    def cost(self, call: Call) -> Cost:
        middle = call.of(*call.wide(self.d_ff))
        n, act = middle.size, cost_of(self.act, middle)
        gate = 0 if act is not None and act.output_cached else middle.nbytes
        return Cost(call.shape, n, 2 * n, middle.nbytes + gate, children=(  # U and g
            Child("fc", self.fc, call), Child("act", self.act, middle), Child("proj", self.proj, middle),
            Child("dropout", self.dropout, call.of(*call.shape))))

    def split(self, GU: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(..., 2 d_ff) -> G, U (..., d_ff), as views."""
        return GU[..., : self.d_ff], GU[..., self.d_ff :]


def activation_layer(given: Module | None, default: type[Module]) -> Module:
    """The given activation, or the default one. ValueError if it is not a layer."""
    if given is not None and not isinstance(given, Module):
        raise ValueError(f"activation must be a layer such as {default.__name__}(), got {given!r:.80}")
    return default() if given is None else given
