"""Every layer in its configurations, and small GPTs: what `./test.py` and the tests check by finite differences.

Batch, time and heads are above one, and a head's size is unlike the time, so that a transposed axis cannot hide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from numpygpt.models import GPT
from numpygpt.nn.modules.activation import GELU, ReLU, Softmax
from numpygpt.nn.modules.attention import MultiHeadAttention
from numpygpt.nn.modules.dropout import Dropout
from numpygpt.nn.modules.embedding import Embedding, Unembedding
from numpygpt.nn.modules.feedforward import FeedForward
from numpygpt.nn.modules.linear import Linear
from numpygpt.nn.modules.loss import CrossEntropyLoss, LinearCrossEntropy
from numpygpt.nn.modules.module import Module
from numpygpt.nn.modules.normalization import LayerNorm
from numpygpt.nn.modules.positional import PositionalEmbedding, SinusoidalEncoding
from numpygpt.nn.modules.transformer import TransformerBlock

Case = tuple[str, str, Callable[[], Module], tuple[np.ndarray, ...]]  # layer, configuration, maker, inputs


class ChunkedGPT(Module):
    """A GPT by way of `GPT.loss`, which takes the head and the loss a chunk of rows at a time."""

    def __init__(self, *sizes: int, **options: Any):
        self.gpt = GPT(*sizes, **options)

    def forward(self, x: np.ndarray, y: np.ndarray) -> float:
        return self.gpt.loss(x, y)

    def backward(self, scale: float = 1.0) -> None:
        self.gpt.backward(scale)


def gradient_cases() -> Iterator[Case]:
    """(layer, configuration, maker of the module, inputs), for `gradcheck(maker(), *inputs)`."""
    rng = np.random.default_rng(42)
    x, y = rng.integers(0, 7, (2, 5)), rng.integers(0, 7, (2, 5))  # (B, T); repeated ids are certain: 10 of 7
    ignored = np.where(rng.random((2, 5)) < 0.4, -1, y)

    def X(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape)

    yield "Linear", "rank 2", lambda: Linear(3, 4), (X(5, 3),)
    yield "Linear", "rank 3, no bias", lambda: Linear(3, 4, bias=False), (X(2, 5, 3),)
    yield "Linear", "rank 4", lambda: Linear(3, 4), (X(2, 3, 2, 3),)
    yield "Embedding", "repeated ids", lambda: Embedding(7, 4), (x,)
    yield "Unembedding", "table of its own", lambda: Unembedding(7, 4), (X(2, 5, 4),)
    yield "PositionalEmbedding", "T below max_len", lambda: PositionalEmbedding(6, 4), (X(2, 5, 4),)
    yield "SinusoidalEncoding", "odd width", lambda: SinusoidalEncoding(6, 5), (X(2, 5, 5),)
    yield "LayerNorm", "gain and shift", lambda: LayerNorm(6), (X(2, 5, 6),)
    yield "LayerNorm", "no bias, rank 2", lambda: LayerNorm(6, bias=False), (X(5, 6),)
    yield "Softmax", "rank 3", Softmax, (X(2, 3, 5),)
    yield "ReLU", "rank 3", ReLU, (X(2, 5, 6),)
    yield "GELU", "tanh form", GELU, (X(2, 5, 6),)
    yield "Dropout", "fixed mask, p = 0.4", lambda: Dropout(0.4, rng=1), (X(2, 5, 6),)
    yield "MultiHeadAttention", "2 heads of 3", lambda: MultiHeadAttention(6, 2), (X(2, 5, 6),)
    yield "MultiHeadAttention", "d_k 4, d_v 2", lambda: MultiHeadAttention(6, 3, d_k=4, d_v=2), (X(2, 5, 6),)
    yield ("MultiHeadAttention", "no bias, dropout",
           lambda: MultiHeadAttention(6, 2, bias=False, dropout=0.3, rng=2), (X(2, 5, 6),))
    yield "FeedForward", "gelu", lambda: FeedForward(4), (X(2, 5, 4),)
    yield "FeedForward", "relu, 5 wide", lambda: FeedForward(4, 5, activation="relu"), (X(2, 5, 4),)
    yield "TransformerBlock", "gelu", lambda: TransformerBlock(6, 2), (X(2, 5, 6),)
    yield ("TransformerBlock", "relu, no bias, dropout",
           lambda: TransformerBlock(6, 2, activation="relu", bias=False, dropout=0.3, rng=3), (X(2, 5, 6),))
    yield "CrossEntropyLoss", "every target", CrossEntropyLoss, (X(2, 5, 7), y)
    yield "CrossEntropyLoss", "ignored targets", CrossEntropyLoss, (X(2, 5, 7), ignored)
    yield "LinearCrossEntropy", "ignored targets", lambda: LinearCrossEntropy(Unembedding(7, 4)), (X(2, 5, 4), ignored)
    gpts: list[tuple[str, Callable[..., Module], dict[str, Any]]] = [
        ("tied, gelu, learned", GPT, {}),
        ("untied, relu, learned", GPT, {"tie_weights": False, "activation": "relu"}),
        ("tied, relu, sinusoidal", GPT, {"activation": "relu", "positions": "sinusoidal"}),
        ("untied, no bias, dropout", GPT, {"tie_weights": False, "bias": False, "dropout": 0.2}),
        ("d_k 4, d_v 2, d_ff 5", GPT, {"d_k": 4, "d_v": 2, "d_ff": 5}),
        ("chunked loss, tied", ChunkedGPT, {}),
        ("chunked loss, untied", ChunkedGPT, {"tie_weights": False, "positions": "sinusoidal"}),
    ]
    for name, kind, options in gpts:
        yield "GPT", name, partial(kind, 7, 5, 6, 2, 2, **options), (x, ignored)
