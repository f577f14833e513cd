"""What a loss means: what the simplest predictors reach on the same validation tokens."""

from __future__ import annotations

import numpy as np

COUNTED = 5_000_000  # training tokens that are counted; more changes the numbers by less than is shown


def unigram_loss(train: np.ndarray, val: np.ndarray, vocab_size: int) -> float:
    """Nats a validation token for a predictor that knows only how often each token occurs (add-one smoothing)."""
    p = _unigram(train[:COUNTED], vocab_size)
    return float(-np.log(p[val[1:]]).mean())


def bigram_loss(train: np.ndarray, val: np.ndarray, vocab_size: int) -> float:
    """Nats a validation token for a predictor that also knows the token before.

    p(b | a) = (count(ab) + p(b)) / (count(a) + 1): the pair's share, leaning on the unigram where a is rare.
    """
    train = train[:COUNTED]
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
