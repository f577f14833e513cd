"""Each formula once, as a pair: the function and its hand-derived gradient. All act on the last axis of any rank.

A `*_backward` takes dY = dL/doutput and what the forward function cached, and returns dL/dinput.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from numpygpt.nn.backend import entries, number_of, row_sums, sum_rows

GELU_SCALE = math.sqrt(2 / math.pi)  # a Python float: a NumPy float64 would promote every float32 it meets
GELU_CUBIC = 0.044715
CACHE_ENTRIES = 1 << 18  # a piece of 1 MB: small enough for the L2 cache, large enough that calls are few


# A decorator: a number too small for the dtype becomes 0, even if the caller asked NumPy to raise an error for it.
# Softmax and GELU rely on this. Overflow and invalid operations are still handled as the caller wishes.
tiny_is_zero = np.errstate(under="ignore")


def rows(X: np.ndarray) -> np.ndarray:
    """X with all axes but the last merged: (..., C) -> (N, C). A view where X is contiguous."""
    return X.reshape(-1, X.shape[-1])


def column_sums(X: np.ndarray) -> np.ndarray:
    """The sum over all axes but the last: (..., C) -> (C,)."""
    return sum_rows(rows(X))


def row_slices(n: int, width: int, entries: int = CACHE_ENTRIES) -> Iterator[slice]:
    """Slices that cut `n` rows of `width` entries into runs of about `entries` entries each."""
    step = max(1, entries // max(1, width))
    return (slice(start, start + step) for start in range(0, n, step))


# -- softmax: Y_i = exp(X_i) / sum_j exp(X_j) --------------------------------------------------------------------------


def softmax(X: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis."""
    return softmax_lse(X.copy())[0]


