"""Look into a trained model: attention weights, the residual stream, predictions, and gradients.

Each function runs a twin of the model and leaves the model as it was, so it may run in any thread, even while another
thread trains the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from numpygpt.inspection.patch import MethodPatch
from numpygpt.inspection.trace import trace
from numpygpt.models import GPT
from numpygpt.nn.backend import to_host
from numpygpt.nn.exclusive import alone
from numpygpt.nn.functional import softmax
from numpygpt.nn.modules.checks import check_ids
from numpygpt.nn.replica import evaluation, is_patched, replica
from numpygpt.utils.signals import signals_wait


@contextmanager
def eval_twin(model: GPT) -> Iterator[GPT]:
    """A twin of the model in evaluation mode (no dropout), with the same parameters, to run forward and back.

    It has caches and random generators of its own. Its parameters are frozen: `loss` and `backward` compute the
    gradients of activations alone. If a user's functions replaced methods of the model, the model itself is used, and
    its modes and gradients are restored afterwards.
    """
    if not is_patched(model):
        twin = replica(model).eval().requires_grad_(False)
        twin.head_loss.training = True  # which computes its gradient together with the loss
        yield twin
        return
    grads = model.flat().grads.copy()
    try:
        with alone(model), evaluation(model):
            model.head_loss.training = True
            yield model
    finally:
        with signals_wait():
            model.flat().grads[...] = grads
            model.undo_loss = None  # the layers now cache this pass, so no earlier loss can go back


def check_context(model: GPT, ids: np.ndarray) -> np.ndarray:
    """`ids` as an array (T,). Raises ValueError unless it has 1 to max_len ids of the vocabulary."""
    ids = np.asarray(ids)
    if ids.ndim != 1 or not 1 <= len(ids) <= model.max_len:
        raise ValueError(f"{ids.size:,} tokens: the model needs between 1 and {model.max_len:,}")
    check_ids(ids, model.wte.n)
    return ids.astype(np.int64)


def attention_weights(model: GPT, ids: np.ndarray, layers: Sequence[int] | None = None) -> np.ndarray:
    """(L, H, T, T): for each of these layers, by default all, and each head, how much each token (row) attends to each
    (column). Rows sum to 1."""
    ids = check_context(model, ids)
    with eval_twin(model) as reader:
        reader.hidden(ids[None])
        return np.stack([reader.blocks[i].attn.weights()[0] for i in layers or range(len(reader.blocks))])


def residual_stream(model: GPT, ids: np.ndarray) -> np.ndarray:
    """(L + 1, T, C): the input of the first block, then the output of each block, at every position."""
    ids = check_context(model, ids)
    with eval_twin(model) as reader, trace(reader, keep=in_stream, watch=in_stream) as t:
        reader.hidden(ids[None])
    return np.stack([record.outputs[0][0] for record in t])


def stream_gradients(model: GPT, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(L + 1, B, T, C): dL/d(residual stream) at the same places. L is the mean loss of x for the targets y, (B, T).

    A target of -1 does not count. With all but one at -1, these are the gradients of one position's loss.
    """
    with eval_twin(model) as reader, trace(reader, keep=in_stream, watch=in_stream) as t:
        reader.loss(x, y)
        reader.backward()
    return np.stack([record.gradients[0] for record in t])


class HeadArrays(NamedTuple):
    """What the backward pass of one attention layer starts from, for one sequence. All its gradients follow from it."""

    Q: np.ndarray  # (H, T, d_k), not scaled; if the model has rotary positions, after the rotation, as is K
    K: np.ndarray  # (H_kv, T, d_k)
    V: np.ndarray  # (H_kv, T, d_v)
    dO: np.ndarray  # (H, T, d_v): dL/dO, where O is the heads' output


def head_arrays(model: GPT, ids: np.ndarray, following: np.ndarray,
                layers: Sequence[int]) -> tuple[float, list[HeadArrays]]:
    """Return the mean loss of `ids` (T,) for the targets `following` (T,), and the arrays of each of these layers."""
    found: dict[int, HeadArrays] = {}

    def backward(i: int, method: Any, dY: np.ndarray) -> np.ndarray:
        dO = method(dY)  # (1, T, H d_v)
        attn = reader.blocks[i].attn
        heads = dO.reshape(len(ids), attn.n_heads, attn.d_v).swapaxes(0, 1)
        arrays = (attn.Q[0] / attn.scale, attn.K[0], attn.V[0], heads)
        found[i] = HeadArrays(*(to_host(array).copy() for array in arrays))
        return dO

    with eval_twin(model) as reader, ExitStack() as patches:
        for i in layers:
            patch = MethodPatch(reader.blocks[i].attn.proj, "backward", partial(backward, i))
            patches.callback(patch.remove)
        loss = reader.loss(ids[None], following[None])
        reader.backward()
    return float(loss), [found[i] for i in layers]


def next_probabilities(model: GPT, ids: np.ndarray) -> np.ndarray:
    """(T, n_vocab): after each token, the probability of every token to be the next."""
    ids = check_context(model, ids)
    with eval_twin(model) as reader:
        return softmax(reader(ids[None])[0][0])


def stream_names(model: GPT) -> list[str]:
    """The modules whose outputs are the residual stream: the dropout after the embeddings, then each block."""
    return ["dropout", *(f"blocks.{i}" for i in range(len(model.blocks)))]


def in_stream(name: str) -> bool:
    return name == "dropout" or (name.startswith("blocks.") and name.count(".") == 1)
