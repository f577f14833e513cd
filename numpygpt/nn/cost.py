"""What a layer says about itself: its formulas, and what one call of it costs.

A layer class carries both below its `backward`:

    formula: ClassVar[Formula] = Formula(forward=("Y = X g",), backward=("dX = dY g,  dg = Σ dY X",))

    def cost(self, call: Call) -> Cost:
        return Cost(call.shape, forward=call.size, backward=2 * call.size, cached=call.input_bytes)

Everything that shows a model reads them: trace, summary, the walk through a step, the architecture picture, the memory
estimate and README's table of layers. A layer without them appears too, with unknown costs.

FLOPs are coarse on purpose. A matrix product (m, k) x (k, n) counts 2 m n k, and an element-wise pass 1 per element.
Look-ups, copies and random numbers count nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from numpygpt.nn.modules.module import Module


@dataclass(frozen=True)
class Formula:
    """The mathematics of a layer, in short lines: its output, and its gradients in terms of the output's gradient."""

    forward: tuple[str, ...]
    backward: tuple[str, ...]


@dataclass(frozen=True)
class Call:
    """One call of a module, as far as its costs depend on it."""

    shape: tuple[int, ...]  # of the input
    itemsize: int = 4  # bytes per number
    training: bool = True
    before: int = 0  # tokens already in a KV cache
    input_cached: bool = False  # the module that made the input caches the same array, and counts its bytes
    cached: str = "all"  # or "input", of a layer whose forward runs again before its backward, or "nothing" inside it

    @property
    def size(self) -> int:
        """How many numbers the input has."""
        return math.prod(self.shape)

    @property
    def rows(self) -> int:
        return math.prod(self.shape[:-1])

    @property
    def nbytes(self) -> int:
        return self.size * self.itemsize

    @property
    def input_bytes(self) -> int:
        """What caching the input adds: 0 if another module counts it already."""
        return 0 if self.input_cached else self.nbytes

    def of(self, *shape: int, input_cached: bool = False) -> Call:
        """The same call with an input of another shape: that of a module inside."""
        return replace(self, shape=shape, input_cached=input_cached)

    def wide(self, width: int) -> tuple[int, ...]:
        """The input's shape with another last axis."""
        return (*self.shape[:-1], width)

    def check(self, module: Module, width: int, axes: int = 0) -> None:
        """Raise ValueError unless the last axis is `width` long and, if `axes` is given, there are that many axes."""
        if self.shape[-1] != width or (axes and len(self.shape) != axes):
            rank = f"{axes} axes and " if axes else ""
            raise ValueError(f"{type(module).__name__} needs {rank}a last axis of {width}, got {self.shape}")


class Child(NamedTuple):
    """A module that is called inside another one.

    `residual` names an earlier child whose input is added to this child's output: a residual connection.
    """

    name: str
    module: Module
    call: Call
    residual: str = ""


@dataclass(frozen=True)
class Cost:
    """What one call costs, without the modules inside. `children` are these modules, in call order."""

    output: tuple[int, ...]  # shape; () is one number
    forward: int = 0  # FLOPs
    backward: int = 0
    cached: int = 0  # bytes of activations held until backward
    output_cached: bool = False  # the output is one of the cached arrays
    children: tuple[Child, ...] = ()


def formula_of(module: Any) -> Formula | None:
    """The formula of the module's class, or None if it has none."""
    return module.formula if _described(type(module), "formula") else None


def cost_of(module: Any, call: Call) -> Cost | None:
    """What this call costs, or None if the module's class does not say."""
    cost: Cost | None = module.cost(call) if _described(type(module), "cost") else None
    if cost is None or call.cached == "all":
        return cost
    inside = tuple(child._replace(call=replace(child.call, cached="nothing")) for child in cost.children)
    return replace(cost, backward=cost.forward + cost.backward, children=inside,
                   cached=call.nbytes if call.cached == "input" else 0)


def cached_by(module: Any, call: Call) -> int:
    """Bytes that a module and the modules inside it cache, without those of unknown cost."""
    cost = cost_of(module, call)
    return cost.cached + sum(cached_by(child.module, child.call) for child in cost.children) if cost else 0


def _described(kind: type, name: str) -> bool:
    """Whether the class has a description, `name`, of its own forward and backward. A subclass that overrides one of
    the two computes something else, so it does not inherit the description."""
    for base in kind.__mro__:
        if name in vars(base):
            return True
        if "forward" in vars(base) or "backward" in vars(base):
            return False
    return False
