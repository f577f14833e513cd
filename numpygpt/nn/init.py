"""Initial values of parameters. They are drawn in float32, so that models of every dtype start alike."""

from __future__ import annotations

import numpy as np

from numpygpt.nn.modules.checks import check_dtype
from numpygpt.nn.skeleton import Fill, open_skeleton


def filled(shape: tuple[int, ...], dtype: np.typing.DTypeLike, fill: Fill) -> np.ndarray:
    """An array that `fill` has written its values into; in a skeleton, one that will be filled later."""
    if (skeleton := open_skeleton()) is not None:
        return skeleton.blank(shape, check_dtype(dtype), fill)
    array = np.empty(shape, check_dtype(dtype))
    fill(array)
    return array


def normal(rng: np.random.Generator, shape: tuple[int, ...], std: float, dtype: np.typing.DTypeLike) -> np.ndarray:
    """Entries from N(0, std^2)."""

    def draw(W: np.ndarray) -> None:
        if W.dtype == np.float32 and W.flags.c_contiguous:
            rng.standard_normal(out=W, dtype=np.float32)
            W *= std
        else:
            W[...] = rng.standard_normal(W.shape, dtype=np.float32) * np.float32(std)

    return filled(shape, dtype, draw)


def zeros(shape: tuple[int, ...], dtype: np.typing.DTypeLike) -> np.ndarray:
    """Zeros, for biases and for LayerNorm's shift."""
    return filled(shape, dtype, lambda array: array.fill(0))


def ones(shape: tuple[int, ...], dtype: np.typing.DTypeLike) -> np.ndarray:
    """Ones, for LayerNorm's gain."""
    return filled(shape, dtype, lambda array: array.fill(1))
