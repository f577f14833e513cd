"""Modules without memory: their arrays have a shape and a dtype, and get memory and values later, or never.

A model is built as a skeleton to check a checkpoint, to estimate memory, and to take the memory of all its parameters
at once and draw every weight into its final place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpygpt.nn.modules.module import Module

Fill = Callable[[np.ndarray], object]  # writes the values of an array into it


class Skeleton:
    """The arrays that were made in a `with skeleton()` block: each is one number, repeated with strides of 0."""

    def __init__(self) -> None:
        self.fills: dict[int, tuple[np.ndarray, Fill]] = {}  # identity of that number -> the number, how to fill it

    def blank(self, shape: tuple[int, ...], dtype: np.dtype, fill: Fill) -> np.ndarray:
        """A read-only array without memory of its own. MemoryError if no machine could hold it."""
        number = np.zeros((), dtype)
        try:
            array = np.broadcast_to(number, shape)
        except ValueError:  # NumPy cannot count its entries
            raise MemoryError(f"an array of {' x '.join(map(str, shape))}") from None
        self.fills[id(number)] = number, fill
        return array

    def complete(self, module: Module, draw: bool = True) -> None:
        """Give the module's arrays memory, all parameters at once, and their values, in the order of their making. With
        `draw=False` the parameters have no values yet: load all of them."""
        places = {id(getattr(owner, name).base): (owner, name) for _, owner, name in module._owners()}
        for _, owner in module.named_modules():
            for name in owner._constants:
                if (blank := getattr(owner, name)) is not None and id(blank.base) in self.fills:
                    table = np.empty(blank.shape, blank.dtype)
                    self.fills[id(blank.base)][1](table)
                    vars(owner)[name] = table
        if places:
            module.flat()
        for key, (_, fill) in self.fills.items() if draw else ():
            if key in places:
                owner, name = places[key]
                fill(getattr(owner, name))


_open: ContextVar[Skeleton | None] = ContextVar("skeleton", default=None)


@contextmanager
def skeleton() -> Iterator[Skeleton]:
    """A block in which new parameters and constants take no memory. Inside another one it is the same skeleton."""
    token = _open.set(_open.get() or Skeleton())
    try:
        yield _open.get()  # type: ignore[misc]
    finally:
        _open.reset(token)


def open_skeleton() -> Skeleton | None:
    """The skeleton whose block is open, or None."""
    return _open.get()
