"""The gradient cases of the losses and of whole GPTs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from numpygpt.models import GPT
from numpygpt.nn import causal_attention
from numpygpt.nn.modules import loss
from numpygpt.nn.modules.embedding import Unembedding
from numpygpt.nn.modules.loss import CrossEntropyLoss, LinearCrossEntropy
from numpygpt.nn.modules.module import Module
from numpygpt.verify.wrappers import AfterALargerTable, ChunkedGPT, MicroBatches, Padded, Small, recomputing

Case = tuple[str, str, Callable[[], Module], tuple[np.ndarray, ...]]  # layer, configuration, maker, inputs

# The layers and options of Llama, with sizes that differ from each other.
LLAMA: dict[str, Any] = {"norm": "rmsnorm", "ffn": "gated", "activation": "silu", "positions": "rope", "bias": False,
                         "n_kv_heads": 1, "d_k": 4, "d_v": 3, "d_ff": 5}


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


def gpt_cases() -> Iterator[Case]:
    rng = np.random.default_rng(43)  # with some numbers a hidden value is within 2h of ReLU's corner
    x, y = rng.integers(0, 7, (2, 5)), rng.integers(0, 7, (2, 5))
    y = np.where(np.arange(10).reshape(2, 5) % 4 == 1, -1, y)  # ignores 1 and 2 targets of the two sequences
    gpts: list[tuple[str, Callable[..., Module], dict[str, Any]]] = [
        ("tied, gelu, learned", GPT, {}),
        ("untied, relu, learned", GPT, {"tie_weights": False, "activation": "relu"}),
        ("relu, sinusoidal, 3 heads", GPT, {"activation": "relu", "positions": "sinusoidal", "n_heads": 3}),
        ("untied, no bias, dropout", GPT, {"tie_weights": False, "bias": False, "dropout": 0.2}),
        ("d_k 4, d_v 2, d_ff 5", GPT, {"d_k": 4, "d_v": 2, "d_ff": 5}),
        ("T below max_len", GPT, {"max_len": 8, "n_layers": 1}),
        ("4 heads, 2 key heads", GPT, {"d_model": 8, "n_heads": 4, "n_kv_heads": 2, "n_layers": 1}),
        ("chunked loss, tied", ChunkedGPT, {}),
        ("chunked loss, untied", ChunkedGPT, {"tie_weights": False, "positions": "sinusoidal", "n_layers": 1}),
        ("chunked, dropout", ChunkedGPT, {"dropout": 0.2, "n_layers": 1}),
        ("Llama, tied", GPT, LLAMA | {"n_heads": 4, "n_kv_heads": 2}),
        ("Llama, untied, chunked loss", ChunkedGPT, LLAMA | {"tie_weights": False, "n_layers": 1}),
        ("Llama, scaled, gelu", GPT,
         LLAMA | {"n_layers": 1, "rope_scaling": "linear:2", "activation": "gelu"}),
        ("Qwen2, chunked loss", ChunkedGPT, LLAMA | {"qkv_bias": True, "n_layers": 1}),
        ("Llama, both dropouts", GPT, LLAMA | {"dropout": 0.2, "attn_dropout": 0.2, "n_layers": 1}),
    ]
    sizes: dict[str, Any] = {"vocab_size": 7, "max_len": 5, "d_model": 6, "n_heads": 2, "n_layers": 2}
    for name, kind, options in gpts:
        yield "GPT", name, partial(kind, **(sizes | options)), (x, y)
    yield "GPT", "recompute, dropout", partial(recomputing, **(sizes | {"dropout": 0.3, "attn_dropout": 0.2})), (x, y)
    single = sizes | {"n_layers": 1}
    for name, kind in (("2 micro-batches", GPT), ("2 micro-batches, chunked", ChunkedGPT)):
        yield "GPT", name, partial(MicroBatches, partial(kind, **single)), (x, y)
    yield "GPT", "chunks of 3 rows", partial(Small, partial(ChunkedGPT, **single), loss,
                                             LOGIT_ROWS=1, LOGIT_ENTRIES=21), (x, y)
    for name, options in (("learned", {}), ("sinusoidal", {"positions": "sinusoidal"}), ("Llama", LLAMA)):
        yield "GPT", f"padded, {name}", partial(Padded, partial(GPT, **(single | options)), [2, 0]), (x, y)
    yield "GPT", "blocks, P recomputed", partial(Small, partial(GPT, **single), causal_attention,
                                                       ROWS=2, KEEP_WEIGHTS=0), (x, y)
