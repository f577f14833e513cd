"""One block of the GPT."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from numpygpt.nn.cost import Call, Child, Cost, Formula
from numpygpt.nn.modules.attention import KVCache
from numpygpt.nn.modules.module import Module


class TransformerBlock(Module):
    """H = X + attn(norm1(X));  Y = H + ffn(norm2(H)): pre-norm, as in GPT-2.

    X, Y: (B, T, C). Its four parts are layers that keep this shape; `models.build` makes them from a ModelConfig. They
    cache what they need. With a `cache`, attention also sees the tokens in it. `pad`: see MultiHeadAttention.
    """

    attn: Any  # a layer with the interface of MultiHeadAttention
    ffn: Any

    def __init__(self, norm1: Module, attn: Module, norm2: Module, ffn: Module):
        for name, part in (("norm1", norm1), ("attn", attn), ("norm2", norm2), ("ffn", ffn)):
            if not isinstance(part, Module):
                raise ValueError(f"{name} must be a layer, got {part!r:.80}; models.build.block makes all four")
        self.norm1, self.attn, self.norm2, self.ffn = norm1, attn, norm2, ffn

    def forward(self, X: np.ndarray, cache: KVCache | None = None,
                pad: np.ndarray | None = None) -> np.ndarray:  # X: (B, T, C), pad: (B,)
        given = (cache,) if pad is None else (cache, pad)  # a layer of your own may know no padding
        H = X + self.attn(self.norm1(X), *given)  # (B, T, C)
        return H + self.ffn(self.norm2(H))  # (B, T, C)

    def backward(self, dY: np.ndarray) -> np.ndarray:  # dY: (B, T, C)
        # forward: Y = H + ffn(norm2(H)). H is used twice, so its gradient is the sum of both paths.
        dH = dY + self.norm2.backward(self.ffn.backward(dY))
        # forward: H = X + attn(norm1(X)). The same for X.
        return dH + self.norm1.backward(self.attn.backward(dH))

    formula: ClassVar[Formula] = Formula(
        ("X' = X + attn(norm1(X))", "Y = X' + ffn(norm2(X'))"),
        ("dX' = dY + norm2.backward(ffn.backward(dY))", "dX = dX' + norm1.backward(attn.backward(dX'))"))  # fmt: skip

    def cost(self, call: Call) -> Cost:
        n = 2 * call.size  # the two additions
        return Cost(call.shape, n, n, children=(
            Child("norm1", self.norm1, call), Child("attn", self.attn, call, residual="norm1"),
            Child("norm2", self.norm2, call), Child("ffn", self.ffn, call, residual="norm2")))
