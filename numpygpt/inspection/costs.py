"""What a module costs, from the shape of its input alone: operations both ways, and bytes kept for backward.

Operations are counted as NumPy performs them on floating-point numbers:

- a matrix product, (n, k) times (k, m), is 2 n k m: each multiplication with its addition is two; so is a row of dot
  products, or a sum of products written as an einsum;
- elsewhere each + - * / maximum, comparison, exp, log, tanh or square root is 1 for each number that it makes. Adding a
  gradient to those that are there (`+=`) is such an addition;
- a sum or a maximum of n numbers is n - 1.

Copies, look-ups, integers, random draws and what is done once a call are free; every target counts (none is ignored). A
cost is that of a module alone; the modules inside have their own. `formulas` has a function for each layer; a class
that is not in the table has unknown costs, never none. To enter yours:

    @costs_of(Scale)                                   # Y = X g, which keeps X
    def scale(layer: Scale, call: Call) -> Cost:
        n = call.entries
        return Cost(call.shape, forward=n, backward=3 * n, cached=call.input_bytes)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from numpygpt.nn.modules.embedding import Unembedding
from numpygpt.nn.modules.loss import LinearCrossEntropy
from numpygpt.nn.modules.module import Module


@dataclass(frozen=True)
class Call:
    """One call of a module, as far as its costs depend on it."""

    shape: tuple[int, ...]  # of the input
    size: int = 4  # bytes of a number
    training: bool = True
    before: int = 0  # tokens that a KV cache holds already
    input_counted: bool = False  # the input is an array that the module before keeps: its bytes are counted there

    @property
    def entries(self) -> int:
        return math.prod(self.shape)

    @property
    def rows(self) -> int:
        return math.prod(self.shape[:-1])

    @property
    def input_bytes(self) -> int:
        """What keeping the input costs."""
        return 0 if self.input_counted else self.entries * self.size

    def check(self, module: Module, width: int, axes: int = 0) -> None:
        """ValueError unless the input is as wide as the module takes it, and has that many axes where it must."""
        if self.shape[-1] != width or (axes and len(self.shape) != axes):
            rank = f"{axes} axes and " if axes else ""
            raise ValueError(f"{type(module).__name__} needs {rank}a last axis of {width}, got {self.shape}")

    def wide(self, width: int) -> tuple[int, ...]:
        """The shape with another last axis."""
        return (*self.shape[:-1], width)


class Inside(NamedTuple):
    """A module that is called inside another one, and with what."""

    name: str
    module: Module
    shape: tuple[int, ...]
    input_counted: bool = False


@dataclass(frozen=True)
class Cost:
    """What one call costs, without the modules inside."""

    output: tuple[int, ...]  # shape; () is one number
    forward: int = 0
    backward: int = 0
    cached: int = 0  # bytes
    keeps_output: bool = False  # the output is among the arrays in `cached`
    inside: tuple[Inside, ...] = ()  # in the order in which forward (of a GPT: loss) calls them


TABLE: dict[type[Module], Callable[[Any, Call], Cost]] = {}


def costs_of(kind: type[Module]) -> Callable[[Callable[[Any, Call], Cost]], Callable[[Any, Call], Cost]]:
    """Enter the function below as that which knows what this class costs."""
    def enter(function: Callable[[Any, Call], Cost]) -> Callable[[Any, Call], Cost]:
        TABLE[kind] = function
        return function
    return enter


def cost(module: Module, call: Call) -> Cost | None:
    """What this call costs, or None of a class that is not in the table (a subclass is another class)."""
    known = TABLE.get(type(module))
    return known(module, call) if known else None


def operations(module: Module, shape: tuple[int, ...], before: int = 0) -> tuple[int | None, int | None]:
    """(forward, backward) operations of this module alone for an input of `shape`, in the mode in which it is. None
    where they are unknown."""
    found = cost(module, Call(shape, training=module.training, before=before))
    return (found.forward, found.backward) if found else (None, None)


def learned(modules: Iterable[Module]) -> list[int]:
    """How many numbers each of these learns itself. A table that a head only reads counts at the head, unless it is one
    of them as well (tied to the token embedding) or was counted at another head."""
    modules = list(modules)
    counted = {id(module) for module in modules}
    found: list[int] = []
    seen: set[int] = set()
    for module in modules:
        if id(module) in seen:
            found.append(0)
            continue
        seen.add(id(module))
        head = module.head if isinstance(module, LinearCrossEntropy) else module
        tables = [head.embedding] if isinstance(head, Unembedding) else []
        tables = [table for table in tables if id(table) not in counted]
        counted |= {id(table) for table in tables}
        found.append(sum(getattr(owner, name).size for owner in (module, *tables) for name in owner._params))
    return found
