"""Writing text: choosing the next token, and a KV cache so that each step costs one token's work."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

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
    """The distribution (B, V) that the next token is drawn from: temperature, then top-k, then top-p.

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
    """One token (B,) for each row of logits (B, V), drawn with the row's own generator."""
    if sampling.temperature < GREEDY:
        return logits.argmax(axis=-1)
    cumulative = probabilities(logits, sampling).cumsum(axis=-1, dtype=np.float64)  # (B, V)
    total = cumulative[:, -1]  # 1 only up to rounding, so the uniform draw from [0, 1) is scaled to it, and stays below
    u = np.minimum([rng.random() for rng in rngs] * total, np.nextafter(total, 0))
    return (cumulative <= u[:, None]).sum(axis=-1)  # the first token whose cumulative probability is above u


def as_array(context: ArrayLike) -> np.ndarray:
    """The context as an array. ValueError if its sequences have different lengths."""
    try:
        return np.asarray(context)
    except ValueError as error:
        raise ValueError("the sequences of context must be equally long: generate from one sequence at a time, or cut "
                         "them to the same length") from error


def new_caches(model: GPT, batch: int) -> list[KVCache]:
    """Empty caches, one per block, with room for the model's whole context."""
    dtype, layers = model.wte.W.dtype, [block.attn for block in model.blocks]
    return [KVCache(batch, attn.n_kv_heads, model.max_len, attn.d_k, attn.d_v, dtype) for attn in layers]


def steps(model: GPT, context: np.ndarray, max_new_tokens: int, sampling: Sampling, seed: int, stop: int | None,
          slide: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (the next token of each sequence (B,), the logits (B, V) that it was drawn by), one step at a time.

    Arguments are checked here, at the call; tokens come as they are asked for. What the model learns between two tokens
    counts for the second. Raises NotFinite if the logits are not finite.
    """
    if context.ndim != 2 or context.shape[1] == 0:
        raise ValueError(f"context must be (batch, time) token ids with at least one token, got shape {context.shape}")
    check_ids(context, model.config.vocab_size)
    max_new_tokens, seed = integer("max_new_tokens", max_new_tokens), integer("seed", seed)
    slide, stop = integer("slide", slide), None if stop is None else integer("stop", stop)
    if max_new_tokens < 0:
        raise ValueError(f"max_new_tokens must be at least 0, got {max_new_tokens}")
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    if not 1 <= slide <= model.max_len:
        raise ValueError(f"slide must be between 1 and the context length {model.max_len}, got {slide}")
    return _steps(model, context, max_new_tokens, sampling, seed, stop, slide)


def _steps(model: GPT, context: np.ndarray, max_new_tokens: int, sampling: Sampling, seed: int, stop: int | None,
           slide: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    B, given = context.shape
    last = deque(context.T[-model.max_len :], model.max_len)  # each (B,): as many tokens as the model sees
    rngs = [np.random.default_rng([seed, i]) for i in range(B)]
    done = np.zeros(B, bool)
    seen = 0  # the tokens from place `start` up to `seen` are in the caches
    start = max(0, given - model.max_len)
    caches, reader = new_caches(model, B), reader_of(model)
    for n in range(given, given + max_new_tokens):
        if n - start > model.max_len:  # full: every position changes, so the caches are of no use any more
            start = n - model.max_len + slide - 1
            seen, caches = start, new_caches(model, B)
        new = list(last)[max(seen, start) - n :]
        if reader.wte.W is not model.wte.W:  # the model's parameters were moved (astype, a larger module's optimiser)
            reader = reader_of(model)
        with as_reader(model) if reader is model else nullcontext():
            logits = next_logits(reader, np.stack(new, axis=1), caches)
        check_logits(logits, reader.named_parameters())
        seen = n
        ids = sample(logits, sampling, rngs)
        if stop is not None:
            ids[done] = stop
            done |= ids == stop
        last.append(ids)
        yield ids.copy(), logits
        if done.all():
            return


def reader_of(model: GPT) -> GPT:
    """The model that writes one text: a twin in evaluation mode, with caches of its own.

    If a user's functions have replaced methods of the model, it is the model itself; `as_reader` then refuses other
    threads.
    """
    return model if is_patched(model) else replica(model).eval()


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


def next_logits(model: GPT, new: np.ndarray, caches: list[KVCache]) -> np.ndarray:
    """The logits (B, V) of the token after `new` (B, T), which follow the tokens in the caches."""
    return model.head(model.hidden(new, caches)[:, -1])  # only the last position predicts something new
