"""Rotary positions: queries and keys are turned by angles that grow with the position."""

from __future__ import annotations

import functools
import math
from types import ModuleType
from typing import ClassVar

import numpy as np

from numpygpt.nn.backend import gpu_of, like, xp_of
from numpygpt.nn.cost import Call, Cost, Formula
from numpygpt.nn.modules.checks import check_sizes, check_width
from numpygpt.nn.modules.module import Module
from numpygpt.nn.modules.positional import end_of
from numpygpt.utils.checks import number

Table = tuple[np.ndarray, np.ndarray]  # cos and sin, (positions, d_k/2) each


class Rotary(Module):
    """Turn each pair (X_i, X_{i + d_k/2}) of a vector at position t by the angle t f_i, with f_i = theta^(-2i/d_k).

    X, Y: (B, H, T, d_k), d_k even. Vectors keep their length, and the product of a turned query and a turned key
    depends only on how far apart they are. `start` is the position of the first token, one number or one per sequence
    (B,); positions below 0 are padding and are not turned. `scaling` slows the turning for contexts longer than
    trained: "linear:FACTOR" or "llama3:FACTOR:LOW:HIGH:ORIGINAL_MAX_LEN". Caches cos and sin. ValueError past max_len.
    Su et al. 2021; the pairs are those of Hugging Face's Llama, two halves and not neighbours.
    """

    def __init__(self, d_k: int, max_len: int, theta: float = 10000.0, scaling: str = ""):
        self.d_k, self.max_len = check_sizes(d_k=d_k, max_len=max_len)
        self.theta, self.scaling = check_rotary(self.d_k, theta, scaling)

    def forward(self, X: np.ndarray, start: int | np.ndarray = 0) -> np.ndarray:  # X: (B, H, T, d_k)
        check_width(self, X, self.d_k, axes=4)
        last = end_of(X, start, self.max_len)
        length = min(self.max_len, 1 << last.bit_length())
        cos, sin = angles(self.d_k, length, self.theta, self.scaling, X.dtype, xp_of(X), gpu_of(X))
        at = slice(start, last)
        if not isinstance(start, int):
            at = like(np.maximum(np.add.outer(start, np.arange(X.shape[2])), 0)[..., None, :], X)  # (B, 1, T)
        self.cos, self.sin = cos[at], sin[at]  # (T, d_k/2), or (B, 1, T, d_k/2)
        return turned(X, self.cos, self.sin)  # (B, H, T, d_k)

    def backward(self, dY: np.ndarray) -> np.ndarray:  # dY: (B, H, T, d_k)
        return turned(dY, self.cos, -self.sin)  # forward: a turn, whose transpose is the turn back

    formula: ClassVar[Formula] = Formula(
        ("Y = (X₁ cos - X₂ sin, X₂ cos + X₁ sin),  angle t theta^(-2i/d_k)",),
        ("dX = (dY₁ cos + dY₂ sin, dY₂ cos - dY₁ sin)",))  # fmt: skip

    def cost(self, call: Call) -> Cost:
        call.check(self, self.d_k)
        return Cost(call.shape, forward=3 * call.size, backward=3 * call.size)

    def extra_repr(self) -> str:
        scaling = f", scaling={self.scaling!r}" if self.scaling else ""
        return f"{self.d_k}, {self.max_len}, theta={self.theta:g}{scaling}"


def turned(X: np.ndarray, cos: np.ndarray, sin: np.ndarray) -> np.ndarray:
    """The pairs (X_i, X_{i + d_k/2}) turned by their angles. X: (B, H, T, d_k); cos, sin: (.., T, d_k/2)."""
    half = X.shape[-1] // 2
    first, second = X[..., :half], X[..., half:]
    Y = np.empty_like(X)  # in X's order of axes
    np.multiply(first, cos, out=Y[..., :half])
    Y[..., :half] -= second * sin
    np.multiply(second, cos, out=Y[..., half:])
    Y[..., half:] += first * sin
    return Y


@functools.lru_cache(maxsize=16)  # one table for all layers of a model
def angles(d_k: int, length: int, theta: float, scaling: str, dtype: np.dtype, xp: ModuleType = np,
           gpu: int = 0) -> Table:
    """cos and sin of the angles at positions 0 to length - 1. The angles are products of float32 numbers, as in the
    programs that train such models: at long distances the rounding shows. Do not write into them."""
    angle = np.arange(length, dtype=np.float32)[:, None] * frequencies(d_k, theta, scaling).astype(np.float32)
    table = np.cos(angle, dtype=np.float64).astype(dtype), np.sin(angle, dtype=np.float64).astype(dtype)
    return xp.asarray(table[0]), xp.asarray(table[1])


def frequencies(d_k: int, theta: float, scaling: str = "") -> np.ndarray:
    """Radians per position of each pair, (d_k/2,), in float64.

    "linear" divides all by its factor (Chen et al. 2023). "llama3" divides only those that turn less than LOW times in
    the original context, keeps those that turn more than HIGH times, and blends between the two (Llama 3.1).
    """
    found = theta ** -(np.arange(0, d_k, 2) / d_k)
    kind, numbers = parse_scaling(scaling)
    if kind == "linear":
        return found / numbers[0]
    if kind == "llama3":
        factor, low, high, original = numbers
        turns = original * found / (2 * math.pi)  # in the original context
        kept = np.clip((turns - low) / (high - low), 0, 1)
        return found * (kept + (1 - kept) / factor)
    return found


SCALINGS = {"linear": ("FACTOR",), "llama3": ("FACTOR", "LOW", "HIGH", "ORIGINAL_MAX_LEN")}


def parse_scaling(scaling: str) -> tuple[str, tuple[float, ...]]:
    """(kind, its numbers) of a description such as "linear:2"; ("", ()) of an empty one. Raises ValueError."""
    if scaling == "":
        return "", ()
    kind, *words = scaling.split(":") if isinstance(scaling, str) else (scaling,)
    try:
        numbers = tuple(map(float, words))
        fits = len(numbers) == len(SCALINGS[kind]) and all(0 < n < math.inf for n in numbers) and numbers[0] >= 1
    except (ValueError, KeyError, TypeError):
        fits = False
    if not fits or (kind == "llama3" and numbers[1] >= numbers[2]):
        forms = " or ".join(":".join((kind, *names)) for kind, names in SCALINGS.items())
        raise ValueError(f"rope_scaling must be empty, {forms}, with a FACTOR of at least 1 and LOW below HIGH, got "
                         f"{scaling!r:.80}")
    return kind, numbers


def check_rotary(d_k: int, theta: float, scaling: str) -> tuple[float, str]:
    """theta and scaling. ValueError unless they describe angles for queries and keys of `d_k` numbers."""
    theta = number("rope_theta", theta)
    if d_k % 2:
        raise ValueError(f"rotary positions turn pairs, so d_k must be even, got {d_k}")
    if not 1 < theta < math.inf:
        raise ValueError(f"rope_theta must be a finite number above 1, got {theta}")
    parse_scaling(scaling)
    return theta, scaling
