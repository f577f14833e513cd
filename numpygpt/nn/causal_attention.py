"""Causal attention, O = softmax(Q K^T + mask) V, and its gradient. Both work a tile at a time and know no module.

Shapes: Q (B, H_kv, G, T, d_k), K (B, H_kv, 1, S, d_k), V (B, H_kv, 1, S, d_v): the G heads of a group share keys and
values, and G = 1 is plain multi-head attention. S - T tokens came before the first query. The caller has scaled Q. A
tile is some sequences times ROWS queries: its scores are made, used and left in the cache, and keys that none of its
queries may see are never read. Dao et al. 2022, without the tiling over keys. `pad` (B,) says how many tokens at the
left of each sequence are padding; `drop` is dropout on the weights P. None means no padding, no dropout.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from types import ModuleType
from typing import NamedTuple

import numpy as np

from numpygpt.nn.backend import entries, gpu_of, like, random_halves, rounded_up, xp_of
from numpygpt.nn.functional import row_slices, softmax_in_place, tiny_is_zero

SCORE_ENTRIES = 1 << 17  # scores of a tile: about half a megabyte, which stays in the L2 cache
ROWS = 64  # queries of a tile
KEEP_WEIGHTS = 1024  # up to this context length P is cached for backward; beyond, it is computed again

Tiles = list[np.ndarray]  # an array for each tile


class Drop(NamedTuple):
    """Dropout on attention weights. The seed makes the mask of each tile, so that backward makes it again: a mask costs
    no memory."""

    p: float  # probability of 0; the other weights are scaled by 1/(1 - p)
    seed: int


@tiny_is_zero
def causal_attention(Q: np.ndarray, K: np.ndarray, V: np.ndarray, O: np.ndarray, pad: np.ndarray | None = None,
                     drop: Drop | None = None) -> tuple[Tiles, Tiles]:
    """Write the output into O (B, H_kv, G, T, d_v). Return what backward needs: the weights P of each tile, or, in a
    context beyond KEEP_WEIGHTS, log sum exp of each row of scores, so that memory grows with T and not with T^2. The
    other list is empty."""
    S = K.shape[-2]
    weights: Tiles = []
    lses: Tiles = []
    for i, (s, r, seen) in enumerate(tiles(Q.shape, S, *tile_size(Q))):
        P = scores(Q[s, ..., r, :], K[s, ..., seen, :], of(pad, s))  # (b, H_kv, G, rows, seen)
        top, total = softmax_in_place(P)  # (.., rows, 1)
        np.matmul(masked(P, drop_mask(P, drop, i)), V[s, ..., seen, :], out=O[s, ..., r, :])  # (b, H_kv, G, rows, d_v)
        if S <= KEEP_WEIGHTS:
            weights.append(P)
        else:
            lses.append(top + np.log(total))
    return weights, lses


@tiny_is_zero
def causal_attention_backward(dO: np.ndarray, Q: np.ndarray, K: np.ndarray, V: np.ndarray, O: np.ndarray,
                              weights: Tiles, lses: Tiles, dQ: np.ndarray, dK: np.ndarray, dV: np.ndarray,
                              pad: np.ndarray | None = None, drop: Drop | None = None) -> None:
    """Write dL/dQ into dQ, and add dL/dK and dL/dV to dK and dV, in the shapes of Q, K and V. Needs S = T."""
    delta = np.einsum("...td,...td->...t", dO, O)[..., None]  # (B, H_kv, G, T, 1)
    for i, (s, r, seen) in enumerate(tiles(Q.shape, K.shape[-2], *tile_size(Q))):
        # forward: P = softmax(S) = exp(S - log sum exp S)
        P = weights[i] if weights else np.exp(scores(Q[s, ..., r, :], K[s, ..., seen, :], of(pad, s)) - lses[i])
        D = drop_mask(P, drop, i)  # forward's own
        PD = masked(P, D)  # (b, H_kv, G, rows, seen)
        dV[s, ..., seen, :] += sum_heads(PD.swapaxes(-1, -2) @ dO[s, ..., r, :])  # forward: O = P D V
        #                                                                            so  dV = (P D)^T dO
        dS = masked(dO[s, ..., r, :] @ V[s, ..., seen, :].swapaxes(-1, -2), D)  #    and dP = (dO V^T) D
        # forward: P = softmax(S), so dS = P (dP - sum_j dP P). That sum is the sum of dO O, as O = P D V.
        dS -= delta[s, ..., r, :]
        dS *= P  # forward: S = Q K^T + mask; where the mask is -inf, P is 0, and so is dS
        np.matmul(dS, K[s, ..., seen, :], out=dQ[s, ..., r, :])  #                                   so  dQ = dS K
        dK[s, ..., seen, :] += sum_heads(dS.swapaxes(-1, -2) @ Q[s, ..., r, :])  #                   and dK = dS^T Q


@tiny_is_zero
def attention_weights(Q: np.ndarray, K: np.ndarray, pad: np.ndarray | None = None) -> np.ndarray:
    """P (B, H_kv, G, T, S) as a whole, without dropout: to look at."""
    P = np.zeros((*Q.shape[:-1], K.shape[-2]), Q.dtype, like=Q)  # zeros where a token cannot look
    for s, r, seen in tiles(Q.shape, K.shape[-2], *tile_size(Q)):
        tile = scores(Q[s, ..., r, :], K[s, ..., seen, :], of(pad, s))
        softmax_in_place(tile)
        P[s, ..., r, seen] = tile
    return P


def tiles(shape: tuple[int, ...], S: int, rows: int, scores: int) -> Iterator[tuple[slice, slice, slice]]:
    """(sequences, rows, the tokens that these rows see) of each tile of at most `rows` queries and about `scores`
    scores, for queries of this shape and S keys."""
    B, T, heads = shape[0], shape[-2], shape[1] * shape[2]
    for first in range(0, T, rows):
        r = slice(first, min(first + rows, T))
        seen = slice(0, S - T + r.stop)
        for s in row_slices(B, heads * (r.stop - first) * seen.stop, scores):
            yield s, r, seen


def tile_size(Q: np.ndarray) -> tuple[int, int]:
    """The rows and scores of a tile, where Q is."""
    return entries(Q, ROWS), entries(Q, SCORE_ENTRIES)


def count_scores(heads: int, T: int, S: int) -> tuple[int, int, int]:
    """How many scores of all heads forward computes, how many backward computes again, and the numbers cached."""
    n = heads * sum((r.stop - r.start) * seen.stop for _, r, seen in tiles((1, 1, 1, T, 1), S, ROWS, SCORE_ENTRIES))
    return (n, 0, n) if S <= KEEP_WEIGHTS else (n, n, heads * T)


def of(pad: np.ndarray | None, sequences: slice) -> np.ndarray | None:
    """The padding of some sequences."""
    return None if pad is None else pad[sequences]


def scores(Q: np.ndarray, K: np.ndarray, pad: np.ndarray | None = None) -> np.ndarray:
    """Q K^T + mask for the last rows of a context: (..., rows, d_k), (..., seen, d_k) -> (..., rows, seen)."""
    rows = Q.shape[-2]
    S = Q @ K.swapaxes(-1, -2)
    if rows > 1:  # a single row sees everything
        mask = causal_mask(max(ROWS, rounded_up(rows)), S.dtype, xp_of(S), gpu_of(S))
        S[..., -rows:] += mask[:rows, :rows]
    if pad is not None:
        np.copyto(S, -np.inf, where=like(hidden(pad, *S.shape[-2:]), S))
    return S


def hidden(pad: np.ndarray, rows: int, seen: int) -> np.ndarray:
    """(b, 1, 1, rows, seen): whether a key is padding that the query may not see. Padding sees padding, so that every
    row of scores has a finite one: what becomes of these rows is read by nobody, and gets no gradient."""
    first = pad[:, None, None, None, None]  # the first token that is not padding
    query, key = np.arange(seen - rows, seen)[:, None], np.arange(seen)  # (rows, 1), (seen,)
    return (key < first) & (query >= first)


@functools.lru_cache(maxsize=8)
def causal_mask(n: int, dtype: np.dtype, xp: ModuleType = np, gpu: int = 0) -> np.ndarray:
    """(n, n): -inf above the diagonal, else 0. A token sees itself and the tokens before it. Do not write into it."""
    return xp.triu(xp.full((n, n), -np.inf, dtype), k=1)


def drop_mask(P: np.ndarray, drop: Drop | None, tile: int) -> np.ndarray | None:
    """0 or 1/(1 - p) for each weight of a tile; None without dropout. Sixteen random bits per weight are enough, and
    cost a quarter of a uniform number: p is rounded to a multiple of 2^-16."""
    if drop is None:
        return None
    keep = max(1, round((1 - drop.p) * 2**16))  # of 2^16 values
    return np.multiply(random_halves([drop.seed, tile], P) >= 2**16 - keep, 2**16 / keep, dtype=P.dtype)


def masked(P: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    return P if mask is None else P * mask


def sum_heads(dX: np.ndarray) -> np.ndarray:
    """The sum over the G heads of a group, which share one array: (b, H_kv, G, S, d) -> (b, H_kv, 1, S, d)."""
    return dX if dX.shape[2] == 1 else dX.sum(axis=2, keepdims=True)
