"""What the optimisers share: the model's contiguous arrays, walked in pieces that stay in cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from numpygpt.nn.functional import CACHE_ENTRIES, pieces
from numpygpt.nn.modules.module import Module
from numpygpt.nn.parallel import DataParallel
from numpygpt.utils.signals import signals_wait


class Optimizer:
    """Base: `step()` updates the parameters from the gradients, `zero_grad()` clears these, `lr` can be set.

    `model` is a Module, or a DataParallel, whose threads then share the work. A subclass names its running arrays
    (`moments`) and writes `update(s)` for a slice `s` of the flat arrays.
    """

    moments: tuple[str, ...] = ()

    def __init__(self, model: Module | DataParallel, lr: float):
        self.parallel = model if isinstance(model, DataParallel) else None
        self.model: Module = model.model if isinstance(model, DataParallel) else model
        self.flat, self.steps = self.model.flat(), 0
        self.unfinished = False  # whether a step failed after it had changed some of the parameters
        self.lr = check("lr", lr, 0 <= lr < float("inf"), "at least 0 and finite")
        for name in self.moments:
            setattr(self, name, np.zeros_like(self.flat.params))

    def update(self, s: slice) -> None:
        raise NotImplementedError

    def step(self) -> None:
        """One update of all parameters. A signal, such as Ctrl-C, waits until the update is complete."""
        if self.model.flat() is not self.flat:
            raise RuntimeError("the model's parameters were moved (astype, or another optimiser of a larger module) "
                               "since this optimiser was made: make the optimiser anew")
        if self.unfinished:
            raise RuntimeError("an earlier step() failed half-way, so some parameters are updated and others are not: "
                               "load the model's and the optimiser's state (load_state_dict), or make both again")
        with signals_wait():
            self.steps += 1
            try:
                share(self.parallel, self.changed, list(self.slices()))
            except BaseException:
                self.steps -= not self.unfinished  # nothing has changed
                raise
            self.unfinished = False

    def changed(self, s: slice) -> None:
        self.unfinished = True
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
        if set(state) != {"steps", *self.moments}:
            raise ValueError(f"the state has {', '.join(sorted(state))}, and {type(self).__name__} needs "
                             f"{', '.join(sorted(('steps', *self.moments)))}: it is of another optimiser")
        shapes = {name: shape for name, (_, shape) in self.flat.layout.items()}
        for moment in self.moments:  # all are looked at before one is taken over
            found = {name: np.shape(array) for name, array in state[moment].items()}
            wrong = sorted(name for name in shapes.keys() | found.keys() if shapes.get(name) != found.get(name))
            if wrong:
                raise ValueError(f"the state's {moment} does not fit this model's parameters: {', '.join(wrong)}")
        for moment in self.moments:
            for name, view in self.flat.views(getattr(self, moment)).items():
                view[...] = state[moment][name]
        self.steps, self.unfinished = int(state["steps"]), False


def share(parallel: DataParallel | None, function: Callable[[slice], Any], slices: list[slice]) -> list[Any]:
    """[function(s) for s in slices], on the workers' threads if there are any. A signal waits until all are done."""
    with signals_wait():
        return parallel.share(function, slices) if parallel else [function(s) for s in slices]


def check(name: str, value: float, right: bool, rule: str) -> float:
    """`value`, or ValueError with the rule that it breaks."""
    if not right:
        raise ValueError(f"{name} must be {rule}, got {value}")
    return value
