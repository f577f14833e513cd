"""Writing text: choosing the next token, and a KV cache so that each step costs one token's work."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from numpygpt.nn.backend import to_host
from numpygpt.nn.exclusive import alone
from numpygpt.nn.finite import check_logits
from numpygpt.nn.functional import softmax
from numpygpt.nn.modules.attention import KVCache
from numpygpt.nn.modules.checks import check_ids
from numpygpt.nn.replica import evaluation, is_patched, replica
from numpygpt.parallel.threads import THREADS, blas_threads
from numpygpt.utils.checks import integer, number

if TYPE_CHECKING:
    from numpygpt.models.gpt import GPT


SMALL = 20_000_000  # parameters; below, one BLAS thread writes as fast as two
PIECE = 512  # tokens of a prompt that are read at once
PADDING = -1  # at the left of a shorter sequence: not a token
GREEDY = 1e-30  # a temperature below this would divide beyond the range of float32


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. Raises ValueError for values out of range."""

    temperature: float = 1.0  # 0: always the most likely token
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        number("temperature", self.temperature)
        if self.top_k is not None:
            integer("top_k", self.top_k)
        if self.top_p is not None:
            number("top_p", self.top_p)
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature must be 0 (greedy) or a finite number above it, got {self.temperature:.15g}")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k must be at least 1, got {self.top_k}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, got {self.top_p:.15g}")


# A quotient beyond the dtype's range is a probability of 0, and a tiny probability may become 0: both are intended.
@np.errstate(over="ignore", under="ignore")
def probabilities(logits: np.ndarray, sampling: Sampling) -> np.ndarray:
    """The distribution (B, n_vocab) that the next token is drawn from: temperature, then top-k, then top-p.

    Tokens as likely as the k-th are all kept. Top-p keeps the fewest tokens whose probabilities reach p, at least one
    (Holtzman et al. 2020, nucleus sampling). Temperature 0 puts everything on the most likely token.
    """
    if sampling.temperature < GREEDY:
        return np.eye(logits.shape[-1], dtype=logits.dtype)[logits.argmax(axis=-1)]
    # The maximum is subtracted first: a tiny temperature then gives -inf, a probability of 0, and never inf - inf.
    scores = logits - logits.max(axis=-1, keepdims=True)
    scores = np.divide(scores, sampling.temperature, dtype=np.promote_types(scores.dtype, np.float32))
    if sampling.top_k is not None and sampling.top_k < scores.shape[-1]:
        kth = np.partition(scores, -sampling.top_k, axis=-1)[:, -sampling.top_k, None]
        scores[scores < kth] = -np.inf
    P = softmax(scores)
    if sampling.top_p is not None and sampling.top_p < 1:
        order = np.argsort(-P, axis=-1, kind="stable")
        ordered = np.take_along_axis(P, order, axis=-1)
        beyond = ordered.cumsum(axis=-1) - ordered >= sampling.top_p  # those before it already hold p
        beyond[..., 0] = False  # a tiny p is 0 in float32
        np.put_along_axis(P, order, np.where(beyond, 0, ordered), axis=-1)
        P /= P.sum(axis=-1, keepdims=True)
    return P


def sample(logits: np.ndarray, sampling: Sampling, rngs: list[np.random.Generator]) -> np.ndarray:
    """One token (B,) for each row of logits (B, n_vocab), drawn with the row's own generator."""
    if sampling.temperature < GREEDY:
        return logits.argmax(axis=-1)
    cumulative = probabilities(logits, sampling).cumsum(axis=-1, dtype=np.float64)  # (B, n_vocab)
    total = cumulative[:, -1]  # 1 only up to rounding, so the uniform draw from [0, 1) is scaled to it, and stays below
    u = np.minimum([rng.random() for rng in rngs] * total, np.nextafter(total, 0))
    return (cumulative <= u[:, None]).sum(axis=-1)  # the first token whose cumulative probability is above u


def as_array(context: Any) -> np.ndarray:
    """The context as one array (B, T). Sequences of unequal length get PADDING on the left."""
    if not isinstance(context, (list, tuple)) or len({np.shape(row)[:1] for row in context}) < 2:
        return np.asarray(context)
    rows = [np.asarray(row) for row in context]
    if wrong := [row.shape for row in rows if row.ndim != 1 or not row.size]:
        raise ValueError("each sequence of context must be a list of at least one token id, got an array of shape "
                         f"{wrong[0]}")
    T = max(map(len, rows))
    return np.stack([np.concatenate([np.full(T - len(row), PADDING), row]) for row in rows])


