"""Weight initialisers. Each takes a NumPy Generator; values are drawn in float32, so both precisions start alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

_on_paper: ContextVar[bool] = ContextVar("on_paper", default=False)


@contextmanager
def on_paper() -> Iterator[None]:
    """A block in which arrays have a shape and a dtype, but take no memory: what a model costs follows from these."""
    token = _on_paper.set(True)
    try:
        yield
    finally:
        _on_paper.reset(token)


def blank(shape: tuple[int, ...], dtype: np.typing.DTypeLike) -> np.ndarray | None:
    """An array without memory of its own, which cannot be written to, inside `on_paper`; else None."""
    if not _on_paper.get():
        return None
    try:
        return np.broadcast_to(np.zeros((), dtype), shape)
    except ValueError:  # NumPy cannot count its entries
        raise MemoryError(f"an array of {' x '.join(map(str, shape))}") from None


def normal(rng: np.random.Generator, shape: tuple[int, ...], std: float, dtype: np.typing.DTypeLike) -> np.ndarray:
    """Entries from N(0, std^2). GPT-2 uses std = 0.02 everywhere but in the residual projections."""
    if (paper := blank(shape, dtype)) is not None:
        return paper
    W = rng.standard_normal(shape, dtype=np.float32)
    W *= std
    return W.astype(dtype, copy=False)


def zeros(shape: tuple[int, ...], dtype: np.typing.DTypeLike) -> np.ndarray:
    """Zeros, for biases and for LayerNorm's shift."""
    return np.zeros(shape, dtype) if (paper := blank(shape, dtype)) is None else paper


def ones(shape: tuple[int, ...], dtype: np.typing.DTypeLike) -> np.ndarray:
    """Ones, for LayerNorm's gain."""
    return np.ones(shape, dtype) if (paper := blank(shape, dtype)) is None else paper
