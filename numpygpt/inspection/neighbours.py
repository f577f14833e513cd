"""How token vectors are arranged: their principal components, and the nearest by angle."""

from __future__ import annotations

import numpy as np


def principal_components(W: np.ndarray, count: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """(coordinates (N, count), fraction of the variance (count,)) of the rows of W (N, C) along their main directions.

    After subtracting the rows' mean, W = U S V^T: the rows of V^T are the directions, U S the coordinates along them,
    and S^2 / N the variances. The sign of a direction is chosen so that its largest coordinate is positive: a picture
    then does not flip. If W has fewer directions, the others have coordinates and fractions of 0.
    """
    X = W.astype(np.float64) - W.mean(axis=0, dtype=np.float64)  # (N, C)
    U, S, _ = np.linalg.svd(X, full_matrices=False)  # (N, K), (K,) with K = min(N, C)
    found = min(count, len(S))
    XY = np.zeros((len(W), count))
    XY[:, :found] = U[:, :found] * S[:found]
    largest = XY[np.abs(XY).argmax(axis=0), np.arange(count)]  # (count,)
    XY *= np.where(largest < 0, -1.0, 1.0)
    variance = S**2
    fraction = np.zeros(count)
    fraction[:found] = variance[:found] / (variance.sum() or 1.0)
    return XY, fraction


def nearest(W: np.ndarray, id: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(ids, cosines) of the `count` rows of W (n_vocab, C) with the smallest angle to row `id`, without that row.

    Ties go to the lower id. A row of zeros has a cosine of 0 with every other.
    """
    W = W.astype(np.float64)  # the squares of large numbers are infinite in float32, and those of small ones 0
    norms = np.linalg.norm(W, axis=-1)  # (n_vocab,)
    lengths = np.where(norms == 0, 1, norms)
    cosines = (W @ W[id]) / (lengths * lengths[id])  # (n_vocab,)
    order = np.argsort(-cosines.round(12), kind="stable")  # rows with the same direction differ in the last digits
    order = order[order != id][:count]
    return order, cosines[order]
