"""Causal multi-head self-attention."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from numpygpt.nn.causal_attention import (
    Drop,
    attention_weights,
    causal_attention,
    causal_attention_backward,
    count_scores,
)
from numpygpt.nn.cost import Call, Child, Cost, Formula
from numpygpt.nn.functional import tiny_is_zero
from numpygpt.nn.modules.checks import check_pad, check_sizes, check_width
from numpygpt.nn.modules.dropout import Dropout, check_probability
from numpygpt.nn.modules.linear import Linear
from numpygpt.nn.modules.module import Module


class KVCache:
    """The keys and values of the tokens seen so far, for one attention layer: K (B, H_kv, max_len, d_k), V likewise.

    `n_heads` is the number of key and value heads, H_kv, which may be less than that of the queries. The arrays are on
    the device of `like`.
    """

    def __init__(self, batch: int, n_heads: int, max_len: int, d_k: int, d_v: int, dtype: np.typing.DTypeLike,
                 like: np.ndarray | None = None):
        self.K = np.empty((batch, n_heads, max_len, d_k), dtype, like=like)
        self.V = np.empty((batch, n_heads, max_len, d_v), dtype, like=like)
        self.length = 0

    def append(self, K: np.ndarray, V: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Add the new tokens' K (B, H_kv, T, d_k) and V (B, H_kv, T, d_v); return those of all tokens, without a copy.
        ValueError if they do not fit."""
        if self.length + K.shape[2] > self.K.shape[2]:
            raise ValueError(f"{self.length + K.shape[2]} tokens do not fit a cache of {self.K.shape[2]}: make it "
                             "larger")
        old, self.length = self.length, self.length + K.shape[2]
        self.K[:, :, old : self.length], self.V[:, :, old : self.length] = K, V
        return self.K[:, :, : self.length], self.V[:, :, : self.length]


