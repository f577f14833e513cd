"""Every layer in its configurations: the cases that `./test.py` checks by finite differences. Those of losses and whole
GPTs are in `model_cases`.

Batch, time and heads are above one, and the size of a head differs from the time, so that swapped axes are noticed. In
the "square" cases all sizes are equal: NumPy accepts a transposed factor there, so the numbers must show it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from numpygpt.nn import causal_attention
from numpygpt.nn.modules.activation import GELU, LeakyReLU, ReLU, SiLU, Softmax
from numpygpt.nn.modules.attention import MultiHeadAttention
from numpygpt.nn.modules.dropout import Dropout
from numpygpt.nn.modules.embedding import Embedding, Unembedding
from numpygpt.nn.modules.feedforward import FeedForward, GatedFeedForward
from numpygpt.nn.modules.linear import Linear
from numpygpt.nn.modules.lora import LoRALinear
from numpygpt.nn.modules.module import Module
from numpygpt.nn.modules.normalization import LayerNorm, RMSNorm
from numpygpt.nn.modules.positional import PositionalEmbedding, SinusoidalEncoding
from numpygpt.nn.modules.rotary import Rotary
from numpygpt.verify import model_cases
from numpygpt.verify.model_cases import LLAMA, Case
from numpygpt.verify.wrappers import AdaptedGPT, BothUses, Padded, Small, block


def gradient_cases() -> Iterator[Case]:
    """(layer, configuration, maker of the module, inputs), for `gradcheck(maker(), *inputs)`; simple layers first."""
    rng = np.random.default_rng(42)
    yield from affine_cases(rng)
    yield from pointwise_cases(rng)
    yield from rotary_cases(rng)
    yield from attention_cases(rng)
    yield from block_cases(rng)
    yield from model_cases.loss_cases(rng)
    yield from model_cases.gpt_cases()
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
    yield "RMSNorm", "rank 1", lambda: RMSNorm(6), (X(6),)
    yield "RMSNorm", "rank 2", lambda: RMSNorm(6), (X((5, 6)),)
    yield "RMSNorm", "rank 3", lambda: RMSNorm(6), (X((2, 5, 6)),)
    yield "RMSNorm", "rank 4, large eps", lambda: RMSNorm(4, eps=0.5), (X((2, 3, 2, 4)),)
    yield "RMSNorm", "square, as many rows", lambda: RMSNorm(4), (X((4, 4)),)
    yield "Softmax", "rank 1", Softmax, (X(5),)
    yield "Softmax", "rank 3", Softmax, (X((2, 3, 5)),)
    yield "Softmax", "square", Softmax, (X((4, 4)),)
    yield "ReLU", "rank 1", ReLU, (X(6),)
    yield "ReLU", "rank 3", ReLU, (X((2, 5, 6)),)
    yield "GELU", "tanh form, rank 1", GELU, (X(6),)
    yield "GELU", "tanh form, rank 3", GELU, (X((2, 5, 6)),)
    yield "SiLU", "rank 1", SiLU, (X(6),)
    yield "SiLU", "rank 3", SiLU, (X((2, 5, 6)),)
    yield "LeakyReLU", "rank 1", LeakyReLU, (X(6),)
    yield "LeakyReLU", "rank 3, a = 0.3", lambda: LeakyReLU(0.3), (X((2, 5, 6)),)
    yield "Dropout", "fixed mask, p = 0.4", lambda: Dropout(0.4, rng=1), (X((2, 5, 6)),)
    yield "Dropout", "rank 2, p = 0.8", lambda: Dropout(0.8, rng=1), (X((5, 6)),)
    yield "Dropout", "p = 0", lambda: Dropout(0.0), (X((2, 5, 6)),)
    yield "Dropout", "evaluation", lambda: Dropout(0.4, rng=1).eval(), (X((2, 5, 6)),)


def rotary_cases(rng: np.random.Generator) -> Iterator[Case]:
    X = rng.standard_normal
    kinds: dict[str, tuple[Any, ...]] = {
        "T as max_len": (4, 5), "theta 100": (6, 7, 100.0), "linear scaling": (4, 8, 100.0, "linear:3"),
        # 8 pairs: some are kept, some blended, some divided
        "llama3 scaling": (16, 8, 100.0, "llama3:4:0.2:0.6:8"),
    }
    for name, sizes in kinds.items():
        yield "Rotary", name, partial(Rotary, *sizes), (X((2, 3, 5, sizes[0])),)
    yield "Rotary", "from position 2", lambda: Rotary(4, 7), (X((2, 3, 5, 4)), np.array(2))
    yield "Rotary", "after padding", lambda: Rotary(4, 7), (X((3, 2, 5, 4)), np.array([-2, 0, 1]))
    yield "Rotary", "square, all of 4", lambda: Rotary(4, 4), (X((4, 4, 4, 4)),)


def attention_cases(rng: np.random.Generator) -> Iterator[Case]:
    X = rng.standard_normal
    limits = {
        "blocks of 2 rows": {"ROWS": 2},
        "blocks, P recomputed": {"ROWS": 2, "KEEP_WEIGHTS": 0},
        "P recomputed": {"KEEP_WEIGHTS": 0},
        "T at the limit for P": {"KEEP_WEIGHTS": 5},
        "a sequence at a time, P recomputed": {"SCORE_ENTRIES": 1, "KEEP_WEIGHTS": 0},
    }
    plain = partial(MultiHeadAttention, 6, 2, 4, 2)
    makers: dict[str, Callable[[], Module]] = {
        "": plain, ", weights dropped": partial(plain, attn_dropout=0.3, rng=2),
        ", padded": partial(Padded, plain, [2, 0, 3]),
        ", rotary, 1 key head": partial(plain, n_kv_heads=1, rotary=Rotary(4, 5)),
    }
    for (name, limit), (kind, make) in itertools.product(limits.items(), makers.items()):
        yield "MultiHeadAttention", name + kind, partial(Small, make, causal_attention, **limit), (X((3, 5, 6)),)
    yield ("MultiHeadAttention", "square, P recomputed",
           partial(Small, partial(MultiHeadAttention, 9, 3), causal_attention, KEEP_WEIGHTS=0), (X((3, 3, 9)),))
    yield ("MultiHeadAttention", "2 key heads, P recomputed",
           partial(Small, partial(MultiHeadAttention, 8, 4, n_kv_heads=2), causal_attention, ROWS=2, KEEP_WEIGHTS=0),
           (X((3, 5, 8)),))
    layers: list[tuple[str, tuple[int, ...], dict[str, Any], tuple[int, ...]]] = [
        ("2 heads of 3", (6, 2), {}, (2, 5, 6)),
        ("3 heads, d_k 4, d_v 2", (6, 3), {"d_k": 4, "d_v": 2}, (2, 5, 6)),
        ("no bias", (6, 2), {"bias": False}, (2, 5, 6)),
        ("no bias, dropout", (6, 2), {"bias": False, "dropout": 0.3, "rng": 2}, (2, 5, 6)),
        ("biases of q, k, v alone", (6, 2), {"bias": False, "qkv_bias": True}, (2, 5, 6)),
        ("square, all of 3", (9, 3), {}, (3, 3, 9)),
        ("4 heads, 2 key heads", (8, 4), {"n_kv_heads": 2}, (2, 5, 8)),
        ("groups of 3, d_k 4, d_v 2", (6, 6, 4, 2), {"n_kv_heads": 2}, (3, 5, 6)),
        ("1 key head, dropout", (6, 3), {"n_kv_heads": 1, "dropout": 0.3, "rng": 2}, (2, 5, 6)),
        ("weights dropped, 2 key heads", (8, 4), {"n_kv_heads": 2, "attn_dropout": 0.3, "dropout": 0.2, "rng": 2},
         (2, 5, 8)),
        ("rotary, 2 key heads", (8, 4), {"n_kv_heads": 2, "d_k": 4, "rotary": Rotary(4, 5, 100.0)}, (3, 5, 8)),
    ]
    for name, sizes, options, shape in layers:
        yield "MultiHeadAttention", name, partial(MultiHeadAttention, *sizes, **options), (X(shape),)
    yield ("MultiHeadAttention", "rotary, padded",
           partial(Padded, partial(plain, rotary=Rotary(4, 5)), [2, 0, 3]), (X((3, 5, 6)),))


def block_cases(rng: np.random.Generator) -> Iterator[Case]:
    """Feed-forward networks, plain and gated, and the block built from attention and one of them."""
    X = rng.standard_normal
    layers: list[tuple[str, Callable[..., Module], tuple[int, ...], dict[str, Any], tuple[int, ...]]] = [
        ("gelu", FeedForward, (4,), {}, (2, 5, 4)),
        ("rank 2, relu, 5 wide", FeedForward, (4, 5), {"activation": ReLU()}, (5, 4)),
        ("no bias, dropout", FeedForward, (4,), {"bias": False, "dropout": 0.3, "rng": 2}, (2, 5, 4)),
        ("square, as many rows", FeedForward, (4, 4), {}, (4, 4)),
        ("silu", GatedFeedForward, (4, 5), {}, (2, 5, 4)),
        ("rank 2, gelu, default width", GatedFeedForward, (3,), {"activation": GELU()}, (5, 3)),
        ("leaky relu, whose output is cached", GatedFeedForward, (4, 5), {"activation": LeakyReLU(0.2)}, (2, 5, 4)),
        ("no bias, dropout", GatedFeedForward, (4, 3), {"bias": False, "dropout": 0.3, "rng": 2}, (2, 5, 4)),
        ("square, as many rows", GatedFeedForward, (4, 4), {}, (4, 4)),
    ]
    for name, kind, sizes, options, shape in layers:
        yield kind.__name__, name, partial(kind, *sizes, **options), (X(shape),)
    blocks: dict[str, dict[str, Any]] = {
        "gelu": {},
        "relu, no bias, dropout": {"activation": "relu", "bias": False, "dropout": 0.3, "rng": 3},
        "d_k 4, d_v 2, d_ff 5": {"d_k": 4, "d_v": 2, "d_ff": 5},
        "Llama's layers": LLAMA | {"max_len": 5},
    }
    for name, options in blocks.items():
        yield "TransformerBlock", name, partial(block, 6, 2, **options), (X((2, 5, 6)),)


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
