"""Inside the first block's attention: queries, keys and values, the mask, and which token attends to which."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from numpygpt.inspection.stats import stats_of_all
from numpygpt.inspection.step import TracedStep
from numpygpt.inspection.surprise import padded
from numpygpt.inspection.walk.lines import SHOWN, Lines, number, token_texts
from numpygpt.nn.causal_attention import attention_weights

CORNER = 5  # rows and columns of the mask and of the weights
HEADS = 4


def show_heads(lines: Lines, step: TracedStep, layer: Any, projected: str) -> None:
    """Queries, keys and values of the last batch. `projected` is the layer inside whose output the attention `layer`
    splits into them."""
    batches = len(step.batches)
    outputs = step.records[projected].outputs[batches - 1 :: batches]  # of the last batch, per worker
    parts = zip(*map(layer.split, outputs), strict=True)
    for letter, what, arrays in zip("QKV", ("what a token asks for", "what a token offers", "what it gives"), parts,
                                    strict=True):
        sizes = (sum(map(len, arrays)), *arrays[0].shape[1:])
        heads = f": {sizes[1]} head{'s' * (sizes[1] > 1)}" if letter == "Q" or sizes[1] != layer.n_heads else ""
        lines.numbers(f"  {letter}", sizes, stats_of_all(arrays), what + heads)


def show_weights(lines: Lines, step: TracedStep, layer: Any, projected: str) -> None:
    """A corner of the mask and of the attention weights of x[0]; some rows of the weights."""
    d_k = layer.d_k
    lines.row("  scale", [], f"1/sqrt(d_k) = 1/sqrt({d_k}) = {number(1 / math.sqrt(d_k))}: keeps the scores' size "
                             "independent of d_k")
    Q, K, _ = layer.split(step.records[projected].outputs[len(step.batches) - 1][:1])
    if layer.rotary is not None:
        Q, K = layer.rotary(Q), layer.rotary(K)
    P = attention_weights(layer.group(Q * layer.scale), layer.group(K)).reshape(Q.shape[1], *2 * Q.shape[2:3])
    n = min(CORNER, P.shape[-1])
    lines.row("  P", [], "softmax(Q K^T scale + mask): attention weights. First rows of mask; of P, head 0 of x[0]:")
    for masked, weights in zip(np.triu(np.full((n, n), -np.inf), 1), P[0, :n, :n], strict=True):
        lines.row("", [*(f"{value:>5.0f}" for value in masked), "      ", *(f"{value:7.4f}" for value in weights)])
    t = min(SHOWN, P.shape[-1]) - 1
    texts = token_texts(step.trainer.dataset.tokenizer, step.batches[-1][0][0, : t + 1], 7)
    lines.row(f"  token {t} sees", [padded(text, 7, right=True) for text in texts])
    for head, row in enumerate(P[:HEADS, t, : t + 1]):
        lines.row(f"    head {head}", [f"{value:7.4f}" for value in row], f"sum {row.sum():.4f}")
