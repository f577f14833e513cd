"""Ranks that train apart for many steps, and then bring their models together: DiLoCo, for slow networks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from numpygpt.nn.backend import like
from numpygpt.parallel.sharded import Sharded
from numpygpt.parallel.threads import DataParallel

LR, MOMENTUM = 0.7, 0.9  # the values of the paper, which found Nesterov's momentum best


class Outer(Sharded):
    """The outer optimiser. Between two calls of `step` each rank takes H steps of its own optimiser, and sends nothing.

        d = anchor - mean of the ranks' parameters      how far the ranks have moved on average
        v <- MOMENTUM v + d
        anchor <- anchor - LR (d + MOMENTUM v)          a step of Nesterov's momentum with d as its gradient
        parameters <- anchor                            on every rank

    With LR 1 and MOMENTUM 0 the new parameters are the mean. Douillard et al. 2023, DiLoCo, algorithm 1. Each rank does
    this for the slices that it owns, and holds only their entries of `anchor` and `velocity`. A step sends as much as
    one step of ranks that train together: 2 (n - 1) / n of the parameters. A single rank may use it too: then the
    optimiser looks ahead, and corrects itself every H steps.
    """

    def __init__(self, parallel: DataParallel):
        super().__init__(parallel.flat, parallel.group)
        self.parallel = parallel
        params = self.flat.params
        self.anchor, self.velocity = (np.zeros(params.shape, params.dtype, like=params) for _ in range(2))
        self.same_moments = True  # on all ranks
        self.start()

    def map_slices(self, function: Callable[[Any], Any], items: list[Any]) -> list[Any]:
        return self.parallel.map_slices(function, items)

    def start(self, velocity: np.ndarray | None = None) -> None:
        """Begin from the parameters, which are the same on all ranks, with a velocity of 0 or of an earlier session."""
        for s in self.own:
            self.anchor[s] = self.flat.params[s]
            self.velocity[s] = 0 if velocity is None else like(velocity[s], self.velocity)

    def step(self) -> None:
        """Bring the ranks together. Every rank must call it."""
        self.group.reduce_scatter(self.flat.params, self.flat.runs())
        self.map_own(self.update, self.flat.slices())
        self.spread()
        self.same_moments = False

    @np.errstate(under="ignore")  # a velocity that nothing feeds shrinks to 0
    def update(self, s: slice) -> None:
        anchor, velocity, total = self.anchor[s], self.velocity[s], self.flat.params[s]  # of all ranks' parameters
        d = anchor - total / self.group.size
        velocity *= MOMENTUM
        velocity += d
        d += MOMENTUM * velocity
        anchor -= LR * d
        total[...] = anchor

    def average(self, moments: Iterable[np.ndarray]) -> None:
        """Give all ranks the mean of their optimiser's moments, for a checkpoint that does not depend on the number of
        ranks. Every rank must call it, after a `step`."""
        if self.same_moments:  # their mean might be rounded
            return
        for moment in moments:
            self.group.reduce_scatter(moment, self.flat.runs())
            for s in self.own:
                moment[s] /= self.group.size
            self.group.all_gather(moment, self.flat.runs())
        self.same_moments = True
