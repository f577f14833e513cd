"""Numbers of a batch that several workers have cut up, such as its loss: each worker sees only a part."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from numpygpt.inspection.stats import Stats
from numpygpt.nn.modules.module import Module
from numpygpt.parallel.threads import DataParallel

Part = tuple[object, float]  # (the batch, this worker's part of its number)


class Parts:
    """One worker's parts, by module and in the order of the calls. Of an array no part is kept.

    A shard's loss is a mean over its own targets, so its part of the batch's is its share of the targets times that.
    The gradient that comes to it, dL/d(its loss), has the share in it already.
    """

    def __init__(self, root: Module, parallel: DataParallel | None = None):
        self.root, self.parallel = root, parallel
        self.outputs: dict[str, list[Part]] = {}
        self.gradients: dict[str, list[Part]] = {}
        self.batch: object = None  # that of the last loss; None where it came before the watching

    def forward(self, name: str, value: Any) -> None:
        if is_number(value):
            self.batch, share = self.share()
            self.outputs.setdefault(name, []).append((self.batch, share * float(value)))

    def backward(self, name: str, value: Any) -> None:
        if is_number(value):
            self.gradients.setdefault(name, []).append((self.batch, float(value)))

    def share(self) -> tuple[object, float]:
        """(what all workers have in common during this batch, this one's share of it)"""
        shares = self.parallel.weights if self.parallel else []
        return next(((shares, share) for replica, share in shares if replica is self.root), (object(), 1.0))


def is_number(value: Any) -> bool:
    return isinstance(value, (float, int, np.number)) or (isinstance(value, np.ndarray) and value.ndim == 0)


def whole(parts: Iterable[Part]) -> Stats | None:
    """The numbers of whole batches from the parts of all workers; None of no parts."""
    sums: dict[int, float] = {}
    for batch, part in parts:  # which keep their batch alive, so that its identity stays its own
        sums[id(batch)] = sums.get(id(batch), 0.0) + part
    return Stats.of(np.array(list(sums.values())))
