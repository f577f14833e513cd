"""One block of the GPT."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from numpygpt.nn.cost import Call, Child, Cost, Formula
from numpygpt.nn.modules.attention import KVCache, MultiHeadAttention
from numpygpt.nn.modules.feedforward import FeedForward
from numpygpt.nn.modules.module import Module
from numpygpt.nn.modules.normalization import LayerNorm


class TransformerBlock(Module):
    """H = X + attn(norm1(X));  Y = H + ffn(norm2(H)): pre-norm, as in GPT-2.

    X, Y: (B, T, C). The sub-layers cache what they need. With a `cache`, attention also sees the tokens in it.
    """

    def __init__(self, d_model: int, n_heads: int, d_ff: int | None = None, *, d_k: int | None = None,
                 d_v: int | None = None, activation: str = "gelu", bias: bool = True, dropout: float = 0.0,
                 rng: np.random.Generator | int | None = None, dtype: str = "float32"):
        rng = np.random.default_rng(rng)
        self.norm1 = LayerNorm(d_model, bias, dtype=dtype)
        self.attn = MultiHeadAttention(d_model, n_heads, d_k, d_v, bias=bias, dropout=dropout, rng=rng, dtype=dtype)
        self.norm2 = LayerNorm(d_model, bias, dtype=dtype)
        self.ffn = FeedForward(d_model, d_ff, activation=activation, bias=bias, dropout=dropout, rng=rng, dtype=dtype)

    def forward(self, X: np.ndarray, cache: KVCache | None = None) -> np.ndarray:  # X: (B, T, C)
        H = X + self.attn(self.norm1(X), cache)  # (B, T, C)
        return H + self.ffn(self.norm2(H))  # (B, T, C)

    def backward(self, dY: np.ndarray) -> np.ndarray:  # dY: (B, T, C)
        # forward: Y = H + ffn(norm2(H)). H has two uses, so its gradient is the sum of both.
        dH = dY + self.norm2.backward(self.ffn.backward(dY))
        # forward: H = X + attn(norm1(X)).
        return dH + self.norm1.backward(self.attn.backward(dH))

    formula: ClassVar[Formula] = Formula(
        ("H = X + attn(norm1(X))", "Y = H + ffn(norm2(H))"),
        ("dH = dY + norm2.backward(ffn.backward(dY))", "dX = dH + norm1.backward(attn.backward(dH))"))  # fmt: skip

    def cost(self, call: Call) -> Cost:
        n = 2 * call.size  # the two additions
        return Cost(call.shape, n, n, children=(
            Child("norm1", self.norm1, call), Child("attn", self.attn, call, residual="norm1"),
            Child("norm2", self.norm2, call), Child("ffn", self.ffn, call, residual="norm2")))
