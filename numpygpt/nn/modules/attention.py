"""Causal multi-head self-attention."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from numpygpt.nn.cost import Call, Child, Cost, Formula
from numpygpt.nn.functional import pieces, softmax_lse, tiny_is_zero
from numpygpt.nn.modules.checks import check_sizes, check_width
from numpygpt.nn.modules.dropout import Dropout
from numpygpt.nn.modules.linear import Linear
from numpygpt.nn.modules.module import Module

SCORE_ENTRIES = 1 << 17  # scores of about half a megabyte are made, used and left in the L2 cache
ROWS = 128  # rows of a block: what none of them can see is skipped
KEEP_WEIGHTS = 1024  # in a context up to this long the weights P are kept for backward; beyond, they are computed again


class KVCache:
    """The keys and values of the tokens seen so far, for one attention layer: K (B, H, max_len, d_k), V likewise."""

    def __init__(self, batch: int, n_heads: int, max_len: int, d_k: int, d_v: int, dtype: np.typing.DTypeLike):
        self.K = np.empty((batch, n_heads, max_len, d_k), dtype)
        self.V = np.empty((batch, n_heads, max_len, d_v), dtype)
        self.length = 0

    def append(self, K: np.ndarray, V: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Add the new tokens' K (B, H, T, d_k) and V (B, H, T, d_v); return those of all tokens. No copy of the old."""
        old, self.length = self.length, self.length + K.shape[2]
        self.K[:, :, old : self.length], self.V[:, :, old : self.length] = K, V
        return self.K[:, :, : self.length], self.V[:, :, : self.length]


