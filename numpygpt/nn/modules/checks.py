"""Checks of a layer's sizes and input. Each raises a ValueError that says what was given and what is expected."""

from __future__ import annotations

from typing import Any

import numpy as np

from numpygpt.utils.checks import integer

DEFAULTED = ("d_ff", "d_k", "d_v", "n_kv_heads")  # sizes that may be None
DTYPES = ("float16", "float32", "float64")


def check_sizes(**sizes: Any) -> list[Any]:
    """The sizes as Python ints. ValueError unless each is an integer of at least 1, or None if it has a default."""
    found = [None if size is None and name in DEFAULTED else integer(name, size) for name, size in sizes.items()]
    for name, size in zip(sizes, found, strict=True):
        if size is not None and size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")
    return found


def check_dtype(dtype: object) -> np.dtype:
    """The dtype, or ValueError if a model cannot have it."""
    try:
        found = None if dtype is None else np.dtype(dtype)  # type: ignore[call-overload]
    except TypeError:
        found = None
    if found is None or found.name not in DTYPES or not found.isnative:
        raise ValueError(f"dtype must be a floating-point type such as float32, got {dtype!r:.80}: give one of "
                         f"{', '.join(DTYPES)}")
    return found


def check_array(user: object, X: Any, floats: bool = False) -> None:
    """ValueError unless X is an array (with `floats`, of floating-point numbers). `user` is a layer, or its name."""
    name = user if isinstance(user, str) else type(user).__name__
    if not hasattr(X, "__array_function__"):  # lists, numbers and other libraries' tensors have none
        raise ValueError(f"{name} needs a NumPy array, got {described(X)}")
    if X.dtype.kind not in ("f" if floats else "fiub"):
        raise ValueError(f"{name} needs floating-point numbers, got an array of {X.dtype}: use "
                         "X.astype(np.float32)")


def described(X: Any) -> str:
    """The type of X, which is not an array, and how to make an array of it."""
    kind = type(X).__name__
    if hasattr(X, "detach"):
        return f"{kind}: write x.detach().numpy()"
    return f"{kind}: write np.array(x)" if isinstance(X, (list, tuple, int, float)) else kind


def check_width(layer: object, X: Any, width: int, axes: int = 1) -> None:
    """ValueError unless X has at least `axes` axes and the last one has length `width`. Broadcasting would silently
    accept a length of one."""
    check_array(layer, X)
    if X.ndim < axes or X.shape[-1] != width:
        shape = {2: " of an array (T, C)", 3: " of an array (B, T, C)"}.get(axes, "")
        raise ValueError(f"{type(layer).__name__} needs a last axis of {width}{shape}, got {X.shape}")


def check_pad(pad: Any, batch: int, length: int) -> np.ndarray | None:
    """pad as an array (batch,), or None without padding. ValueError unless it says for each sequence how many of its
    `length` tokens, at the left, are padding; at least one is not."""
    if pad is None:
        return None
    found = np.asarray(pad)
    if found.shape != (batch,) or found.dtype.kind not in "iu":
        raise ValueError(f"pad must be {batch} integers, one per sequence, got {found.dtype} of shape {found.shape}")
    found = found.astype(np.int64)
    if batch and not 0 <= found.min() <= found.max() < length:
        wrong = found[(found < 0) | (found >= length)][0]
        raise ValueError(f"pad {wrong} is outside 0 to {length - 1}: of {length} tokens, at least one is not padding")
    return found


def check_ids(ids: np.ndarray, n: int) -> None:
    """ValueError unless `ids` are integers in 0 .. n - 1. NumPy would silently read a negative one from the end."""
    if not hasattr(ids, "__array_function__"):
        raise ValueError(f"token ids must be an integer array, got {described(ids)}")
    if ids.dtype.kind not in "iu":
        raise ValueError(f"token ids must be integers, got an array of {ids.dtype}: use ids.astype(np.int64)")
    if ids.size and not (0 <= ids.min() and ids.max() < n):
        wrong = ids[(ids < 0) | (ids >= n)].flat[0]
        raise ValueError(f"token id {wrong} is outside this table of {n} (0 to {n - 1}): "
                         "was the text encoded with another tokenizer?")
