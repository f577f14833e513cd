"""Flat arrays that are divided among the ranks of a group: each rank owns a part."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from numpygpt.nn.flat import Flat
from numpygpt.nn.modules.module import Module
from numpygpt.parallel.group import LOCAL, Group


class Sharded:
    """What the ranks of a group do with a model's flat arrays. `own` are the slices that this rank owns.

    With `apart`, each rank updates a model of its own, as if it were the only one: it owns all slices, and nothing is
    summed or spread. `group` still holds all ranks.
    """

    def __init__(self, flat: Flat, group: Group, apart: bool = False):
        self.flat, self.group, self.apart = flat, group, apart
        self.owners = LOCAL if apart else group  # the ranks that update one model together
        self.own = self.owners.own(flat.runs())

    def map_slices(self, function: Callable[[Any], Any], items: list[Any]) -> list[Any]:
        raise NotImplementedError

    def map_own(self, function: Callable[[Any], Any], items: list[Any]) -> list[Any]:
        """As `map_slices`, for those parts of the items that this rank owns. An item is a slice of the flat arrays, or
        a tuple that begins with one."""
        if self.owners.size > 1:
            items = [part for item in items for part in common(item, self.own)]
        return self.map_slices(function, items)

    def total(self, values: list[float]) -> float:
        """The sum of the values of all ranks."""
        return self.owners.sum_scalar(sum(values))

    def reduce(self) -> None:
        """Sum the gradients over the ranks. Each rank gets the slices that it owns, and the others keep what is only
        this rank's."""
        self.owners.reduce_scatter(self.flat.grads, self.flat.runs())

    def collect(self) -> None:
        """After `reduce`, give every rank the sums that the others own. A step does not need this: it is for looking.
        """
        self.owners.all_gather(self.flat.grads, self.flat.runs())

    def spread(self) -> None:
        """Give every rank the parameters that the others have updated."""
        self.owners.all_gather(self.flat.params, self.flat.runs())

    def whole(self, array: np.ndarray) -> np.ndarray:
        """A flat array, such as the optimiser's moments, with the slices of all ranks: the array itself, or the array
        of the gradients, which is overwritten to save memory."""
        if self.owners.size == 1:
            return array
        for s in self.own:
            self.flat.grads[s] = array[s]
        self.owners.all_gather(self.flat.grads, self.flat.runs())
        return self.flat.grads

    def handed_out(self, array: np.ndarray) -> np.ndarray:
        """The reverse of `whole`, for an array that rank 0 has read and that is zeros on the other ranks: the array
        itself, or one in which only the slices that this rank owns take memory."""
        self.group.reduce_scatter(array, self.flat.runs())
        if self.owners.size == 1:
            self.group.all_gather(array, self.flat.runs())
            return array
        mine = np.zeros(array.shape, array.dtype)  # zeros_like would write all of it
        for s in self.own:
            mine[s] = array[s]
        return mine


def common(item: Any, own: list[slice]) -> Iterator[Any]:
    """The item for each part of its slice that lies in one of the slices `own`, which are in order."""
    s, *rest = item if isinstance(item, tuple) else (item,)
    for mine in own[max(bisect(own, s.start, key=lambda part: part.start) - 1, 0) :]:
        if mine.start >= s.stop:
            break
        if (part := slice(max(s.start, mine.start), min(s.stop, mine.stop))).start < part.stop:
            yield (part, *rest) if rest else part


def choose_streams(replicas: Sequence[Module], first: int) -> None:
    """Let each replica, whose shards count from `first`, draw the random numbers that it would draw in one process with
    a worker for every shard of the group. The model itself is the first replica."""
    own = [replica.generators() for replica in replicas]
    for name, rng in replicas[0].generators().items():
        seed: Any = rng.bit_generator.seed_seq  # type: ignore[attr-defined]
        for shard, generators in enumerate(own, first):
            if shard:  # shard 0 draws from the model's own stream
                child = np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, shard - 1),
                                               pool_size=seed.pool_size)
                generators[name].bit_generator.state = type(rng.bit_generator)(child).state
