"""Weight initialisers. Each takes a NumPy Generator; values are drawn in float32, so both precisions start alike."""

from __future__ import annotations

import numpy as np

from numpygpt.nn.modules.checks import check_dtype
from numpygpt.nn.skeleton import blank


def normal(rng: np.random.Generator, shape: tuple[int, ...], std: float, dtype: np.typing.DTypeLike) -> np.ndarray:
    """Entries from N(0, std^2). GPT-2 uses std = 0.02 everywhere but in the residual projections."""
    if (paper := blank(shape, dtype)) is not None:
        return paper
    W = rng.standard_normal(shape, dtype=np.float32)
    W *= std
    return W.astype(check_dtype(dtype), copy=False)


def zeros(shape: tuple[int, ...], dtype: np.typing.DTypeLike) -> np.ndarray:
    """Zeros, for biases and for LayerNorm's shift."""
    return np.zeros(shape, check_dtype(dtype)) if (paper := blank(shape, dtype)) is None else paper


def ones(shape: tuple[int, ...], dtype: np.typing.DTypeLike) -> np.ndarray:
    """Ones, for LayerNorm's gain."""
    return np.ones(shape, check_dtype(dtype)) if (paper := blank(shape, dtype)) is None else paper
