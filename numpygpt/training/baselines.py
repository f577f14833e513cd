"""What a loss means: the losses of the simplest predictors on the same validation tokens."""

from __future__ import annotations

import numpy as np

MAX_COUNTED = 5_000_000  # training tokens to count; counting more changes no digit that is shown


def unigram_loss(train: np.ndarray, val: np.ndarray, vocab_size: int) -> float:
    """Return the loss, in nats per token, of a predictor that knows how often each token occurs (add-one smoothing)."""
    p = _unigram(train[:MAX_COUNTED], vocab_size)
    return float(-np.log(p[val[1:]]).mean())


def bigram_loss(train: np.ndarray, val: np.ndarray, vocab_size: int) -> float:
    """Return the loss, in nats per token, of a predictor that also knows the previous token.

        p(b | a) = (count(ab) + p(b)) / (count(a) + 1)

    The rarer a is, the more this relies on the unigram probability p(b).
    """
    train = train[:MAX_COUNTED]
    p = _unigram(train, vocab_size)
    seen, counts = np.unique(_pairs(train, vocab_size), return_counts=True)
    wanted = _pairs(val, vocab_size)
    at = np.searchsorted(seen, wanted).clip(max=len(seen) - 1)
    pair = np.where(seen[at] == wanted, counts[at], 0)
    before = np.bincount(train[:-1], minlength=vocab_size)
    return float(-np.log((pair + p[val[1:]]) / (before[val[:-1]] + 1)).mean())


def _unigram(tokens: np.ndarray, vocab_size: int) -> np.ndarray:
    counts = np.bincount(tokens, minlength=vocab_size) + 1
    return counts / counts.sum()


def _pairs(tokens: np.ndarray, vocab_size: int) -> np.ndarray:
    return tokens[:-1].astype(np.int64) * vocab_size + tokens[1:]
