"""The training loss, from logits, or from the last hidden states of a model with a large vocabulary."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from numpygpt.nn import functional as F
from numpygpt.nn.backend import entries, like
from numpygpt.nn.cost import Call, Cost, Formula
from numpygpt.nn.functional import row_slices, rows, tiny_is_zero
from numpygpt.nn.modules.checks import check_array, check_ids, check_width, described
from numpygpt.nn.modules.embedding import Unembedding
from numpygpt.nn.modules.module import Module

LOGIT_ENTRIES = 1 << 20  # logits held at once: 4 MB in float32,
LOGIT_ROWS = 128  # or this many rows, whichever is more: with fewer, dE is read and written too often


class CrossEntropyLoss(Module):
    """L = mean of -log softmax(logits)[target] over the targets that are not `ignore_index`; 0 if none is left.

    logits: (..., n_vocab), targets: (...) integers, L: a float in nats. `backward(scale)` takes dL_total/dL and returns
    dlogits = scale (softmax(logits) - onehot) / count. Caches softmax(logits). Raises ValueError for a target outside
    0 .. n_vocab - 1.
    """

    def __init__(self, ignore_index: int = -1):
        self.ignore_index = ignore_index

    def forward(self, logits: np.ndarray, targets: np.ndarray) -> float:  # (..., n_vocab), (...)
        check_array(self, logits, floats=True)
        check_targets(targets, logits.shape, self.ignore_index)
        self.shape, self.targets = logits.shape, like(targets.reshape(-1), logits)
        self.count = max(int(np.count_nonzero(targets != self.ignore_index)), 1)
        total, self.P = F.cross_entropy(rows(logits).copy(), self.targets, self.ignore_index)
        return total / self.count

    @tiny_is_zero
    def backward(self, scale: float = 1.0) -> np.ndarray:
        dlogits = F.cross_entropy_backward(self.P.copy(), self.targets, self.ignore_index)
        dlogits *= scale / self.count  # forward: L = total / count
        return dlogits.reshape(self.shape)  # (..., n_vocab)

    formula: ClassVar[Formula] = Formula(
        ("L = mean of -log softmax(logits)[target]",), ("dlogits = (softmax(logits) - onehot) / count",))  # fmt: skip

    def cost(self, call: Call) -> Cost:
        return Cost((), forward=6 * call.size, backward=2 * call.size, cached=call.nbytes + 8 * call.rows)  # P, targets


class LinearCrossEntropy(Module):
    """The head and the loss in one, a chunk of rows at a time: the (N, n_vocab) logits are never held whole.

    X: (..., C) hidden states, targets: (...), L: a float; equal to CrossEntropyLoss()(head(X), targets). In training
    the gradient is computed in the same pass, chunk by chunk, because only then the logits exist; `backward(scale)`
    scales it, adds the head's gradient to its dW, and returns dX. Caches the gradients of the summed losses with
    respect to X and E, and the number of targets; the array of the second is reused in the next step.
    """

    dX: np.ndarray | None = None
    dE: np.ndarray | None = None

    def __init__(self, head: Unembedding, ignore_index: int = -1):
        self.head, self.ignore_index = head, ignore_index

    @tiny_is_zero
    def forward(self, X: np.ndarray, targets: np.ndarray) -> float:  # (..., C), (...)
        self.dX = None  # of the call before
        check_width(self, X, self.head.embedding.d_model)
        E = self.head.embedding.W  # (n_vocab, C)
        check_targets(targets, (*X.shape[:-1], len(E)), self.ignore_index)
        X2, t = rows(X), like(targets.reshape(-1), X)  # (N, C), (N,)
        dX = np.empty_like(X2) if self.training else None
        dE = self.dE = self.zeros(E) if self.training and self.head.embedding.trains("W") else None
        loss = 0.0
        part = entries(X, LOGIT_ENTRIES)
        chunk = self.summed(chunk_rows(len(E), part))  # dE of a chunk is a sum over its rows
        room = np.empty((min(chunk, len(t)), len(E)), X2.dtype, like=X2)  # for the logits of each chunk in turn
        X2, E = self.rounded(X2), self.rounded(E)  # themselves without mixed precision
        for s in row_slices(len(t), 1, chunk):
            logits = room[: len(t[s])]  # (rows, n_vocab)
            self.product(X2[s], E.T, logits)  #                            forward: logits = X E^T
            total, P = F.cross_entropy(logits, t[s], self.ignore_index)
            loss += total
            if dX is not None:
                dlogits = F.cross_entropy_backward(P, t[s], self.ignore_index)
                self.product(dlogits, E, dX[s])  #                                      so  dX = dlogits E
                if dE is not None:
                    for v in row_slices(len(E), E.shape[1], part):  # a part of the vocabulary at a time
                        dE[v] += self.product(dlogits[:, v].T, X2[s])  #                and dE = dlogits^T X
        self.shape, self.dX = X.shape, dX
        self.count = max(int(np.count_nonzero(targets != self.ignore_index)), 1)
        return loss / self.count

    @tiny_is_zero
    def backward(self, scale: float = 1.0) -> np.ndarray:
        dX, self.dX, dE = self.dX, None, self.dE
        if dX is None:
            raise RuntimeError("no gradient to go back from: call train(), then the forward pass, then backward() once")
        dX *= scale / self.count  # forward: L = total / count
        if dE is not None and self.head.embedding.trains("W"):
            dE *= scale / self.count
            self.head.embedding.dW += dE
        return dX.reshape(self.shape)  # (..., C)

    formula: ClassVar[Formula] = Formula(
        ("logits = X Eᵀ,  L = mean of -log softmax(logits)[target]",),
        ("dlogits = (softmax(logits) - onehot) / count", "dX = dlogits E,  dE = dlogitsᵀ X"))  # fmt: skip

    def cost(self, call: Call) -> Cost:
        (n_vocab, C), n = self.head.embedding.W.shape, call.rows
        call.check(self, C)
        product = 2 * n * n_vocab * C
        forward = product + 6 * n * n_vocab
        if not call.training:
            return Cost((), forward)
        forward += 2 * product  # dX and dE are made here; backward scales them
        return Cost((), forward, backward=n * C + 2 * n_vocab * C, cached=(n + n_vocab) * C * call.itemsize)

    def zeros(self, E: np.ndarray) -> np.ndarray:
        """Zeros for dE, in the array of the call before: a large one is slow to get from the system at every step."""
        if self.dE is None or (self.dE.shape, self.dE.dtype) != (E.shape, E.dtype):
            self.dE = np.empty_like(E)
        self.dE.fill(0)
        return self.dE


def chunk_rows(vocab_size: int, entries: int = LOGIT_ENTRIES) -> int:
    """How many rows of logits LinearCrossEntropy holds at once."""
    return max(entries // vocab_size, LOGIT_ROWS)


def check_targets(targets: Any, shape: tuple[int, ...], ignore_index: int) -> None:
    """ValueError unless each row of logits of this shape, (..., n_vocab), has a target: an id or `ignore_index`."""
    if not hasattr(targets, "__array_function__"):
        raise ValueError(f"targets must be an integer array, got {described(targets)}")
    if targets.shape != shape[:-1]:
        ids = "; for the ids of one-hot targets use targets.argmax(axis=-1)" if targets.shape == shape else ""
        raise ValueError(f"targets of shape {targets.shape} do not fit logits of shape {shape}: one id for each "
                         f"row{ids}")
    check_ids(np.where(targets == ignore_index, 0, targets), shape[-1])
