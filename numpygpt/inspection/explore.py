"""What the page to explore shows of a model and a text: tokens, attention, predictions, residual stream, gradients.

Everything is ready for JSON. Large arrays are packed: 16 bits a number, little-endian, in base64. Of an array over
pairs of tokens only the half is there that a token can see, row after row: (0,0) (1,0) (1,1) (2,0) and so on.

`attention`: (L, H, pairs), the code of a weight p being round(65535 p): wrong by at most 1/131070.
`gradients`: (K, L + 1, pairs), norms on a logarithmic scale: code 0 is 0, and code c is exp(low + (c - 1) step), wrong
by at most half a step, about 0.02 % where the norms span twelve decades. Pair (t, s) of target k is the norm of
dL/d(residual stream) at position s, L being the loss at position t for the k-th of its `targets`.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from numpygpt.inspection.probe import (
    attention_weights,
    check_context,
    next_probabilities,
    residual_stream,
    stream_gradients,
)
from numpygpt.models import GPT
from numpygpt.tokenizer import Tokenizer
from numpygpt.tokenizer.display import token_signs

LIKELIEST = 10  # tokens listed after each position
TARGETS = 3  # at each position the losses that are followed back: of the next token, and of the likeliest others
ROWS = 8  # positions at once: more keep much in memory and gain nothing
MOST_BYTES = 32_000_000  # of packed numbers; more than that no browser shows quickly
CODES = 65_535  # the largest code of 16 bits


def explore(model: GPT, tokenizer: Tokenizer, ids: np.ndarray, target: int | None = None) -> dict[str, Any]:
    """What the page shows of `ids`, (T,). `target` is what the last one, which has no next token, is to predict;
    without it that is the likeliest token.

    Raises ValueError for more tokens than the model sees or a page can hold, and for weights that are not finite.
    """
    ids = check_context(model, ids)
    n_layers, n_heads = len(model.blocks), model.config["n_heads"]
    check_size(len(ids), n_layers, n_heads)
    probabilities = next_probabilities(model, ids).astype(np.float64)  # (T, V)
    stream = np.linalg.norm(residual_stream(model, ids).astype(np.float64), axis=-1)  # (L + 1, T)
    if not (np.isfinite(probabilities).all() and np.isfinite(stream).all()):
        raise ValueError("this model's numbers are not finite: its training diverged; take an earlier checkpoint, "
                         "or train with a lower learning rate")
    order = np.argsort(-probabilities, axis=-1, kind="stable")  # (T, V): the likeliest first
    following = np.append(ids[1:], order[-1, 0] if target is None else target)  # (T,)
    targets = choose_targets(order, following)  # (T, K)
    gradients = gradient_norms(model, ids, targets)  # (K, L + 1, pairs)
    attention = pairs(attention_weights(model, ids))  # (L, H, pairs)
    likeliest = order[:, :LIKELIEST]  # (T, 10)
    shown = np.unique(np.concatenate([ids, following, likeliest.ravel(), targets.ravel()]))
    return {
        "layers": n_layers,
        "heads": n_heads,
        "vocabulary": model.config["vocab_size"],
        "ids": ids.tolist(),
        "labels": {str(id): "".join(token_signs(tokenizer, id)) for id in shown.tolist()},
        "given": target is not None,
        "next": {
            "id": following.tolist(),
            "rank": ((order == following[:, None]).argmax(axis=-1) + 1).tolist(),
            "probability": rounded(probabilities[np.arange(len(ids)), following]),
            "entropy": rounded(entropy(probabilities)),
        },
        "likeliest": {
            "id": likeliest.tolist(),
            "probability": rounded(np.take_along_axis(probabilities, likeliest, axis=-1)),
        },
        "stream": rounded(stream),
        "attention": packed(np.rint(attention * CODES)),
        "targets": targets.tolist(),
        "gradients": log_packed(gradients),
    }


def check_size(T: int, n_layers: int, n_heads: int) -> None:
    """ValueError where the packed numbers would be too many for a page."""
    size = T * (T + 1) // 2 * (n_layers * n_heads + TARGETS * (n_layers + 1)) * 2
    if size > MOST_BYTES:
        fits = int(T * (MOST_BYTES / size) ** 0.5)
        raise ValueError(f"a page of {T:,} tokens in {n_layers} layers and {n_heads} heads is too large for a browser: "
                         f"give a text of at most {fits:,} tokens")


def choose_targets(order: np.ndarray, following: np.ndarray) -> np.ndarray:
    """(T, K): the next token, then the likeliest others; `order` (T, V) has the likeliest first."""
    others = order[order != following[:, None]].reshape(len(order), -1)  # (T, V - 1)
    return np.concatenate([following[:, None], others[:, : TARGETS - 1]], axis=1)


def gradient_norms(model: GPT, ids: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(K, L + 1, pairs): for each target of each position, the norm of what reaches each position before it.

    A row of a batch is the text up to some position, and only that position's target counts. What the loss, a mean over
    the rows, sends into a row is then that row's own gradient divided by their number.
    """
    T, K = targets.shape
    norms = np.zeros((K, len(model.blocks) + 1, T, T))
    for first in range(0, T, ROWS):
        seen = min(first + ROWS, T)
        rows = np.arange(seen - first)
        x = np.repeat(ids[None, :seen], len(rows), axis=0)  # (rows, seen)
        for k in range(K):
            y = np.full_like(x, model.ignore_index)
            y[rows, first + rows] = targets[first:seen, k]
            gradients = stream_gradients(model, x, y) * len(rows)  # (L + 1, rows, seen, C)
            norms[k, :, first:seen, :seen] = np.linalg.norm(gradients.astype(np.float64), axis=-1)
    return pairs(norms)


def entropy(probabilities: np.ndarray) -> np.ndarray:
    """In bits, along the last axis: how undecided a prediction is."""
    positive = np.where(probabilities > 0, probabilities, 1)  # 0 log 0 is 0, and so is 1 log 1
    return -(positive * np.log2(positive)).sum(axis=-1)


def pairs(values: np.ndarray) -> np.ndarray:
    """(..., T, T) -> (..., T (T + 1) / 2): each token with itself and those before it."""
    return values[(..., *np.tril_indices(values.shape[-1]))]


def packed(codes: np.ndarray) -> str:
    """Whole numbers from 0 to 65,535, of any shape."""
    return base64.b64encode(codes.astype("<u2").tobytes()).decode("ascii")


def log_packed(values: np.ndarray) -> dict[str, Any]:
    """Numbers from 0 on with an error that is relative; see above."""
    positive = values > 0
    logs = np.log(values[positive]) if positive.any() else np.zeros(1)
    low = float(logs.min())
    step = float(logs.max() - low) / (CODES - 1) or 1.0
    codes = np.zeros(values.shape)
    codes[positive] = np.rint((np.log(values[positive]) - low) / step) + 1
    return {"low": low, "step": step, "codes": packed(codes)}


def rounded(values: np.ndarray) -> Any:
    """Nested lists of numbers with six digits that count."""
    digits = np.array([float(f"{value:.6g}") for value in values.ravel().tolist()])
    return digits.reshape(values.shape).tolist()