@tiny_is_zero
def softmax_lse(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(softmax(X), log sum exp X), both along the last axis; the second keeps it as an axis of length 1.
    Overwrites X.

    Subtracting the maximum does not change the result, and keeps exp from overflowing.
    """
    top, total = softmax_in_place(X)
    return X, top + np.log(total)


def softmax_in_place(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """X becomes softmax(X). Return the maximum of each row, and the sum of exp(X - maximum), as axes of length 1."""
    top = X.max(axis=-1, keepdims=True)
    X -= top
    np.exp(X, out=X)
    total = row_sums(X)[..., None]  # (.., 1)
    X /= total
    return top, total


@tiny_is_zero
def softmax_backward(dY: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """∂Y_i/∂X_j = Y_i (1[i = j] - Y_j), hence dX_j = Y_j (dY_j - sum_i dY_i Y_i)."""
    return Y * (dY - (dY * Y).sum(axis=-1, keepdims=True))


# -- cross-entropy: L = -log softmax(logits)[target], summed over the rows whose target counts -------------------------


@tiny_is_zero
def cross_entropy(logits: np.ndarray, targets: np.ndarray, ignore_index: int = -1) -> tuple[float, np.ndarray]:
    """(sum of the losses, softmax(logits)) for logits (N, n_vocab) and targets (N,). Ignored targets have no loss.

    Overwrites the logits: they become the softmax. The sum is a float, or on a device an array without axes.
    """
    counted = targets != ignore_index
    P = logits
    P -= logits.max(axis=-1, keepdims=True)  # (N, n_vocab)
    # An ignored target may be an invalid index (-1): index 0 is read instead, and its loss is left out of the sum.
    picked = P[np.arange(len(targets), like=P), np.where(counted, targets, 0)]  # (N,)
    np.exp(P, out=P)
    total = P.sum(axis=-1, keepdims=True)  # (N, 1)
    P /= total
    losses = np.log(total[:, 0]) - picked  # -log(exp(picked) / total)
    return number_of(np.where(counted, losses, 0).sum()), P


def cross_entropy_backward(P: np.ndarray, targets: np.ndarray, ignore_index: int = -1) -> np.ndarray:
    """∂(sum of the losses)/∂logits = softmax(logits) - onehot(target), and zero in the rows that do not count.

    Overwrites P, which `cross_entropy` made, and returns it.
    """
    counted = targets != ignore_index
    P[np.arange(len(targets), like=P), np.where(counted, targets, 0)] -= 1
    P[~counted] = 0
    return P


# -- the logistic function, which GELU and SiLU multiply X by ----------------------------------------------------------


@np.errstate(over="ignore")  # of a large X the exponential is infinite, and 1 / (1 + inf) is 0, as it should be
def logistic(X: np.ndarray) -> None:
    """X becomes 1 / (1 + exp(X)), the logistic function of -X."""
    np.exp(X, out=X)
    X += 1
    np.reciprocal(X, out=X)


# -- GELU, the tanh form of GPT-2: Y = X/2 (1 + tanh u),  u = s (X + c X^3) --------------------------------------------


@tiny_is_zero
def gelu(X: np.ndarray, backward: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """(gelu(X), its slope ∂Y/∂X). The slope is computed here, where sigma is known; the gradient needs nothing else.
    Without `backward` it is not computed, and the second array means nothing.

    Y = X sigma with sigma = (1 + tanh u)/2 = 1/(1 + exp(-2u)). As ∂sigma/∂u = 2 sigma (1 - sigma),
    ∂Y/∂X = sigma + X ∂sigma/∂u ∂u/∂X = sigma + Y (1 - sigma) w with w = 2 ∂u/∂X = 2 s (1 + 3 c X^2).
    Hendrycks and Gimpel 2016, section 2.
    """
    Y, slope = np.empty_like(X, order="C"), np.empty_like(X, order="C")
    for x, y, d in _in_cache(X, Y, slope):
        w = x * x
        np.multiply(w, -2 * GELU_SCALE * GELU_CUBIC, out=d)
        d -= 2 * GELU_SCALE
        d *= x  # -2u = -x (2 s + 2 s c x^2)
        logistic(d)  # sigma
        np.multiply(x, d, out=y)
        if backward:
            w *= 6 * GELU_SCALE * GELU_CUBIC
            w += 2 * GELU_SCALE  # w = 2 s + 6 s c x^2
            w *= y
            w *= 1 - d
            d += w  # ∂y/∂x = sigma + y (1 - sigma) w
    return Y, slope


@tiny_is_zero
def gelu_backward(dY: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """dX = dY ∂Y/∂X, element-wise."""
    return dY * slope


# -- SiLU: Y = X s(X), with the logistic function s(x) = 1/(1 + exp(-x)) -----------------------------------------------


@tiny_is_zero
def silu(X: np.ndarray, backward: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """(silu(X), its slope ∂Y/∂X = s + X s (1 - s) = s (1 + (X - Y))), the slope only with `backward`.

    Hendrycks and Gimpel 2016; Elfwing et al. 2017.
    """
    Y, slope = np.empty_like(X, order="C"), np.empty_like(X, order="C")
    for x, y, d in _in_cache(X, Y, slope):
        np.negative(x, out=d)
        logistic(d)  # s
        np.multiply(x, d, out=y)
        if backward:
            t = x - y
            t += 1  # where s is 1, x - y is 0, and a large x does not swallow the 1
            d *= t  # ∂y/∂x
    return Y, slope


@tiny_is_zero
def silu_backward(dY: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """dX = dY ∂Y/∂X, element-wise."""
    return dY * slope


def _in_cache(*arrays: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """The arrays, all of one shape, in slices of rows that are small enough to stay in the cache."""
    flat = [rows(array) for array in arrays]
    n, width = flat[0].shape
    for piece in row_slices(n, width, entries(flat[0], CACHE_ENTRIES)):
        yield tuple(array[piece] for array in flat)


# -- ReLU: Y = max(X, 0) -----------------------------------------------------------------------------------------------


def relu(X: np.ndarray) -> np.ndarray:
    """max(X, 0)."""
    return np.maximum(X, 0)


def relu_backward(dY: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """dX = dY where the output is positive, else 0 (the derivative at exactly 0 is taken as 0)."""
    return dY * (Y > 0)


# -- leaky ReLU: Y = X where X > 0, else a X, with 0 < a < 1 -----------------------------------------------------------


@tiny_is_zero
def leaky_relu(X: np.ndarray, a: float) -> np.ndarray:
    """max(X, a X)."""
    return np.maximum(X, a * X)


@tiny_is_zero
def leaky_relu_backward(dY: np.ndarray, Y: np.ndarray, a: float) -> np.ndarray:
    """dX = dY where the output is positive, else a dY (the derivative at exactly 0 is taken as a)."""
    return np.where(Y > 0, dY, a * dY)