class MultiHeadAttention(Module):
    """Y = dropout(concat_h(softmax(Q_h K_h^T / sqrt(d_k) + mask) V_h) W_o + b_o), with Q, K, V = X W + b.

    X, Y: (B, T, C); Q, K: (B, H, T, d_k); V: (B, H, T, d_v); d_k and d_v default to C / H and may be any size. The mask
    is -inf above the diagonal: a token sees itself and those before it. One product `qkv` makes Q, K and V, as in
    GPT-2. The weights P are made a block of rows at a time. Caches Q (scaled), K, V, the heads' output O and, of each
    block, P; in a context beyond KEEP_WEIGHTS only each row's log sum exp, from which backward makes P again, so that
    memory grows with T and not with T^2. Vaswani et al. 2017, section 3.2; the rows: Dao et al. 2022.
    """

    mask: np.ndarray

    def __init__(self, d_model: int, n_heads: int, d_k: int | None = None, d_v: int | None = None, *,
                 bias: bool = True, dropout: float = 0.0, rng: np.random.Generator | int | None = None,
                 dtype: str = "float32"):
        d_model, n_heads, d_k, d_v = check_sizes(d_model=d_model, n_heads=n_heads, d_k=d_k, d_v=d_v)
        if (d_k is None or d_v is None) and d_model % n_heads:
            raise ValueError(f"d_model {d_model} is not divisible by n_heads {n_heads}: change one, or give "
                             "both d_k and d_v")
        rng = np.random.default_rng(rng)
        self.n_heads = n_heads
        self.d_k = d_model // n_heads if d_k is None else d_k
        self.d_v = d_model // n_heads if d_v is None else d_v
        self.qkv = Linear(d_model, n_heads * (2 * self.d_k + self.d_v), bias, rng=rng, dtype=dtype)
        self.proj = Linear(n_heads * self.d_v, d_model, bias, rng=rng, dtype=dtype)
        self.dropout = Dropout(dropout, rng=rng.spawn(1)[0])
        self.scale = 1 / math.sqrt(self.d_k)
        self.constant("mask", np.triu(np.full((ROWS, ROWS), -np.inf, dtype), k=1))  # within a block of rows

    @tiny_is_zero
    def forward(self, X: np.ndarray, cache: KVCache | None = None) -> np.ndarray:  # X: (B, T, C)
        check_width(self, X, self.qkv.d_in, axes=3)
        B, T, _ = X.shape
        Q, K, V = self.split(self.qkv(X))  # (B, H, T, d_k), (B, H, T, d_k), (B, H, T, d_v): views
        Q *= self.scale  # (T, d_k) numbers a head to scale here, (T, T) in the scores
        if cache is not None:
            K, V = cache.append(K, V)
        S = K.shape[2]  # tokens seen: T, and those in the cache
        O = np.empty((B, T, self.n_heads * self.d_v), X.dtype)
        heads = self.heads(O)  # (B, H, T, d_v): a view, so that concatenating the heads costs nothing
        self.kept: list[np.ndarray] = []  # of each block P, or where the context is long its rows' log sum exp
        for s, r, seen in self.blocks(B, T, S):
            P, lse = softmax_lse(self.scores(Q[s, :, r], K[s, :, seen]))  # (b, H, rows, seen), (b, H, rows, 1)
            np.matmul(P, V[s, :, seen], out=heads[s, :, r])  # (b, H, rows, d_v)
            self.kept.append(P if S <= KEEP_WEIGHTS else lse)
        self.Q, self.K, self.V, self.O = Q, K, V, O
        return self.dropout(self.proj(O))  # (B, T, C)

    @tiny_is_zero
    def backward(self, dY: np.ndarray) -> np.ndarray:  # dY: (B, T, C)
        Q, K, V, O = self.Q, self.K, self.V, self.heads(self.O)
        B, _, T, _ = Q.shape
        dO = self.heads(self.proj.backward(self.dropout.backward(dY)))  # (B, H, T, d_v)
        dQKV = np.zeros((B, T, self.qkv.d_out), dY.dtype)
        dQ, dK, dV = self.split(dQKV)
        share = np.einsum("bhtd,bhtd->bht", dO, O)[..., None]  # (B, H, T, 1)
        for (s, r, seen), P in zip(self.blocks(B, T, T), self.kept, strict=True):
            if T > KEEP_WEIGHTS:  # P is log sum exp: softmax(S) = exp(S - lse)
                P = np.exp(self.scores(Q[s, :, r], K[s, :, seen]) - P)
            dV[s, :, seen] += P.swapaxes(-1, -2) @ dO[s, :, r]  # forward: O = P V     so  dV = P^T dO
            dS = dO[s, :, r] @ V[s, :, seen].swapaxes(-1, -2)  #                       and dP = dO V^T
            # forward: P = softmax(S), so dS = P (dP - sum_j dP P); the sum is that of dO O, as O = P V.
            dS -= share[s, :, r]
            dS *= P  # forward: S = Q K^T + mask; P is 0 where the mask is, and so is dS
            np.matmul(dS, K[s, :, seen], out=dQ[s, :, r])  #                           so  dQ = dS K
            dK[s, :, seen] += dS.swapaxes(-1, -2) @ Q[s, :, r]  #                      and dK = dS^T Q
        dQ *= self.scale  # forward: Q *= scale (Q above is the scaled one, which dK needs)
        return self.qkv.backward(dQKV)  # (B, T, C)

    formula: ClassVar[Formula] = Formula(
        ("Q, K, V = qkv(X), split into heads", "P = softmax(Q Kᵀ / √d_k + mask)", "O = P V,  Y = proj(O)"),
        ("dV = Pᵀ dO,  dP = dO Vᵀ,  dS = P (dP - Σ dP P)", "dQ = dS K / √d_k,  dK = dSᵀ Q / √d_k"))  # fmt: skip

    def cost(self, call: Call) -> Cost:
        call.check(self, self.qkv.d_in, axes=3)
        B, T, _ = call.shape
        heads, S, k, v = B * self.n_heads, call.before + T, self.d_k, self.d_v
        tiles = [(rows.stop - rows.start, seen.stop) for _, rows, seen in self.blocks(1, T, S)]
        scores = heads * sum(rows * seen for rows, seen in tiles)  # those that no row can see are not computed
        product = 2 * scores * (k + v)  # Q K^T and P V; backward has two products for each
        again = 2 * scores * k + 2 * scores if T > KEEP_WEIGHTS else 0
        held = scores if S <= KEEP_WEIGHTS else heads * T  # P, or each row's log sum exp
        cached = (heads * T * 2 * (k + v) + held) * call.itemsize  # Q, K, V, O
        out = call.of(B, T, self.n_heads * v, input_cached=True)
        return Cost(call.shape, product + 6 * scores, 2 * product + 3 * scores + again, cached, children=(
            Child("qkv", self.qkv, call), Child("proj", self.proj, out),
            Child("dropout", self.dropout, call.of(*call.shape))))

    def blocks(self, B: int, T: int, S: int) -> Iterator[tuple[slice, slice, slice]]:
        """(sequences, rows, the tokens that these rows see) in blocks whose scores stay in the cache; S - T tokens came
        before the first row. What lies beyond a block's last row is masked for all of it, and never computed."""
        for first in range(0, T, len(self.mask)):
            rows = slice(first, min(first + len(self.mask), T))
            seen = slice(0, S - T + rows.stop)
            for s in pieces(B, self.n_heads * (rows.stop - first) * seen.stop, SCORE_ENTRIES):
                yield s, rows, seen

    def scores(self, Q: np.ndarray, K: np.ndarray) -> np.ndarray:
        """Q K^T + mask for the last rows of a context: (b, H, rows, d_k), (b, H, seen, d_k) -> (b, H, rows, seen)."""
        rows = Q.shape[2]
        S = Q @ K.swapaxes(-1, -2)
        if rows > 1:  # a single row sees everything
            S[..., -rows:] += self.mask[:rows, :rows]
        return S

    @tiny_is_zero
    def weights(self) -> np.ndarray:
        """P (B, H, T, S) of the last forward, whole and made anew: to look at, not for backward."""
        B, H, T, _ = self.Q.shape
        P = np.zeros((B, H, T, self.K.shape[2]), self.Q.dtype)  # zeros where a token cannot look
        for s, r, seen in self.blocks(B, T, self.K.shape[2]):
            P[s, :, r, seen] = softmax_lse(self.scores(self.Q[s, :, r], self.K[s, :, seen]))[0]
        return P

    def split(self, QKV: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(B, T, H (2 d_k + d_v)) -> Q, K (B, H, T, d_k) and V (B, H, T, d_v), as views."""
        k = self.n_heads * self.d_k
        return self.heads(QKV[..., :k]), self.heads(QKV[..., k : 2 * k]), self.heads(QKV[..., 2 * k :])

    def heads(self, X: np.ndarray) -> np.ndarray:
        """(B, T, H D) -> (B, H, T, D), as a view."""
        B, T, _ = X.shape
        return X.reshape(B, T, self.n_heads, X.shape[-1] // self.n_heads).swapaxes(1, 2)

    def extra_repr(self) -> str:
        return f"n_heads={self.n_heads}, d_k={self.d_k}, d_v={self.d_v}"
