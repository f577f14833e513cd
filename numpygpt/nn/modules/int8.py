"""Weights in 8 bits, for inference: a quarter of the memory, and of what a large matrix has to bring from it.

A row of a matrix is stored as whole numbers q from -127 to 127 and one scale s: w is about s q, and off by at most s/2.
The products are computed in the dtype of the input, from a block of rows at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NoReturn, TypeVar

import numpy as np

from numpygpt.nn.backend import entries, like, to_host
from numpygpt.nn.cost import Call, Cost, Formula
from numpygpt.nn.functional import row_slices, rows
from numpygpt.nn.modules.checks import check_ids, check_width
from numpygpt.nn.modules.embedding import Embedding, Unembedding
from numpygpt.nn.modules.linear import Linear
from numpygpt.nn.modules.lora import adapters_of, put_in_place
from numpygpt.nn.modules.module import Module

LEVELS = 127  # -127 to 127: without -128 the range is symmetric
BLOCK_ENTRIES = 1 << 18  # of a block of weights: 1 MB in float32, which stays in the cache until it is multiplied
LEAST_ENTRIES = 1 << 18  # of a matrix: a smaller one stays in the cache as it is, and is faster in float32


class Int8(Module):
    """The part that the layers share: a matrix of `n` rows of `width` entries as Q (n, width) and scale (n,)."""

    Q: np.ndarray
    scale: np.ndarray

    def __init__(self, n: int, width: int):
        self.constant("Q", np.zeros((n, width), np.int8))
        self.constant("scale", np.zeros(n, np.float32))

    def set(self, W: np.ndarray, first: int = 0) -> None:
        """Store W (m, width) as the m rows from `first` on, some rows at a time."""
        for r in row_slices(len(W), W.shape[1], entries(self.Q, BLOCK_ENTRIES)):
            Q, scale = quantised(W[r])
            at = slice(first + r.start, first + r.start + len(Q))
            self.Q[at], self.scale[at] = like(Q, self.Q), like(scale, self.scale)

    def matrix(self) -> np.ndarray:
        """The whole matrix as numbers (n, width)."""
        return self.Q * self.scale[:, None]

    def times(self, X: np.ndarray) -> np.ndarray:
        """X (N, width) times the transposed matrix: (N, n)."""
        n, width = self.Q.shape
        Y = np.empty((len(X), n), X.dtype, like=X)
        size = entries(X, BLOCK_ENTRIES)
        room = np.empty((min(n, max(1, size // width)), width), X.dtype, like=X)  # for each block in turn
        for r in row_slices(n, width, size):
            block = room[: len(self.Q[r])]
            np.copyto(block, self.Q[r])
            np.matmul(X, block.T, out=Y[:, r])
        Y *= self.scale
        return Y

    def check_evaluation(self) -> None:
        """RuntimeError in training mode."""
        if self.training:
            raise RuntimeError("weights in 8 bits are for inference: call eval() to use the model, or train the model "
                               "that it was made of and convert it with to_int8 afterwards")

    def backward(self, dY: np.ndarray) -> NoReturn:
        raise RuntimeError(f"{type(self).__name__} has no gradient: weights in 8 bits are for inference. Train the "
                           "model first, and convert it with to_int8 afterwards")

    def extra_repr(self) -> str:
        return f"{self.Q.shape[1]}, {self.Q.shape[0]}"


class Int8Linear(Int8):
    """Y = X W + b as Y_j = s_j (X · q_j) + b_j, where the column j of W is about s_j q_j.

    X: (..., in), Q: (out, in), scale: (out,), b: (out,), Y: (..., out). For inference: there is no backward.
    """

    b: np.ndarray

    def __init__(self, linear: Linear):
        super().__init__(linear.d_out, linear.d_in)
        self.d_in, self.d_out, self.bias = linear.d_in, linear.d_out, linear.bias
        if self.bias:
            self.param("b", linear.b)

    def forward(self, X: np.ndarray) -> np.ndarray:  # X: (..., in)
        self.check_evaluation()
        check_width(self, X, self.Q.shape[1])
        Y = self.times(rows(X))  # (N, out)
        if self.bias:
            Y += self.b
        return Y.reshape(*X.shape[:-1], -1)  # (..., out)

    formula: ClassVar[Formula] = Formula(("Y = (X Qᵀ) s + b",), ("none: for inference",))

    def cost(self, call: Call) -> Cost:
        n, width = self.Q.shape
        call.check(self, width)
        return Cost(call.wide(n), 2 * call.rows * n * width + n * width + 2 * call.rows * n)


class Int8Embedding(Int8):
    """Y = s_id q_id: row `id` of the table. ids: (...), Q: (n, C), scale: (n,), Y: (..., C)."""

    def __init__(self, embedding: Embedding):
        super().__init__(embedding.n, embedding.d_model)
        self.n, self.d_model = embedding.n, embedding.d_model

    @property
    def W(self) -> np.ndarray:
        """The table (n, C) as numbers, computed at each access: to look at, and for the loss of a whole text."""
        return self.matrix()

    def forward(self, ids: np.ndarray) -> np.ndarray:
        self.check_evaluation()
        check_ids(ids, self.n)
        ids = like(ids, self.Q)
        return self.Q[ids] * self.scale[ids][..., None]  # (..., C)

    formula: ClassVar[Formula] = Formula(("Y = s[id] Q[id]",), ("none: for inference",))

    def cost(self, call: Call) -> Cost:
        return Cost((*call.shape, self.d_model), call.size * self.d_model)


class Int8Unembedding(Module):
    """logits = (X Qᵀ) s, with the table of an Int8Embedding. X: (..., C), logits: (..., n_vocab)."""

    def __init__(self, embedding: Int8Embedding):
        self.embedding = embedding

    def forward(self, X: np.ndarray) -> np.ndarray:  # X: (..., C)
        check_width(self, X, self.embedding.d_model)
        return self.embedding.times(rows(X)).reshape(*X.shape[:-1], self.embedding.n)  # (..., n_vocab)

    backward = Int8.backward
    formula: ClassVar[Formula] = Formula(("logits = (X Qᵀ) s",), ("none: for inference",))

    def cost(self, call: Call) -> Cost:
        n, width = self.embedding.Q.shape
        call.check(self, width)
        return Cost(call.wide(n), 2 * call.rows * n * width + n * width + call.rows * n)


@np.errstate(invalid="ignore")
def quantised(W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(Q, scale) of the rows of W (n, width): scale = max |w| / 127 of each row, and Q = w / scale, rounded. The scale
    of a row that is not finite is not finite."""
    W = to_host(W).astype(np.float32)
    scale = np.abs(W).max(axis=1, initial=0) / LEVELS  # (n,)
    safe = np.where(scale > 0, scale, 1)  # a row of zeros
    Q = np.clip(np.rint(W / safe[:, None]), -LEVELS, LEVELS)  # a scale near float32's smallest number is rounded
    return Q.astype(np.int8), scale


