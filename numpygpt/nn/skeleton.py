"""Models on paper: arrays that have a shape and a dtype but take no memory. What a model costs follows from these."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

_skeleton: ContextVar[bool] = ContextVar("skeleton", default=False)


@contextmanager
def skeleton() -> Iterator[None]:
    """A block in which new parameters, gradients and tables take no memory."""
    token = _skeleton.set(True)
    try:
        yield
    finally:
        _skeleton.reset(token)


def in_skeleton() -> bool:
    """Whether a `skeleton` block is open."""
    return _skeleton.get()


def blank(shape: tuple[int, ...], dtype: np.typing.DTypeLike) -> np.ndarray | None:
    """An array without memory of its own, which cannot be written to, inside `skeleton`; else None."""
    if not in_skeleton():
        return None
    try:
        return np.broadcast_to(np.zeros((), dtype), shape)
    except ValueError:  # NumPy cannot count its entries
        raise MemoryError(f"an array of {' x '.join(map(str, shape))}") from None
