"""The data of the explorer page for a model and a text: tokens, attention, predictions, residual stream, gradients.

Everything is ready for JSON. Large arrays are packed: 16 bits per number, little-endian, in base64. An array over
pairs of tokens holds only the half that the causal mask leaves, row by row: (0,0) (1,0) (1,1) (2,0) and so on.

`layers`: the L blocks that the page shows: all of them, unless it would be too large (see `choose_layers`).
`attention`: (L, H, pairs), the code of a weight p is round(65535 p), with an error of at most 1/131070.
`gradients`: (K, L + 1, pairs), norms on a logarithmic scale: code 0 is 0, and code c is exp(low + (c - 1) step). The
error is at most half a step, about 0.02 % if the norms span twelve decades. Pair (t, s) of target k is the norm of
dL/d(residual stream) at position s, where L is the loss at position t for the k-th of its `targets`.

`backward`: for the mean loss over all positions, Q (L, H, T, d_k), K (L, H_kv, T, d_k), V (L, H_kv, T, d_v) and
dO (L, H, T, d_v) of its own `layers`, as float32. The page computes S, P, O and all gradients of a head from them. They
are large, so these layers may be fewer, or none for a long text.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from numpygpt.inspection.probe import (
    HeadArrays,
    attention_weights,
    check_context,
    head_arrays,
    next_probabilities,
    residual_stream,
    stream_gradients,
)
from numpygpt.models import GPT
from numpygpt.tokenizer import Tokenizer
from numpygpt.tokenizer.display import token_signs

LIKELIEST = 10  # tokens listed after each position
TARGETS = 3  # losses per position that are traced back: for the next token and the likeliest others
ROWS = 8  # positions per pass: more would take memory and gain nothing
MAX_BYTES = 32_000_000  # of packed numbers; browsers are slow with more
GOOD_BYTES, MIN_LAYERS = 3_600_000, 2  # beyond (a page of 5 MB), blocks are left out, but these stay
MAX_CODE = 65_535  # of 16 bits


def explore(model: GPT, tokenizer: Tokenizer, ids: np.ndarray, target: int | None = None) -> dict[str, Any]:
    """Return the page's data for `ids` (T,). Nothing follows the last token: its target is `target`, by default the
    most likely token.

    Raises ValueError for more tokens than the model's context or a page can hold, and for weights that are not finite.
    """
    ids = check_context(model, ids)
    n_heads = model.config.n_heads
    layers = choose_layers(len(ids), len(model.blocks), n_heads)
    places = [0, *(layer + 1 for layer in layers)]
    probabilities = next_probabilities(model, ids).astype(np.float64)  # (T, n_vocab)
    stream = np.linalg.norm(residual_stream(model, ids)[places].astype(np.float64), axis=-1)  # (L + 1, T)
    if not (np.isfinite(probabilities).all() and np.isfinite(stream).all()):
        raise ValueError("the model's outputs are not finite, so its training diverged: use an earlier checkpoint, "
                         "or train with a lower learning rate")
    order = np.argsort(-probabilities, axis=-1, kind="stable")  # (T, n_vocab): the likeliest first
    following = np.append(ids[1:], order[-1, 0] if target is None else target)  # (T,)
    targets = choose_targets(order, following)  # (T, K)
    gradients = gradient_norms(model, ids, targets)[:, places]  # (K, L + 1, pairs)
    attention = pairs(attention_weights(model, ids, layers))  # (L, H, pairs)
    likeliest = order[:, :LIKELIEST]  # (T, 10)
    shown = np.unique(np.concatenate([ids, following, likeliest.ravel(), targets.ravel()]))
    return {
        "layers": layers,
        "heads": n_heads,
        "vocabulary": model.wte.n,
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
        "attention": packed(np.rint(attention * MAX_CODE)),
        "targets": targets.tolist(),
        "gradients": log_packed(gradients),
        "backward": backward_arrays(model, ids, following, layers),
    }


def choose_layers(T: int, n_layers: int, n_heads: int) -> list[int]:
    """All layers, or every second, third, ... and the last, so that the packed numbers are at most GOOD_BYTES or
    MIN_LAYERS layers are left."""
    chosen = list(range(n_layers))
    for step in range(2, n_layers):
        fewer = sorted({*range(0, n_layers, step), n_layers - 1})
        if packed_bytes(T, len(chosen), n_heads) <= GOOD_BYTES or len(fewer) < MIN_LAYERS:
            break
        chosen = fewer
    check_size(T, len(chosen), n_heads)
    return chosen


def check_size(T: int, n_layers: int, n_heads: int) -> None:
    """Raise ValueError if a page would hold too many numbers."""
    size = packed_bytes(T, n_layers, n_heads)
    if size > MAX_BYTES:
        fits = int(T * (MAX_BYTES / size) ** 0.5)
        raise ValueError(f"a page of {T:,} tokens with {n_layers} layers and {n_heads} heads is too large for a "
                         f"browser: give a text of at most {fits:,} tokens")


def packed_bytes(T: int, n_layers: int, n_heads: int) -> int:
    return T * (T + 1) // 2 * (n_layers * n_heads + TARGETS * (n_layers + 1)) * 2


def backward_arrays(model: GPT, ids: np.ndarray, following: np.ndarray, layers: list[int]) -> dict[str, Any]:
    """Return `backward`, described above."""
    attn = model.blocks[0].attn
    each = len(ids) * (attn.n_heads + attn.n_kv_heads) * (attn.d_k + attn.d_v) * 4  # bytes of a layer
    room = GOOD_BYTES - packed_bytes(len(ids), len(layers), attn.n_heads)
    chosen = thinned(layers, room // each)
    loss, arrays = head_arrays(model, ids, following, chosen)
    stacked = {name: [getattr(of_layer, name) for of_layer in arrays] for name in HeadArrays._fields}
    return {"layers": chosen, "loss": loss, "kv_heads": attn.n_kv_heads, "d_k": attn.d_k, "d_v": attn.d_v,
            "rotary": attn.rotary is not None,
            **{name: base64_of(values, "<f4") for name, values in stacked.items()}}


def thinned(layers: list[int], most: int) -> list[int]:
    """At most `most` of the layers, evenly spaced from the first to the last."""
    places = np.linspace(0, len(layers) - 1, min(max(most, 0), len(layers)))
    return [layers[round(place)] for place in places]


def choose_targets(order: np.ndarray, following: np.ndarray) -> np.ndarray:
    """(T, K): the next token, then the likeliest others; `order` (T, n_vocab) has the likeliest first."""
    others = order[order != following[:, None]].reshape(len(order), -1)  # (T, V - 1)
    return np.concatenate([following[:, None], others[:, : TARGETS - 1]], axis=1)


def gradient_norms(model: GPT, ids: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(K, L + 1, pairs): for each target of each position, the norm of the gradient at each position before it.

    Each row of a batch is the text up to some position, and only that position's target counts. The loss is a mean over
    the rows, so each row receives its own gradient divided by their number.
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
    """The entropy in bits along the last axis: how uncertain a prediction is."""
    positive = np.where(probabilities > 0, probabilities, 1)  # 0 log 0 is 0, and so is 1 log 1
    return -(positive * np.log2(positive)).sum(axis=-1)


def pairs(values: np.ndarray) -> np.ndarray:
    """(..., T, T) -> (..., T (T + 1) / 2): each token with itself and all before it."""
    return values[(..., *np.tril_indices(values.shape[-1]))]


def packed(codes: np.ndarray) -> str:
    """Integers from 0 to 65,535, of any shape, in base64."""
    return base64_of(codes, "<u2")


def base64_of(values: np.typing.ArrayLike, dtype: str) -> str:
    return base64.b64encode(np.asarray(values, dtype).tobytes()).decode("ascii")


def log_packed(values: np.ndarray) -> dict[str, Any]:
    """Numbers from 0 up on a logarithmic scale, as described above."""
    positive = values > 0
    logs = np.log(values[positive]) if positive.any() else np.zeros(1)
    low = float(logs.min())
    step = float(logs.max() - low) / (MAX_CODE - 1) or 1.0
    codes = np.zeros(values.shape)
    codes[positive] = np.rint((np.log(values[positive]) - low) / step) + 1
    return {"low": low, "step": step, "codes": packed(codes)}


def rounded(values: np.ndarray) -> Any:
    """Nested lists of numbers with six significant digits."""
    digits = np.array([float(f"{value:.6g}") for value in values.ravel().tolist()])
    return digits.reshape(values.shape).tolist()
