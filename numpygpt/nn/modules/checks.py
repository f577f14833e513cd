"""What a layer asks of its sizes and its input; each a ValueError with what came and what was expected."""

from __future__ import annotations

import numpy as np


def check_sizes(**sizes: int | None) -> None:
    """ValueError for a size that is below one; None stands for a default and passes."""
    for name, size in sizes.items():
        if size is not None and size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")


def check_width(layer: object, X: np.ndarray, width: int) -> None:
    """ValueError unless the last axis of X is `width`: broadcasting would take an axis of one in silence."""
    if X.shape[-1] != width:
        raise ValueError(f"{type(layer).__name__} needs a last axis of {width}, got {X.shape}")


def check_ids(ids: np.ndarray, n: int) -> None:
    """ValueError unless `ids` are integers in 0 .. n - 1 (NumPy would read a negative one from the end in silence)."""
    if ids.dtype.kind not in "iu":
        raise ValueError(f"token ids must be integers, got an array of {ids.dtype}")
    if ids.size and not (0 <= ids.min() and ids.max() < n):
        wrong = ids[(ids < 0) | (ids >= n)].flat[0]
        raise ValueError(f"token id {wrong} is outside this table of {n} (0 to {n - 1}): "
                         "was the text encoded with another tokenizer?")
