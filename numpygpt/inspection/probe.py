"""Looking into a trained model: attention, the residual stream, what it predicts, and the gradients that reach it.

Each function leaves the model as it was and looks at a twin of it, so it may run in any thread, also while another one
trains the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from numpygpt.inspection.trace import trace
from numpygpt.models import GPT
from numpygpt.nn.exclusive import alone
from numpygpt.nn.functional import softmax
from numpygpt.nn.modules.checks import check_ids
from numpygpt.nn.replica import evaluation, is_patched, replica
from numpygpt.utils.signals import signals_wait


@contextmanager
def undisturbed(model: GPT) -> Iterator[GPT]:
    """A model with the same parameters, in evaluation mode (no dropout), to run forward and back in place of `model`.

    It is a twin with caches, gradients and random generators of its own. A model whose methods were replaced by a
    user's functions is used itself; its modes and gradients are restored.
    """
    if not is_patched(model):
        yield replica(model).eval()
        return
    grads = model.flat().grads.copy()
    try:
        with alone(model), evaluation(model):
            yield model
    finally:
        with signals_wait():
            model.flat().grads[...] = grads
            model.loss_from = ""  # the layers have the caches of what was looked at: no earlier loss can go back


def check_context(model: GPT, ids: np.ndarray) -> np.ndarray:
    """`ids` as an array (T,). ValueError unless it has 1 to max_len ids of the vocabulary."""
    ids = np.asarray(ids)
    if ids.ndim != 1 or not 1 <= len(ids) <= model.max_len:
        raise ValueError(f"{ids.size:,} tokens: the model sees 1 to {model.max_len:,} at once")
    check_ids(ids, model.config["vocab_size"])
    return ids.astype(np.int64)


def attention_weights(model: GPT, ids: np.ndarray) -> np.ndarray:
    """(L, H, T, T): in each layer and head, how much each token (row) attends to each (column). Rows sum to 1."""
    ids = check_context(model, ids)
    with undisturbed(model) as reader:
        reader.hidden(ids[None])
        return np.stack([block.attn.weights()[0] for block in reader.blocks])


def residual_stream(model: GPT, ids: np.ndarray) -> np.ndarray:
    """(L + 1, T, C): what flows into the first block, and out of each one, at every position."""
    ids = check_context(model, ids)
    with undisturbed(model) as reader, trace(reader, keep=in_stream) as t:
        reader.hidden(ids[None])
    return np.stack([t[name].outputs[0][0] for name in stream_names(model)])


def stream_gradients(model: GPT, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(L + 1, B, T, C): dL/d(residual stream) at the same places, L the mean loss of x against the targets y, (B, T).

    A target of -1 does not count: with all but one at -1 these are the gradients of one position's loss.
    """
    with undisturbed(model) as reader, trace(reader, keep=in_stream) as t:
        reader(x, targets=y)
        reader.backward()
    return np.stack([t[name].gradients[0] for name in stream_names(model)])


def next_probabilities(model: GPT, ids: np.ndarray) -> np.ndarray:
    """(T, V): after each token, the probability of every token to come next."""
    ids = check_context(model, ids)
    with undisturbed(model) as reader:
        return softmax(reader(ids[None])[0][0])


def stream_names(model: GPT) -> list[str]:
    """The modules whose outputs are the residual stream: the embedding with its dropout, then each block."""
    return ["dropout", *(f"blocks.{i}" for i in range(len(model.blocks)))]


def in_stream(name: str) -> bool:
    return name == "dropout" or (name.startswith("blocks.") and name.count(".") == 1)
