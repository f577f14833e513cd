"""Every layer in its configurations, and small GPTs: the cases that `./test.py` checks by finite differences.

Batch, time and heads are above one, and the size of a head differs from the time, so that swapped axes are noticed. In
the "square" cases all sizes are equal: NumPy accepts a transposed factor there, so the numbers must show it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from numpygpt.models import GPT
from numpygpt.nn import causal_attention
from numpygpt.nn.modules import loss
from numpygpt.nn.modules.activation import GELU, ReLU, Softmax
from numpygpt.nn.modules.attention import MultiHeadAttention
from numpygpt.nn.modules.dropout import Dropout
from numpygpt.nn.modules.embedding import Embedding, Unembedding
from numpygpt.nn.modules.feedforward import FeedForward
from numpygpt.nn.modules.linear import Linear
from numpygpt.nn.modules.lora import LoRALinear
from numpygpt.nn.modules.loss import CrossEntropyLoss, LinearCrossEntropy
from numpygpt.nn.modules.module import Module
from numpygpt.nn.modules.normalization import LayerNorm
from numpygpt.nn.modules.positional import PositionalEmbedding, SinusoidalEncoding
from numpygpt.verify.wrappers import (
    AdaptedGPT,
    AfterALargerTable,
    BothUses,
    ChunkedGPT,
    MicroBatches,
    Padded,
    Rotary,
    Small,
    block,
    recomputing,
)

Case = tuple[str, str, Callable[[], Module], tuple[np.ndarray, ...]]  # layer, configuration, maker, inputs


def gradient_cases() -> Iterator[Case]:
    """(layer, configuration, maker of the module, inputs), for `gradcheck(maker(), *inputs)`; simple layers first."""
    rng = np.random.default_rng(42)
    yield from affine_cases(rng)
    yield from pointwise_cases(rng)
    yield from attention_cases(rng)
    yield from loss_cases(rng)
    yield from gpt_cases(rng)
    yield from lora_cases(rng)


def affine_cases(rng: np.random.Generator) -> Iterator[Case]:
    X = rng.standard_normal
    ids = rng.integers(0, 7, (2, 5))  # (B, T); 10 ids out of 7: some are repeated
    yield "Linear", "rank 2", lambda: Linear(3, 4), (X((5, 3)),)
    yield "Linear", "rank 1", lambda: Linear(3, 4), (X(3),)
    yield "Linear", "rank 2, no bias", lambda: Linear(3, 4, bias=False), (X((5, 3)),)
    yield "Linear", "rank 3", lambda: Linear(4, 3), (X((2, 5, 4)),)
    yield "Linear", "rank 3, no bias", lambda: Linear(3, 4, bias=False), (X((2, 5, 3)),)
    yield "Linear", "rank 4", lambda: Linear(3, 4), (X((2, 3, 2, 3)),)
    yield "Linear", "square, as many rows", lambda: Linear(4, 4), (X((4, 4)),)
    yield "Embedding", "repeated ids", lambda: Embedding(7, 4), (ids,)
    yield "Embedding", "rank 1, each id once", lambda: Embedding(7, 4), (np.array([5, 0, 3]),)
    yield "Embedding", "rank 3, one id alone", lambda: Embedding(3, 4), (np.full((2, 3, 2), 1),)
    yield "Unembedding", "table of its own", lambda: Unembedding(7, 4), (X((2, 5, 4)),)
    yield "Unembedding", "rank 2", lambda: Unembedding(7, 4), (X((5, 4)),)
    yield "Unembedding", "tied, both uses", lambda: BothUses(7, 4), (ids,)
    yield "Unembedding", "square, as many rows", lambda: Unembedding(4, 4), (X((4, 4)),)
    yield "PositionalEmbedding", "T below max_len", lambda: PositionalEmbedding(6, 4), (X((2, 5, 4)),)
    yield "PositionalEmbedding", "T as max_len", lambda: PositionalEmbedding(5, 4), (X((2, 5, 4)),)
    yield "PositionalEmbedding", "from position 2", lambda: PositionalEmbedding(6, 4), (X((3, 3, 4)), np.array(2))
    yield ("PositionalEmbedding", "after padding", lambda: PositionalEmbedding(6, 4),
           (X((3, 5, 4)), np.array([-2, 0, 1])))
    yield "PositionalEmbedding", "square, B as T", lambda: PositionalEmbedding(4, 4), (X((4, 4, 4)),)
    yield "SinusoidalEncoding", "even width", lambda: SinusoidalEncoding(6, 4), (X((2, 5, 4)),)
    yield "SinusoidalEncoding", "odd width", lambda: SinusoidalEncoding(6, 5), (X((2, 5, 5)),)
    yield "SinusoidalEncoding", "from position 2", lambda: SinusoidalEncoding(6, 4), (X((3, 3, 4)), np.array(2))
    yield ("SinusoidalEncoding", "after padding", lambda: SinusoidalEncoding(6, 4),
           (X((3, 5, 4)), np.array([-2, 0, 1])))


def pointwise_cases(rng: np.random.Generator) -> Iterator[Case]:
    """Layers that act on each entry or each row independently."""
    X = rng.standard_normal
    yield "LayerNorm", "rank 1", lambda: LayerNorm(6), (X(6),)
    yield "LayerNorm", "rank 2, no bias", lambda: LayerNorm(6, bias=False), (X((5, 6)),)
    yield "LayerNorm", "rank 3", lambda: LayerNorm(6), (X((2, 5, 6)),)
    yield "LayerNorm", "rank 4, large eps", lambda: LayerNorm(4, eps=0.5), (X((2, 3, 2, 4)),)
    yield "LayerNorm", "square, as many rows", lambda: LayerNorm(4), (X((4, 4)),)
    yield "Softmax", "rank 1", Softmax, (X(5),)
    yield "Softmax", "rank 3", Softmax, (X((2, 3, 5)),)
    yield "Softmax", "square", Softmax, (X((4, 4)),)
    yield "ReLU", "rank 1", ReLU, (X(6),)
    yield "ReLU", "rank 3", ReLU, (X((2, 5, 6)),)
    yield "GELU", "tanh form, rank 1", GELU, (X(6),)
    yield "GELU", "tanh form, rank 3", GELU, (X((2, 5, 6)),)
    yield "Dropout", "fixed mask, p = 0.4", lambda: Dropout(0.4, rng=1), (X((2, 5, 6)),)
    yield "Dropout", "rank 2, p = 0.8", lambda: Dropout(0.8, rng=1), (X((5, 6)),)
    yield "Dropout", "p = 0", lambda: Dropout(0.0), (X((2, 5, 6)),)
    yield "Dropout", "evaluation", lambda: Dropout(0.4, rng=1).eval(), (X((2, 5, 6)),)


def attention_cases(rng: np.random.Generator) -> Iterator[Case]:
    """Attention, the feed-forward network, and the block built from both."""
    X = rng.standard_normal
    limits = {
        "blocks of 2 rows": {"ROWS": 2},
        "blocks, P recomputed": {"ROWS": 2, "KEEP_WEIGHTS": 0},
        "P recomputed": {"KEEP_WEIGHTS": 0},
        "T at the limit for P": {"KEEP_WEIGHTS": 5},
        "a sequence at a time": {"SCORE_ENTRIES": 1},
    }
    for name, limit in limits.items():
        for options in ({}, {"attn_dropout": 0.3, "rng": 2}):
            make = partial(MultiHeadAttention, 6, 2, 4, 2, **options)
            yield ("MultiHeadAttention", name + (", weights dropped" if options else ""),
                   partial(Small, make, causal_attention, **limit), (X((3, 5, 6)),))
        yield ("MultiHeadAttention", f"{name}, padded",
               partial(Small, partial(Padded, partial(MultiHeadAttention, 6, 2, 4, 2), [2, 0, 3]), causal_attention,
                       **limit), (X((3, 5, 6)),))
    yield ("MultiHeadAttention", "square, P recomputed",
           partial(Small, partial(MultiHeadAttention, 9, 3), causal_attention, KEEP_WEIGHTS=0), (X((3, 3, 9)),))
    layers: list[tuple[str, Callable[..., Module], tuple[int, ...], dict[str, Any], tuple[int, ...]]] = [
        ("2 heads of 3", MultiHeadAttention, (6, 2), {}, (2, 5, 6)),
        ("3 heads, d_k 4, d_v 2", MultiHeadAttention, (6, 3), {"d_k": 4, "d_v": 2}, (2, 5, 6)),
        ("no bias", MultiHeadAttention, (6, 2), {"bias": False}, (2, 5, 6)),
        ("no bias, dropout", MultiHeadAttention, (6, 2), {"bias": False, "dropout": 0.3, "rng": 2}, (2, 5, 6)),
        ("biases of q, k, v alone", MultiHeadAttention, (6, 2), {"bias": False, "qkv_bias": True}, (2, 5, 6)),
        ("weights dropped, 2 key heads", MultiHeadAttention, (8, 4),
         {"n_kv_heads": 2, "attn_dropout": 0.3, "dropout": 0.2, "rng": 2}, (2, 5, 8)),
        ("square, all of 3", MultiHeadAttention, (9, 3), {}, (3, 3, 9)),
        ("4 heads, 2 key heads", MultiHeadAttention, (8, 4), {"n_kv_heads": 2}, (2, 5, 8)),
        ("groups of 3, d_k 4, d_v 2", MultiHeadAttention, (6, 6, 4, 2), {"n_kv_heads": 2}, (3, 5, 6)),
        ("1 key head, dropout", MultiHeadAttention, (6, 3), {"n_kv_heads": 1, "dropout": 0.3, "rng": 2},
         (2, 5, 6)),
        ("gelu", FeedForward, (4,), {}, (2, 5, 4)),
        ("rank 2, relu, 5 wide", FeedForward, (4, 5), {"activation": ReLU()}, (5, 4)),
        ("no bias, dropout", FeedForward, (4,), {"bias": False, "dropout": 0.3, "rng": 2}, (2, 5, 4)),
        ("square, as many rows", FeedForward, (4, 4), {}, (4, 4)),
    ]
    for name, kind, sizes, options, shape in layers:
        yield kind.__name__, name, partial(kind, *sizes, **options), (X(shape),)
    yield ("MultiHeadAttention", "2 key heads, P recomputed",
           partial(Small, partial(MultiHeadAttention, 8, 4, n_kv_heads=2), causal_attention, ROWS=2, KEEP_WEIGHTS=0),
           (X((3, 5, 8)),))
    yield ("MultiHeadAttention", "rotary, 2 key heads",
           lambda: MultiHeadAttention(8, 4, n_kv_heads=2, rotary=Rotary()), (X((3, 5, 8)),))
    blocks: dict[str, dict[str, Any]] = {
        "gelu": {},
        "relu, no bias, dropout": {"activation": "relu", "bias": False, "dropout": 0.3, "rng": 3},
        "d_k 4, d_v 2, d_ff 5": {"d_k": 4, "d_v": 2, "d_ff": 5},
    }
    for name, options in blocks.items():
        yield "TransformerBlock", name, partial(block, 6, 2, **options), (X((2, 5, 6)),)


def loss_cases(rng: np.random.Generator) -> Iterator[Case]:
    X, targets = rng.standard_normal, rng.integers(0, 7, (2, 5))
    places = np.arange(10).reshape(2, 5) % 3 == 1
    ignored, threes = np.where(places, -1, targets), np.where(places, 3, targets)
    yield "CrossEntropyLoss", "rank 2", CrossEntropyLoss, (X((5, 7)), targets[0])
    yield "CrossEntropyLoss", "every target", CrossEntropyLoss, (X((2, 5, 7)), targets)
    yield "CrossEntropyLoss", "ignored targets", CrossEntropyLoss, (X((2, 5, 7)), ignored)
    yield "CrossEntropyLoss", "no target left", CrossEntropyLoss, (X((2, 5, 7)), np.full((2, 5), -1))
    yield "CrossEntropyLoss", "target 3 ignored", lambda: CrossEntropyLoss(3), (X((2, 5, 7)), threes)
    yield "CrossEntropyLoss", "square, as many rows", CrossEntropyLoss, (X((4, 4)), np.array([2, 0, -1, 2]))

    def fused(*sizes: int, ignore: int = -1) -> Module:
        return LinearCrossEntropy(Unembedding(*sizes), ignore)

    yield "LinearCrossEntropy", "every target", partial(fused, 7, 4), (X((2, 5, 4)), targets)
    yield "LinearCrossEntropy", "ignored targets", partial(fused, 7, 4), (X((2, 5, 4)), ignored)
    yield "LinearCrossEntropy", "target 3 ignored", partial(fused, 7, 4, ignore=3), (X((2, 5, 4)), threes)
    for rows, entries in ((1, 21), (4, 8)):
        yield ("LinearCrossEntropy", f"chunks of {max(entries // 7, rows)} rows",
               partial(Small, partial(fused, 7, 4), loss, LOGIT_ROWS=rows, LOGIT_ENTRIES=entries),
               (X((2, 5, 4)), ignored))
    yield "LinearCrossEntropy", "a larger table before", partial(AfterALargerTable, 7, 4), (X((2, 5, 4)), ignored)
    yield ("LinearCrossEntropy", "no target left", partial(fused, 7, 4),
           (np.linspace(-1, 1, 40).reshape(2, 5, 4), np.full((2, 5), -1)))
    yield "LinearCrossEntropy", "square, as many rows", partial(fused, 4, 4), (X((4, 4)), np.array([2, 0, -1, 2]))


def gpt_cases(rng: np.random.Generator) -> Iterator[Case]:
    x, y = rng.integers(0, 7, (2, 5)), rng.integers(0, 7, (2, 5))
    y = np.where(np.arange(10).reshape(2, 5) % 4 == 1, -1, y)  # ignores 1 and 2 targets of the two sequences
    gpts: list[tuple[str, Callable[..., Module], dict[str, Any]]] = [
        ("tied, gelu, learned", GPT, {}),
        ("untied, relu, learned", GPT, {"tie_weights": False, "activation": "relu"}),
        # with 2 heads a hidden value is within 2h of ReLU's corner, where a finite difference is not the derivative
        ("relu, sinusoidal, 3 heads", GPT, {"activation": "relu", "positions": "sinusoidal", "n_heads": 3}),
        ("untied, no bias, dropout", GPT, {"tie_weights": False, "bias": False, "dropout": 0.2}),
        ("d_k 4, d_v 2, d_ff 5", GPT, {"d_k": 4, "d_v": 2, "d_ff": 5}),
        ("T below max_len", GPT, {"max_len": 8}),
        ("4 heads, 2 key heads", GPT, {"d_model": 8, "n_heads": 4, "n_kv_heads": 2}),
        ("chunked loss, tied", ChunkedGPT, {}),
        ("chunked loss, untied", ChunkedGPT, {"tie_weights": False, "positions": "sinusoidal"}),
        ("chunked, dropout", ChunkedGPT, {"dropout": 0.2, "n_layers": 1}),
    ]
    sizes: dict[str, Any] = {"vocab_size": 7, "max_len": 5, "d_model": 6, "n_heads": 2, "n_layers": 2}
    for name, kind, options in gpts:
        yield "GPT", name, partial(kind, **(sizes | options)), (x, y)
    yield "GPT", "recompute, dropout", partial(recomputing, **(sizes | {"dropout": 0.3})), (x, y)
    single = sizes | {"n_layers": 1}
    for name, kind in (("2 micro-batches", GPT), ("2 micro-batches, chunked", ChunkedGPT)):
        yield "GPT", name, partial(MicroBatches, partial(kind, **single)), (x, y)
    yield "GPT", "chunks of 3 rows", partial(Small, partial(ChunkedGPT, **single), loss,
                                             LOGIT_ROWS=1, LOGIT_ENTRIES=21), (x, y)
    for positions in ("learned", "sinusoidal"):
        make = partial(GPT, **single, positions=positions)
        yield "GPT", f"padded, {positions}", partial(Padded, make, [2, 0]), (x, y)
    yield "GPT", "blocks, P recomputed", partial(Small, partial(GPT, **single), causal_attention,
                                                       ROWS=2, KEEP_WEIGHTS=0), (x, y)


def lora_cases(rng: np.random.Generator) -> Iterator[Case]:
    """A frozen Linear with an adapter, alone and in a GPT whose other parameters are frozen."""
    X = rng.standard_normal

    def adapted(d_in: int, d_out: int, rank: int, bias: bool = True, **options: Any) -> Module:
        return LoRALinear(Linear(d_in, d_out, bias), rank, **options)

    yield "LoRALinear", "rank 2", partial(adapted, 3, 4, 2), (X((2, 5, 3)),)
    yield "LoRALinear", "no bias, alpha 3", partial(adapted, 4, 3, 2, False, alpha=3), (X((5, 4)),)
    yield "LoRALinear", "rank 1, one row", partial(adapted, 3, 4, 1, alpha=0.5), (X(3),)
    yield "LoRALinear", "dropout", partial(adapted, 3, 4, 2, alpha=4, dropout=0.4, rng=1), (X((2, 5, 3)),)
    yield "LoRALinear", "evaluation", lambda: adapted(3, 4, 2, dropout=0.4, rng=1).eval(), (X((2, 5, 3)),)
    yield "LoRALinear", "square, as many rows", partial(adapted, 4, 4, 4, alpha=2, dropout=0.3, rng=1), (X((4, 4)),)
    x, y = rng.integers(0, 7, (2, 2, 5))
    yield "GPT", "adapters of rank 2", lambda: AdaptedGPT(vocab_size=7, max_len=5, d_model=6, n_heads=2, n_layers=2,
                                                          bias=False), (x, y)
