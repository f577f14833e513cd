"""Less memory for more time: only the input of a layer is cached, and its forward runs again before its backward.

Chen et al. 2016, "Training deep nets with sublinear memory cost".
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from numpygpt.nn.modules.copies import drop_caches
from numpygpt.nn.modules.module import Module

States = list[tuple[np.random.Generator, Any]]  # random generators, and the state of each


class Inputs:
    """The inputs of layers that were called one after the other, until their backward.

        Y = inputs.forward(layer, X)      # layer(X), without what it caches
        dX = inputs.backward(layer, dY)   # layer(X) again, then layer.backward(dY); the last layer first

    The second forward draws the random numbers of the first one, so its dropout masks are the same, and the gradients
    are equal to the last bit.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[tuple[Any, ...], States]] = []  # arguments, and the generators before the call

    def forward(self, layer: Module, *args: Any) -> Any:
        self.calls.append((args, states_of(layer)))
        Y = layer(*args)
        forget(layer)
        return Y

    def backward(self, layer: Module, dY: np.ndarray) -> np.ndarray:
        args, states = self.calls.pop()
        with restarted(states):
            layer(*args)  # caches what the next line needs
        dX = layer.backward(dY)
        forget(layer)
        return dX


def states_of(layer: Module) -> States:
    return [(rng, rng.bit_generator.state) for rng in layer.generators().values()]


@contextmanager
def restarted(states: States) -> Iterator[None]:
    """A `with` block in which random generators draw from earlier states on. Afterwards they are where they were."""
    now = [(rng, rng.bit_generator.state) for rng, _ in states]
    try:
        for rng, state in states:
            rng.bit_generator.state = state
        yield
    finally:
        for rng, state in now:
            rng.bit_generator.state = state


def forget(layer: Module) -> None:
    """Delete the caches of a layer and of all inside it."""
    for _, module in layer.named_modules():
        drop_caches(module)
