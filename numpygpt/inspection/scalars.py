"""Scalars of a batch that several workers share, such as its loss: each worker sees only its own shard."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from numpygpt.inspection.stats import Stats
from numpygpt.nn.backend import is_array
from numpygpt.nn.modules.module import Module
from numpygpt.parallel.threads import DataParallel

Part = tuple[object, float]  # (the batch, this worker's part of its scalar)


class ScalarParts:
    """Scalar results of one worker, per module, in call order. Arrays are not stored.

    A shard's loss is a mean over its own targets, so its part of the batch's loss is that mean times the shard's
    weight, its fraction of the targets. The gradient that reaches a shard, dL/d(its loss), contains the weight already.
    """

    def __init__(self, root: Module, parallel: DataParallel | None = None):
        self.root, self.parallel = root, parallel
        self.outputs: dict[str, list[Part]] = {}
        self.gradients: dict[str, list[Part]] = {}
        self.batch: object = None  # that of the last loss; None if it was before the trace began

    def forward(self, name: str, value: Any) -> None:
        if is_scalar(value):
            self.batch, weight = self.weight()
            self.outputs.setdefault(name, []).append((self.batch, weight * float(value)))

    def backward(self, name: str, value: Any) -> None:
        if is_scalar(value):
            self.gradients.setdefault(name, []).append((self.batch, float(value)))

    def weight(self) -> tuple[object, float]:
        """(an object that all workers share during this batch, this worker's weight)"""
        weights = self.parallel.weights if self.parallel else []
        return next(((weights, weight) for replica, weight in weights if replica is self.root), (object(), 1.0))


def is_scalar(value: Any) -> bool:
    return isinstance(value, (float, int, np.number)) or (is_array(value) and value.ndim == 0)


def merged(parts: Iterable[Part]) -> Stats | None:
    """The scalars of whole batches from the parts of all workers; None without parts."""
    sums: dict[int, float] = {}
    for batch, part in parts:  # the parts keep their batch alive, so its identity stays unique
        sums[id(batch)] = sums.get(id(batch), 0.0) + part
    return Stats.of(np.array(list(sums.values())))