def unpadded(context: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(context with 0 in place of PADDING, the number of tokens (B,) of each sequence), or ValueError."""
    if context.ndim != 2 or context.shape[1] == 0:
        raise ValueError(f"context must be (batch, time) token ids with at least one token, got shape {context.shape}")
    if context.dtype.kind != "i":
        return context, np.full(*context.shape)
    token = np.logical_or.accumulate(context != PADDING, axis=1)  # from the first token on
    if not token[:, -1].all():
        raise ValueError(f"sequence {token[:, -1].argmin()} of context has no token, only padding ({PADDING})")
    return np.where(token, context, 0), token.sum(axis=1)


def new_caches(model: GPT, batch: int, tokens: int | None = None) -> list[KVCache]:
    """Empty caches, one per block, with room for this many tokens, by default the model's whole context."""
    first, layers = first_param(model), [block.attn for block in model.blocks]
    tokens = model.max_len if tokens is None else tokens
    return [KVCache(batch, attn.n_kv_heads, tokens, attn.d_k, attn.d_v, first.dtype, first) for attn in layers]


def first_param(model: GPT) -> np.ndarray:
    """A parameter of the model: all have its dtype, its device, and move with it."""
    return next(param for _, param in model.named_parameters())


def steps(model: GPT, context: np.ndarray, max_new_tokens: int, sampling: Sampling, seed: int, stop: int | None,
          slide: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (the next token of each sequence (B,), the logits (B, n_vocab) that it was drawn by), one step at a time.

    Arguments are checked here, at the call; tokens come as they are asked for. What the model learns between two tokens
    counts for the second. Raises NotFinite if the logits are not finite.
    """
    context, lengths = unpadded(context)
    check_ids(context, model.config.vocab_size)
    max_new_tokens, seed = integer("max_new_tokens", max_new_tokens), integer("seed", seed)
    slide, stop = integer("slide", slide), None if stop is None else integer("stop", stop)
    if max_new_tokens < 0:
        raise ValueError(f"max_new_tokens must be at least 0, got {max_new_tokens}")
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    if not 1 <= slide <= model.max_len:
        raise ValueError(f"slide must be between 1 and the context length {model.max_len}, got {slide}")
    return _steps(model, context, lengths, max_new_tokens, sampling, seed, stop, slide)


def _steps(model: GPT, context: np.ndarray, lengths: np.ndarray, max_new_tokens: int, sampling: Sampling, seed: int,
           stop: int | None, slide: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    B, max_len = len(context), model.max_len
    last = deque(context.T[-max_len:], max_len)  # each (B,): as many tokens as the model sees
    rngs = [np.random.default_rng([seed, i]) for i in range(B)]
    done = np.zeros(B, bool)
    visible = np.minimum(lengths, max_len)  # (B,): how many of its last tokens each sequence sees
    room = min(int(visible.max(initial=1)) + max_new_tokens, max_len)
    caches, reader = new_caches(model, B, room), reader_of(model)
    for _ in range(max_new_tokens):
        if (visible > max_len).any():  # full: positions change, so the caches are of no use any more
            visible[visible > max_len] = max_len - slide + 1
            caches = new_caches(model, B, room)
        longest = visible.max(initial=1)
        pad = longest - visible  # (B,): the shorter sequences begin with padding
        new = list(last)[caches[0].length - longest :]  # those that are not in the caches yet
        if first_param(reader) is not first_param(model):  # they were moved (astype, a larger module's optimiser)
            reader = reader_of(model)
        with as_reader(model) if reader is model else nullcontext():
            logits = to_host(next_logits(reader, np.stack(new, axis=1), caches, pad if pad.any() else None))
        check_logits(logits, reader.named_parameters())
        ids = sample(logits, sampling, rngs)
        if stop is not None:
            ids[done] = stop
            done |= ids == stop
        last.append(ids)
        visible += 1
        yield ids.copy(), logits
        if done.all():
            return


def reader_of(model: GPT) -> GPT:
    """The model that writes one text: a twin in evaluation mode, with caches of its own.

    If a user's functions have replaced methods of the model, it is the model itself; `as_reader` then refuses other
    threads.
    """
    if is_patched(model):
        return model
    reader = replica(model).eval()
    for _, module in reader.named_modules():
        module.inference = True
    return reader


@contextmanager
def as_reader(model: GPT) -> Iterator[None]:
    """A `with` block in which the model itself writes a token."""
    with alone(model), evaluation(model):
        yield


def blas_for(model: GPT) -> AbstractContextManager:
    """One BLAS thread for a small model, whose products are too small to share: a second thread gains nothing, and on a
    busy machine the two wait for each other. All of them for a large one.

    For a program that does nothing else meanwhile: the limit also holds for a model that another thread trains, and
    changes the rounding of its products.
    """
    return blas_threads(1) if model.n_params() < SMALL else nullcontext()


def only_thread() -> bool:
    """Whether nothing else can run in this process meanwhile: its other threads, if any, wait for a DataParallel."""
    return all(thread is threading.current_thread() or thread.name.startswith(THREADS)
               for thread in threading.enumerate())


def next_logits(model: GPT, new: np.ndarray, caches: list[KVCache], pad: np.ndarray | None = None) -> np.ndarray:
    """The logits (B, n_vocab) of the token after `new` (B, T), which follow the tokens in the caches. A long text is
    read in pieces, so that only the activations of one piece are in memory; a padded batch at once, as a piece of it
    could be padding alone."""
    size = PIECE if pad is None else new.shape[1]
    for first in range(0, new.shape[1], size):
        X = model.hidden(new[:, first : first + size], caches, pad)  # (B, t, C)
    return model.head(X[:, -1])  # only the last position predicts something new
