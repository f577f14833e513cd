"""Merges applied to long pieces: a base64 string, a text without spaces, a line of dashes.

A loop over the characters takes minutes for ten megabytes, and `MergeTable.apply` would make many short pieces wait for
the longest. Here each merge is applied at all of its places at once, from the lowest rank to the highest.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping

import numpy as np

from numpygpt.tokenizer.merge_table import NO_RANK, MergeTable
from numpygpt.tokenizer.merges import NONE, Pair, starts_of, still_there

CHUNK = 1 << 20  # symbols whose ranks are looked up at a time


def in_order(ranks: Mapping[Pair, int], made: list[int], vocab_size: int) -> bool:
    """Return whether each merge comes after the merges that make its two ids, so that no merge enables an earlier one.

    This holds for every trained vocabulary.
    """
    makes = np.full(vocab_size, -1)
    np.maximum.at(makes, np.array(made, dtype=np.int64), np.arange(len(made)))
    pairs = np.array([*ranks], dtype=np.int64).reshape(-1, 2)
    return bool((makes[pairs] < np.arange(len(made))[:, None]).all())


class LongPieces:
    """Pieces end to end as a linked list of ids, and the places of each possible merge.

    NONE separates two pieces. A merge of places i and j keeps i and drops j, so places never move. `waiting` may hold
    places that no longer have the pair.
    """

    def __init__(self, table: MergeTable, symbols: np.ndarray, lengths: np.ndarray) -> None:
        self.table, self.lengths = table, lengths
        self.ids = np.full(1 + len(symbols) + len(lengths), NONE, dtype=np.int32)  # int32: half the memory of int64
        self.places = np.arange(1, len(symbols) + 1, dtype=np.int32)
        self.places += np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
        self.ids[self.places] = table.ids_of(symbols)
        self.after = np.arange(1, len(self.ids) + 1, dtype=np.int32)
        self.before = np.arange(-1, len(self.ids) - 1, dtype=np.int32)
        self.waiting: dict[int, list[np.ndarray]] = {}  # rank -> places
        self.ranks: list[int] = []  # a heap of the ranks in `waiting`
        inside = np.ones(len(symbols), dtype=bool)
        inside[np.cumsum(lengths) - 1] = False  # at the end of a piece
        for start in range(0, len(symbols) - 1, CHUNK):
            block = slice(start, min(start + CHUNK, len(symbols) - 1))
            ranks = table.first_ranks(symbols[block], symbols[block.start + 1 : block.stop + 1])
            self._wait(self.places[block][inside[block]], ranks[inside[block]])

    def merged(self, ranks: Mapping[Pair, int], made: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return the ids of all pieces, and how many each has."""
        pairs = list(ranks)
        while self.ranks:
            rank = heapq.heappop(self.ranks)
            places = np.sort(np.concatenate(self.waiting.pop(rank)))
            places = places[starts_of(places)]  # a place that two merges produced occurs twice
            self._merge(still_there(self.ids, self.after, pairs[rank], places), made[rank])
        piece = np.repeat(np.arange(len(self.lengths)), self.lengths)
        ids = self.ids[self.places]
        return ids[ids != NONE], np.bincount(piece[ids != NONE], minlength=len(self.lengths))

    def _merge(self, i: np.ndarray, new: int) -> None:
        j = self.after[i]
        right = self.after[j]
        self.ids[i], self.ids[j] = new, NONE
        self.after[i], self.before[right] = right, i
        for first, second in ((self.before[i], i), (i, right)):
            inside = (self.ids[first] != NONE) & (self.ids[second] != NONE)
            first, second = first[inside], second[inside]
            self._wait(first, self.table._rank(self.ids[first].astype(np.int64), self.ids[second]))

    def _wait(self, places: np.ndarray, ranks: np.ndarray) -> None:
        places, ranks = places[ranks < NO_RANK], ranks[ranks < NO_RANK]
        order = np.argsort(ranks, kind="stable")
        ranks, places = ranks[order], places[order]
        starts = starts_of(ranks)
        groups = np.split(places, starts[1:]) if len(starts) else ()
        for rank, group in zip(ranks[starts].tolist(), groups, strict=True):
            if rank not in self.waiting:
                self.waiting[rank] = []
                heapq.heappush(self.ranks, rank)
            self.waiting[rank].append(group)