class MultiHeadAttention(Module):
    """Y = dropout(concat_h(softmax(Q_h K_h^T / sqrt(d_k) + mask) V_h) W_o + b_o), with Q, K, V = X W + b.

    X, Y: (B, T, C); Q: (B, H, T, d_k), K: (B, H_kv, T, d_k), V: (B, H_kv, T, d_v). d_k and d_v default to C / H and may
    be any size. With fewer `n_kv_heads` than heads, H / H_kv heads share keys and values (Ainslie et al. 2023). One
    product `qkv` makes Q, K and V, as in GPT-2; with `qkv_bias` it has a bias even if `bias` is off, as in Qwen2.
    `rotary` is a layer that turns Q and K by their positions. `attn_dropout` drops entries of the softmax. With `pad`
    (B,), the first pad[b] tokens of sequence b are padding, which no other token sees. Caches Q (scaled), K, V, the
    heads' output O, and P or log sum exp (see `causal_attention`). Vaswani et al. 2017.
    """

    def __init__(self, d_model: int, n_heads: int, d_k: int | None = None, d_v: int | None = None, *,
                 n_kv_heads: int | None = None, rotary: Module | None = None, bias: bool = True, qkv_bias: bool = False,
                 dropout: float = 0.0, attn_dropout: float = 0.0,
                 std: float | None = None, proj_std: float | None = None,
                 rng: np.random.Generator | int | None = None, dtype: str = "float32"):
        d_model, n_heads, n_kv_heads, d_k, d_v = check_sizes(
            d_model=d_model, n_heads=n_heads, n_kv_heads=n_kv_heads, d_k=d_k, d_v=d_v)
        check_heads(d_model, n_heads, n_kv_heads, d_k, d_v)
        rng = np.random.default_rng(rng)
        self.n_heads, self.n_kv_heads = n_heads, n_kv_heads or n_heads
        self.d_k, self.d_v = d_k or d_model // n_heads, d_v or d_model // n_heads
        d_qkv = n_heads * self.d_k + self.n_kv_heads * (self.d_k + self.d_v)
        self.qkv = Linear(d_model, d_qkv, bias or qkv_bias, std=std, rng=rng, dtype=dtype)
        self.proj = Linear(n_heads * self.d_v, d_model, bias, std=proj_std, rng=rng, dtype=dtype)
        self.dropout = Dropout(dropout, rng=rng.spawn(1)[0])
        self.attn_dropout = check_probability("attn_dropout", attn_dropout)
        self.rotary = rotary
        self.scale = 1 / math.sqrt(self.d_k)

    @tiny_is_zero
    def forward(self, X: np.ndarray, cache: KVCache | None = None,
                pad: np.ndarray | None = None) -> np.ndarray:  # X: (B, T, C), pad: (B,)
        check_width(self, X, self.qkv.d_in, axes=3)
        start = cache.length if cache is not None else 0
        self.pad = check_pad(pad, len(X), start + X.shape[1])
        self.drop = self.draw()
        QKV = self.qkv(X)  # (B, T, d_qkv)
        if self.rotary is not None:
            QK = self.queries_and_keys(QKV)  # (B, H + H_kv, T, d_k): a view
            QK[...] = self.rotary(QK, start if self.pad is None else start - self.pad)  # positions after the padding
        Q, K, V = self.split(QKV)  # (B, H, T, d_k), (B, H_kv, T, d_k), (B, H_kv, T, d_v): views
        Q *= self.scale  # (T, d_k) numbers per head to scale here, (T, T) in the scores
        if cache is not None:
            K, V = cache.append(K, V)
        O = np.empty((*X.shape[:2], self.proj.d_in), QKV.dtype, like=QKV)  # (B, T, H d_v)
        heads = split_heads(O, self.n_heads)  # (B, H, T, d_v): a view, so that concatenating the heads costs nothing
        Qg, Kg, Vg, Og = map(self.group, (Q, K, V, heads))
        self.P, self.lse = causal_attention(Qg, Kg, Vg, Og, self.pad, self.drop)
        self.Q, self.K, self.V, self.O = Q, K, V, O
        return self.dropout(self.proj(O))  # (B, T, C)

    @tiny_is_zero
    def backward(self, dY: np.ndarray) -> np.ndarray:  # dY: (B, T, C)
        dO = self.proj.backward(self.dropout.backward(dY))  # (B, T, H d_v)
        dQKV = np.zeros((*dO.shape[:2], self.qkv.d_out), dO.dtype, like=dO)
        dQ, dK, dV = self.split(dQKV)
        O, dO = split_heads(self.O, self.n_heads), split_heads(dO, self.n_heads)  # (B, H, T, d_v)
        dO, Q, K, V, O, dQg, dKg, dVg = map(self.group, (dO, self.Q, self.K, self.V, O, dQ, dK, dV))
        causal_attention_backward(dO, Q, K, V, O, self.P, self.lse, dQg, dKg, dVg, self.pad, self.drop)
        dQ *= self.scale  # forward: Q *= scale (the cached Q is the scaled one, which dK needs)
        if self.rotary is not None:
            dQK = self.queries_and_keys(dQKV)  # (B, H + H_kv, T, d_k): a view
            dQK[...] = self.rotary.backward(dQK)  # forward: QK = rotary(QK)
        return self.qkv.backward(dQKV)  # (B, T, C)

    formula: ClassVar[Formula] = Formula(
        ("Q, K, V = qkv(X), split into heads", "P = softmax(Q Kᵀ / √d_k + mask)", "O = P V,  Y = proj(O)"),
        ("dV = Pᵀ dO,  dP = dO Vᵀ,  dS = P (dP - Σ dP P)", "dQ = dS K / √d_k,  dK = dSᵀ Q / √d_k"))  # fmt: skip

    def cost(self, call: Call) -> Cost:
        call.check(self, self.qkv.d_in, axes=3)
        (B, T, _), S, k, v = call.shape, call.before + call.shape[1], self.d_k, self.d_v
        scores, again, held = count_scores(B * self.n_heads, T, S)
        product = 2 * scores * (k + v)  # Q K^T and P V; backward has two products for each
        dropped = scores if call.training and self.attn_dropout > 0 else 0  # the mask is made again in backward
        cached = B * T * (self.n_heads + self.n_kv_heads) * (k + v) + held  # Q, O, K, V, and P or log sum exp
        out = call.of(B, T, self.n_heads * v, input_cached=True)
        turned = call.of(B, self.n_heads + self.n_kv_heads, T, k)  # Q and K in one
        return Cost(call.shape, product + 6 * scores + 3 * dropped,
                    2 * product + 3 * scores + 2 * again * (k + 1) + 4 * dropped, cached * call.itemsize, children=(
                        Child("qkv", self.qkv, call),
                        *([Child("rotary", self.rotary, turned)] if self.rotary is not None else []),
                        Child("proj", self.proj, out),
                        Child("dropout", self.dropout, call.of(*call.shape))))

    def weights(self, sequences: slice = slice(None)) -> np.ndarray:
        """P (B, H, T, S) of the last forward, or of some of its sequences, computed again: to look at."""
        Q, K, pad = self.Q[sequences], self.K[sequences], None if self.pad is None else self.pad[sequences]
        return attention_weights(self.group(Q), self.group(K), pad).reshape(*Q.shape[:3], K.shape[2])

    def draw(self) -> Drop | None:
        """Dropout of the weights for one forward pass, with a seed of its own from the layer's generator."""
        if not self.training or self.attn_dropout == 0:
            return None
        return Drop(self.attn_dropout, int(self.dropout.rng.integers(1 << 62)))

    def split(self, QKV: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(B, T, d_qkv) -> Q (B, H, T, d_k), K (B, H_kv, T, d_k) and V (B, H_kv, T, d_v), as views."""
        q, k = self.n_heads * self.d_k, (self.n_heads + self.n_kv_heads) * self.d_k
        return (split_heads(QKV[..., :q], self.n_heads), split_heads(QKV[..., q:k], self.n_kv_heads),
                split_heads(QKV[..., k:], self.n_kv_heads))

    def queries_and_keys(self, QKV: np.ndarray) -> np.ndarray:
        """(B, T, d_qkv) -> Q and K as one array (B, H + H_kv, T, d_k), as a view."""
        heads = self.n_heads + self.n_kv_heads
        return split_heads(QKV[..., : heads * self.d_k], heads)

    def group(self, X: np.ndarray) -> np.ndarray:
        """(B, H, T, D) -> (B, H_kv, G, T, D), with G = H / H_kv heads per key head, or 1 for K and V, as a view."""
        if X.shape[1] == self.n_kv_heads:
            return X[:, :, None]
        return X.reshape(len(X), self.n_kv_heads, X.shape[1] // self.n_kv_heads, *X.shape[2:])

    def extra_repr(self) -> str:
        shared = "" if self.n_kv_heads == self.n_heads else f", n_kv_heads={self.n_kv_heads}"
        dropped = f", attn_dropout={self.attn_dropout}" if self.attn_dropout else ""
        return f"n_heads={self.n_heads}{shared}, d_k={self.d_k}, d_v={self.d_v}{dropped}"


def split_heads(X: np.ndarray, n_heads: int) -> np.ndarray:
    """(B, T, H D) -> (B, H, T, D), as a view."""
    B, T, D = X.shape
    return X.reshape(B, T, n_heads, D // n_heads).swapaxes(1, 2)


def check_heads(d_model: int, n_heads: int, n_kv_heads: int | None, d_k: int | None, d_v: int | None) -> None:
    """ValueError unless the heads divide the width, or have sizes of their own, and form groups of one size."""
    if (d_k is None or d_v is None) and d_model % n_heads:
        raise ValueError(f"d_model {d_model} is not divisible by n_heads {n_heads}: change one, or give both d_k and "
                         "d_v")
    if n_kv_heads is not None and n_heads % n_kv_heads:
        raise ValueError(f"n_heads {n_heads} is not divisible by n_kv_heads {n_kv_heads}: each key and value head "
                         "serves the same number of heads")
