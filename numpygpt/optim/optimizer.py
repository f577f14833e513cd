"""What the optimisers share: the model's contiguous arrays, walked in pieces that stay in cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from numpygpt.nn.functional import CACHE_ENTRIES, pieces
from numpygpt.nn.modules.module import Module


class Optimizer:
    """Base: `step()` updates the parameters from the gradients, `zero_grad()` clears these, `lr` can be set.

    A subclass names its running arrays (`moments`) and writes `update(s)` for a slice `s` of the flat arrays.
    """

    moments: tuple[str, ...] = ()

    def __init__(self, model: Module, lr: float):
        self.model, self.flat, self.steps = model, model.flat(), 0
        self.lr = check("lr", lr, 0 <= lr < float("inf"), "at least 0 and finite")
        for name in self.moments:
            setattr(self, name, np.zeros_like(self.flat.params))

    def update(self, s: slice) -> None:
        raise NotImplementedError

    def step(self) -> None:
        """One update of all parameters."""
        if self.model.flat() is not self.flat:
            raise RuntimeError("the model's parameters were moved (astype, or another optimiser of a larger module) "
                               "since this optimiser was made: make the optimiser anew")
        self.steps += 1
        for s in self.slices():
            self.update(s)

    def slices(self) -> Iterator[slice]:
        """Cache-sized slices of the flat arrays; none crosses from the matrices to the vectors."""
        n = self.flat.n_matrix
        yield from (slice(s.start, min(s.stop, n)) for s in pieces(n, 1, CACHE_ENTRIES))
        yield from (slice(n + s.start, n + s.stop) for s in pieces(len(self.flat.params) - n, 1, CACHE_ENTRIES))

    def zero_grad(self) -> None:
        """Clear the gradients."""
        self.flat.grads.fill(0)

    def state_dict(self) -> dict[str, Any]:
        """{"steps": int, moment: {dotted name: array}}: copies."""
        state: dict[str, Any] = {"steps": self.steps}
        for moment in self.moments:
            state[moment] = {k: v.copy() for k, v in self.flat.views(getattr(self, moment)).items()}
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave. Raises ValueError where it is of another optimiser or another model."""
        missing = [name for name in ("steps", *self.moments) if name not in state]
        if missing:
            raise ValueError(f"the state is not one of {type(self).__name__}: it has no {', '.join(missing)}")
        for moment in self.moments:
            views = self.flat.views(getattr(self, moment))
            if {k: v.shape for k, v in views.items()} != {k: np.shape(v) for k, v in state[moment].items()}:
                raise ValueError(f"the state's {moment} does not fit this model's parameters")
            for name, view in views.items():
                view[...] = state[moment][name]
        self.steps = int(state["steps"])


def check(name: str, value: float, right: bool, rule: str) -> float:
    """`value`, or ValueError with the rule that it breaks."""
    if not right:
        raise ValueError(f"{name} must be {rule}, got {value}")
    return value
