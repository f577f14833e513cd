"""Token ids to vectors, and vectors back to a score for each token."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from numpygpt.nn import init
from numpygpt.nn.backend import add_rows, like
from numpygpt.nn.cost import Call, Cost, Formula
from numpygpt.nn.functional import rows, tiny_is_zero
from numpygpt.nn.modules.checks import check_ids, check_sizes, check_width
from numpygpt.nn.modules.module import Module


class Embedding(Module):
    """Y = W[ids]: row `id` of W is the vector of token `id`.

    ids: (...) integers in 0 .. n - 1, W: (n, C), Y: (..., C). W starts as N(0, std^2). Caches ids. Ids have no
    gradient, so `backward` returns None. Raises ValueError for an id beyond the table.
    """

    W: np.ndarray
    dW: np.ndarray

    def __init__(self, n: int, d_model: int, *, std: float = 0.02, rng: np.random.Generator | int | None = None,
                 dtype: str = "float32"):
        self.n, self.d_model = n, d_model = check_sizes(n=n, d_model=d_model)
        self.param("W", init.normal(np.random.default_rng(rng), (n, d_model), std, dtype))

    def forward(self, ids: np.ndarray) -> np.ndarray:  # ids: (...)
        check_ids(ids, self.n)
        self.ids = like(ids, self.W)
        return self.W[self.ids]  # (..., C)

    def backward(self, dY: np.ndarray) -> None:  # dY: (..., C)
        if self.trains("W"):
            # forward: Y = W[ids]. A token that occurs several times gets the sum of their gradients.
            add_rows(self.dW, self.ids.reshape(-1), rows(dY))  # (n, C), (N,), (N, C)

    formula: ClassVar[Formula] = Formula(("Y = E[ids]",), ("dE[id] += dY, for each place of the token",))

    def cost(self, call: Call) -> Cost:
        output = (*call.shape, self.d_model)
        return Cost(output, backward=math.prod(output), cached=8 * call.size)  # the ids, int64

    def extra_repr(self) -> str:
        return f"{self.n}, {self.d_model}"


class Unembedding(Module):
    """logits = X E^T: the score of a token is the dot product of X with the token's row of E.

    X: (..., C), E: (n_vocab, C), logits: (..., n_vocab). With `tied`, E is the token embedding's own table, as
    in GPT-2, and its gradient collects both uses; otherwise it has its own table. Caches X.
    """

    def __init__(self, vocab_size: int, d_model: int, *, tied: Embedding | None = None,
                 rng: np.random.Generator | int | None = None, dtype: str = "float32"):
        if tied is not None and (not isinstance(tied, Embedding) or tied.W.shape != (vocab_size, d_model)):
            raise ValueError(f"tied must be an Embedding of {vocab_size} rows and {d_model} columns, got {tied!r:.80}")
        self.embedding = tied or Embedding(vocab_size, d_model, rng=rng, dtype=dtype)

    @tiny_is_zero
    def forward(self, X: np.ndarray) -> np.ndarray:  # X: (..., C)
        check_width(self, X, self.embedding.d_model)
        self.X = X = self.rounded(X)  # X itself without mixed precision
        E = self.embedding.W
        return self.product(rows(X), E.T).reshape(*X.shape[:-1], len(E))  # (..., n_vocab)

    @tiny_is_zero
    def backward(self, dY: np.ndarray) -> np.ndarray:  # dY: (..., n_vocab)
        X2, dY2 = rows(self.X), rows(dY)  # (N, C), (N, n_vocab)
        if self.embedding.trains("W"):
            self.embedding.dW += self.product(dY2.T, X2)  # forward: logits = X E^T   so  dE = dY^T X
        return self.product(dY2, self.embedding.W).reshape(self.X.shape)  #           and dX = dY E

    formula: ClassVar[Formula] = Formula(("logits = X Eᵀ",), ("dX = dlogits E,  dE = dlogitsᵀ X",))

    def cost(self, call: Call) -> Cost:
        V, C = self.embedding.W.shape
        call.check(self, C)
        product = 2 * call.rows * V * C
        return Cost(call.wide(V), product, 2 * product, call.input_bytes)
