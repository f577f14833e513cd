"""What a module costs: floating-point operations, and the bytes that it keeps for its backward."""

from __future__ import annotations

from typing import Any

import numpy as np

from numpygpt.nn.modules.module import Module


def operations(module: Module, shape: tuple[int, ...]) -> tuple[int, int]:
    """(forward, backward) floating-point operations of this module alone for an input of `shape`."""
    return 0, 0


def cached_arrays(module: Module) -> dict[int, int]:
    """{identity: bytes} of the arrays that this module alone keeps besides parameters, gradients and constants.

    A view counts as the array that it looks into: that is what stays in memory.
    """
    found: dict[int, int] = {}
    for name, value in vars(module).items():
        if name in module._owned or name in module._constants:
            continue
        for array in _arrays(value):
            while isinstance(array.base, np.ndarray):
                array = array.base
            found[id(array)] = array.nbytes
    return found


def _arrays(value: Any) -> list[np.ndarray]:
    """The arrays that an attribute holds: itself, or those in a list, tuple or dict."""
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [item for item in value if isinstance(item, np.ndarray)] if isinstance(value, (list, tuple)) else []
