"""Checks of plain arguments. Each returns the value as a Python number, or raises ValueError with its name."""

from __future__ import annotations

import numbers
from typing import Any


def integer(name: str, value: Any) -> int:
    """A Python int from an int or a NumPy integer; ValueError for anything else, True and 4.0 included."""
    found = unboxed(value)
    if type(found) is not int:
        write = f": write {int(found)}" if isinstance(found, float) and found.is_integer() else ""
        raise ValueError(f"{name} must be an integer, got {found!r:.80}{write}")
    return found


def number(name: str, value: Any) -> float:
    """A Python int or float from any real number; ValueError for anything else, True included."""
    found = unboxed(value)
    if isinstance(found, bool) or not isinstance(found, numbers.Real):
        raise ValueError(f"{name} must be a number, got {found!r:.80}")
    return found if isinstance(found, int) else float(found)


def boolean(name: str, value: Any) -> bool:
    """True or False; ValueError for anything else."""
    found = unboxed(value)
    if not isinstance(found, bool):
        raise ValueError(f"{name} must be True or False, got {found!r:.80}")
    return found


def unboxed(value: Any) -> Any:
    """A NumPy scalar or an array without axes as the Python value that it holds; any other value unchanged."""
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value