AnyModule = TypeVar("AnyModule", bound=Module)


def to_int8(model: AnyModule, least: int | None = None) -> AnyModule:
    """Convert the matrices of all Linear layers, embeddings and heads that have at least `least` entries, in place.
    Returns the model in evaluation mode; it can no longer be trained.

    `least` is LEAST_ENTRIES by default: a small matrix stays in the processor's cache, so int8 would save it no time.
    ValueError for a model with LoRA adapters, or without such a matrix.
    """
    if adapters_of(model):
        raise ValueError("this model has LoRA adapters: fold them in with merge_lora first")
    chosen = matrices(model, least)
    if not chosen and int8_layers(model):
        raise ValueError(f"this {type(model).__name__} has weights in 8 bits already")
    if not chosen:
        raise ValueError(f"no matrix of this {type(model).__name__} has {at_least(least):,} entries or more, so 8 "
                         "bits would save little: use it as it is")
    made = {name: converted(module) for name, module in chosen.items()}
    if wrong := [name for name, layer in made.items() if not np.isfinite(layer.scale).all()]:
        raise ValueError(f"{wrong[0]} is not finite: the model's training diverged")
    put_int8(model, {id(chosen[name]): layer for name, layer in made.items()})
    released(model)
    return model.eval()


def matrices(model: Module, least: int | None = None) -> dict[str, Linear | Embedding]:
    """The layers whose matrix can be converted and has at least `least` entries, by the dotted name of the matrix."""
    return {f"{name}.W": module for name, module in model.named_modules()
            if isinstance(module, (Linear, Embedding)) and module.W.size >= at_least(least)}


def at_least(least: int | None) -> int:
    return LEAST_ENTRIES if least is None else least


def converted(module: Linear | Embedding) -> Int8:
    """The same layer in 8 bits."""
    made = empty(module)
    made.set(module.W.T if isinstance(module, Linear) else module.W)
    return made


def empty(module: Linear | Embedding) -> Int8:
    """The same layer in 8 bits, with zeros."""
    return Int8Linear(module) if isinstance(module, Linear) else Int8Embedding(module)


def put_int8(model: Module, made: Mapping[int, Int8]) -> None:
    """Replace layers, given by identity, and the heads that use one of them as their table."""
    new: dict[int, Module] = dict(made)
    for _, module in model.named_modules():
        if isinstance(module, Unembedding) and isinstance(table := made.get(id(module.embedding)), Int8Embedding):
            new[id(module)] = Int8Unembedding(table)
    put_in_place(model, new)


def released(model: Module) -> None:
    """Copy what is left of the parameters, so that the memory of the large matrices is free."""
    for _, owner, name in model._owners():
        vars(owner).pop("d" + name, None)
        vars(owner)[name] = getattr(owner, name).copy()
    for _, module in model.named_modules():
        module._storage = module._flat = None


def int8_layers(model: Module) -> dict[str, Int8]:
    """The layers in 8 bits, by the dotted name of the parameter that each one has in place of it."""
    return {f"{name}.W": module for name, module in model.named_modules() if isinstance(module, Int8)}
