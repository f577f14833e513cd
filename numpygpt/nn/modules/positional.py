"""The position of a token: learned vectors, or sines and cosines."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from numpygpt.nn import init
from numpygpt.nn.backend import like
from numpygpt.nn.cost import Call, Cost, Formula
from numpygpt.nn.modules.checks import check_sizes, check_width
from numpygpt.nn.modules.module import Module


class PositionalEmbedding(Module):
    """Y = X + W[start : start + T]: a learned vector for each position, as in GPT-2.

    X, Y: (B, T, C), W: (max_len, C). `start` is the position of the first token (above 0 when a KV cache holds the
    ones before it), or (B,) positions, negative where the sequence begins with padding. Caches the positions. Raises
    ValueError past max_len.
    """

    W: np.ndarray
    dW: np.ndarray

    def __init__(self, max_len: int, d_model: int, *, std: float = 0.02, rng: np.random.Generator | int | None = None,
                 dtype: str = "float32"):
        self.max_len, self.d_model = max_len, d_model = check_sizes(max_len=max_len, d_model=d_model)
        self.param("W", init.normal(np.random.default_rng(rng), (max_len, d_model), std, dtype))

    def forward(self, X: np.ndarray, start: int | np.ndarray = 0) -> np.ndarray:  # X: (B, T, C)
        check_width(self, X, self.d_model, axes=2)
        self.place = place(X, start, self.max_len)
        return X + self.W[self.place]  # (B, T, C)

    def backward(self, dY: np.ndarray) -> np.ndarray:  # dY: (B, T, C)
        if self.trains("W"):
            if isinstance(self.place, slice):
                self.dW[self.place] += dY.sum(axis=0)  # forward: the same W for all  so  dW = sum over B of dY
            else:
                np.add.at(self.dW, self.place, dY)  # the same sum, if each sequence has positions of its own
        return dY  # forward: Y = X + ..                                                  and dX = dY

    formula: ClassVar[Formula] = Formula(
        ("Y = X + W_pos[0 : T]",), ("dX = dY,  dW_pos[0 : T] = Σ dY over the batch",))  # fmt: skip

    def cost(self, call: Call) -> Cost:
        call.check(self, self.d_model)
        return Cost(call.shape, forward=call.size, backward=call.size)

    def extra_repr(self) -> str:
        return f"{self.max_len}, {self.d_model}"


class SinusoidalEncoding(Module):
    """Y = X + P[start : start + T] with P[t, 2i] = sin(t / 10000^(2i/C)) / sqrt(C) and P[t, 2i+1] = cos(..) / sqrt(C).

    X, Y: (B, T, C). Nothing is learned. Vaswani et al. 2017, sections 3.4 and 3.5: there the token vectors are
    multiplied by sqrt(C); here the waves are divided by it, because waves of 1 would drown vectors of 0.02.
    """

    P: np.ndarray

    def __init__(self, max_len: int, d_model: int, *, dtype: str = "float32"):
        self.max_len, self.d_model = max_len, d_model = check_sizes(max_len=max_len, d_model=d_model)
        self.constant("P", init.filled((max_len, d_model), dtype, waves))

    def forward(self, X: np.ndarray, start: int | np.ndarray = 0) -> np.ndarray:  # X: (B, T, C)
        check_width(self, X, self.d_model, axes=2)
        return X + self.P[place(X, start, self.max_len)]  # (B, T, C)

    def backward(self, dY: np.ndarray) -> np.ndarray:  # dY: (B, T, C)
        return dY  # forward: Y = X + a constant  so  dX = dY

    formula: ClassVar[Formula] = Formula(("Y = X + W_pos[0 : T],  W_pos of sines and cosines",), ("dX = dY",))

    def cost(self, call: Call) -> Cost:
        call.check(self, self.d_model)
        return Cost(call.shape, forward=call.size)

    def extra_repr(self) -> str:
        return f"{self.max_len}, {self.d_model}"


def waves(P: np.ndarray) -> None:
    """Write the sines and cosines into P (max_len, C)."""
    max_len, d_model = P.shape
    t = np.arange(max_len)[:, None]  # (max_len, 1)
    angle = t * np.exp(-math.log(10000) * np.arange(0, d_model, 2) / d_model)  # (max_len, ceil(C / 2))
    P[:, 0::2] = np.sin(angle) / math.sqrt(d_model)
    P[:, 1::2] = np.cos(angle[:, : d_model // 2]) / math.sqrt(d_model)


def place(X: np.ndarray, start: int | np.ndarray, max_len: int) -> slice | np.ndarray:
    """The positions of X's tokens, X (.., T, C), as a slice of the table, or (B, T) if each sequence has a `start` of
    its own. Padding, which would be before position 0, is at 0. ValueError if a position is past `max_len`."""
    T, end = X.shape[-2], end_of(X, start, max_len)
    if np.ndim(start) == 0:
        return slice(end - T, end)
    return like(np.maximum(np.asarray(start)[:, None] + np.arange(T), 0), X)


def end_of(X: np.ndarray, start: int | np.ndarray, max_len: int) -> int:
    """The position after the last one of X (.., T, C). ValueError if it is past `max_len`, or if one `start` for all
    sequences is negative: only the padding of one sequence can be before position 0."""
    T = X.shape[-2]
    if np.ndim(start) == 0 and start < 0:
        raise ValueError(f"start must be at least 0, or one number per sequence, got {start}")
    end = T + (start if isinstance(start, int) else int(np.max(start, initial=-T)))
    if end > max_len:
        raise ValueError(f"{end} tokens do not fit the context of {max_len}: shorten the input or make max_len larger")
    return end
