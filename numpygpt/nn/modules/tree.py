"""The tree of modules: each one is found by its attributes and named by the path to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np

if TYPE_CHECKING:
    from numpygpt.nn.modules.module import Module


class Tree:
    """The part of `Module` that walks. Modules are found in attributes, and in lists, tuples and dicts there."""

    training: bool = True
    inference: bool = False  # no backward will follow: `forward` need not prepare one

    def children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of the modules directly inside, in the order of the attributes."""
        for name, value in list(vars(self).items()):  # a list: another thread's forward may add caches
            if isinstance(value, HOLDERS):  # most attributes are not: a training step walks the tree several times
                yield from modules_in(name, value)

    def named_modules(self, prefix: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, Module]]:
        """(dotted name, module) of this module and all inside it. A module that is used twice is named once."""
        seen = set() if seen is None else seen
        if id(self) in seen:
            return
        seen.add(id(self))
        yield prefix, cast("Module", self)
        for name, child in self.children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name, seen)

    def generators(self) -> dict[str, np.random.Generator]:
        """The random generators that the modules hold (dropout's), by dotted name. A shared one is named once."""
        found: dict[int, tuple[str, np.random.Generator]] = {}
        for prefix, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, np.random.Generator):
                    found.setdefault(id(value), (f"{prefix}.{name}" if prefix else name, value))
        return dict(found.values())

    def train(self, mode: bool = True) -> Self:
        """Training mode: dropout drops. Returns self."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Evaluation mode: dropout passes everything. Returns self."""
        return self.train(False)

    def extra_repr(self) -> str:
        """The text between the brackets of this layer's line in `repr`."""
        return ""

    def __repr__(self) -> str:
        lines = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self.children()]
        head = f"{type(self).__name__}({self.extra_repr()}"
        return head + ("\n  " + "\n  ".join(lines) + "\n)" if lines else ")")


def modules_in(name: str, value: Any) -> Iterator[tuple[str, Module]]:
    """The modules that an attribute holds: itself, or those in a list, tuple or dict."""
    if isinstance(value, Tree):
        yield name, cast("Module", value)
    elif isinstance(value, (list, tuple, dict)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(item, HOLDERS):
                yield from modules_in(f"{name}.{key}", item)


HOLDERS = (Tree, list, tuple, dict)  # the types in which `modules_in` can find a module


def is_lasting(value: Any) -> bool:
    """Whether a value that `forward` makes is more than a cache: a layer or a random generator."""
    return isinstance(value, np.random.Generator) or any(modules_in("", value))
