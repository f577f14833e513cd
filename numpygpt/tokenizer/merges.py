"""The two algorithms of byte pair encoding: learning merges from a corpus, and applying them to a piece of text."""

from __future__ import annotations

import heapq
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise

import numpy as np

Pair = tuple[int, int]
NONE = -1  # in place of an id: the end of a piece, or a place that was merged into the one before it
NEVER = 1 << 62  # the rank of a pair that is no merge
REPORT_EVERY = 64  # merges between two calls of `progress`


def learn_merges(
    pieces: Mapping[bytes, int], n_merges: int, min_freq: int = 2, progress: Callable[[int, int], object] | None = None
) -> list[Pair]:
    """The pairs to merge, in order; merge k makes id 256 + k. `pieces` maps each different piece to its count.

    Each step takes the most frequent pair, of equally frequent ones the smallest pair of ids, and stops early when no
    pair occurs `min_freq` times. (Sennrich, Haddow and Birch 2016, on bytes as in GPT-2.) Recounting the corpus at
    every step would take hours; here a step costs what it changes.
    """
    corpus = Corpus(pieces)
    heap = [(-count, pair) for pair, count in corpus.counts.items() if count >= min_freq]
    heapq.heapify(heap)
    merges: list[Pair] = []
    while heap and len(merges) < n_merges:
        count, pair = heapq.heappop(heap)
        true_count = corpus.counts[pair]
        if true_count != -count:  # merges since then used some of it up; it can only have become rarer
            if true_count >= min_freq:
                heapq.heappush(heap, (-true_count, pair))
            continue
        for fresh in corpus.merge(pair, 256 + len(merges)):
            if corpus.counts[fresh] >= min_freq:
                heapq.heappush(heap, (-corpus.counts[fresh], fresh))
        merges.append(pair)
        if progress and len(merges) % REPORT_EVERY == 0:
            progress(len(merges), n_merges)
    if progress:
        progress(len(merges), n_merges)
    return merges


class Corpus:
    """The different pieces end to end as a linked list of ids, with the count and the places of every pair.

    `ids[i]` is the token at place i, `after[i]` and `before[i]` its neighbours' places, `weight[i]` how often its
    piece occurs. A merge of places i and j keeps i and drops j, so places never move. `where[pair]` may hold places
    at which the pair no longer stands: they are skipped when their turn comes, which is cheaper than removal.
    Arrays and not lists: a place takes 24 bytes instead of 130.
    """

    def __init__(self, pieces: Mapping[bytes, int]) -> None:
        text = np.frombuffer(b"".join(pieces), dtype=np.uint8)
        lengths = np.fromiter(map(len, pieces), dtype=np.int64, count=len(pieces))
        ids = np.full(1 + len(text) + len(lengths), NONE, dtype=np.int32)  # NONE, piece, NONE, piece, NONE ...
        places = np.arange(1, len(text) + 1, dtype=np.int32)  # int32: half the memory, as there are many
        places += np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
        ids[places] = text
        weight = np.zeros(len(ids), dtype=np.int64)
        weight[1:] = np.repeat(np.fromiter(pieces.values(), dtype=np.int64, count=len(pieces)), lengths + 1)
        self.ids, self.weight = array("i", ids.tobytes()), array("q", weight.tobytes())
        self.after, self.before = array("i", range(1, len(ids) + 1)), array("i", range(-1, len(ids) - 1))
        self.counts: dict[Pair, int] = defaultdict(int)
        self.where: dict[Pair, array[int]] = defaultdict(lambda: array("i"))
        for pair, places in _places_of_pairs(ids):
            self.counts[pair] = int(weight[places].sum())
            self.where[pair] = array("i", places.astype(np.int32).tobytes())

    def merge(self, pair: Pair, new: int) -> Iterable[Pair]:
        """Replace `pair` by the id `new` everywhere; the pairs that came to be (all of them contain `new`).

        From left to right, since `aaa` has two pairs `aa` that share a letter: the places in `where` are in order.
        """
        first, second = pair
        ids, after, before, counts = self.ids, self.after, self.before, self.counts
        fresh: dict[Pair, array[int]] = defaultdict(lambda: array("i"))
        for i in self.where.pop(pair):
            j = after[i]
            if ids[i] != first or ids[j] != second:
                continue  # an earlier merge took one of the two
            left, right = before[i], after[j]
            weight = self.weight[i]
            if (id := ids[left]) != NONE:
                counts[id, first] -= weight
                counts[id, new] += weight
                fresh[id, new].append(left)
            if (id := ids[right]) != NONE:
                counts[second, id] -= weight
                counts[new, id] += weight
                fresh[new, id].append(i)
            ids[i], ids[j] = new, NONE
            after[i], before[right] = right, i
        del counts[pair]
        self.where.update(fresh)
        return fresh


def _places_of_pairs(ids: np.ndarray) -> Iterable[tuple[Pair, np.ndarray]]:
    """Each pair of neighbouring bytes in `ids`, with its places in order."""
    places = np.flatnonzero((ids[:-1] != NONE) & (ids[1:] != NONE)).astype(np.int32)  # half the memory of int64
    pairs = (ids[places] << 8) + ids[places + 1]
    order = np.argsort(pairs, kind="stable")
    numbers, starts = np.unique(pairs[order], return_index=True)
    for pair, group in zip(numbers.tolist(), np.split(places[order], starts[1:]), strict=bool(len(numbers))):
        yield divmod(pair, 256), group


def apply_merges(ids: list[int], ranks: Mapping[Pair, int], made: list[int]) -> list[int]:
    """`ids` with every merge applied: always the one of lowest rank, of several places the first.

    `ranks` maps pairs to their rank, the order in which they were learnt; `made[rank]` is the id that the two become.
    The heap of (rank, place) makes this n log n: a piece can be a megabyte long.
    """
    heap = [(ranks[pair], i) for i, pair in enumerate(pairwise(ids)) if pair in ranks]
    heapq.heapify(heap)
    n = len(ids)
    ids = [*ids, NONE]  # one end serves both sides: ids[-1] is ids[n]
    after = list(range(1, n + 2))
    before = list(range(-1, n))
    while heap:
        rank, i = heapq.heappop(heap)
        j = after[i]
        if ranks.get((ids[i], ids[j])) != rank:
            continue  # an earlier merge took one of the two
        left, right = before[i], after[j]
        ids[i], ids[j] = made[rank], NONE
        after[i], before[right] = right, i
        for place, pair in ((left, (ids[left], ids[i])), (i, (ids[i], ids[right]))):
            if pair in ranks:
                heapq.heappush(heap, (ranks[pair], place))
    return [id for id in ids if id != NONE]


class MergeTable:
    """The same for many short pieces at once: in each round, every piece that has a merge left does its next one.

    `keys` holds all pairs as sorted numbers, `ranks` their ranks: one search looks up thousands of pairs. Those of two
    bytes, with which every piece begins, have a table of their own. `byte_ids` (256,): the ids of the bytes.
    """

    def __init__(self, ranks: Mapping[Pair, int], made: list[int], byte_ids: np.ndarray, vocab_size: int) -> None:
        keys = np.array([*(first * vocab_size + second for first, second in ranks), NEVER])
        order = np.argsort(keys)
        self.keys, self.ranks = keys[order], np.append(np.arange(len(made)), NEVER)[order]
        self.made, self.byte_ids, self.vocab_size = np.array(made, dtype=np.int64), byte_ids, vocab_size
        self.byte_ranks = self._rank(byte_ids[:, None], byte_ids[None, :])  # (256, 256)

    def apply(self, text: bytes, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The ids of pieces that stand end to end in `text`, and how many each has. lengths: (P,) bytes, none 0."""
        codes = np.frombuffer(text, dtype=np.uint8)
        ids = self.byte_ids[codes]  # (N,)
        piece = np.repeat(np.arange(len(lengths)), lengths)  # (N,) which piece each id belongs to
        rank = np.append(self.byte_ranks[codes[:-1], codes[1:]], NEVER)  # (N,) of ids[i] with ids[i + 1]
        rank[np.cumsum(lengths) - 1] = NEVER  # at the end of a piece
        finished = []
        while True:
            starts = np.flatnonzero(np.diff(piece, prepend=-1))
            lowest = np.repeat(np.minimum.reduceat(rank, starts), np.diff(starts, append=len(ids)))  # (N,) of its piece
            busy = lowest < NEVER
            finished.append((piece[~busy], ids[~busy]))
            ids, piece, rank, lowest = ids[busy], piece[busy], rank[busy], lowest[busy]
            if not len(ids):
                break
            at = np.flatnonzero(rank == lowest)
            at = at[np.diff(piece[at], prepend=-1) > 0]  # the first in each piece
            ids[at] = self.made[rank[at]]
            keep = np.ones(len(ids), dtype=bool)
            keep[at + 1] = False
            ids, piece, rank = ids[keep], piece[keep], rank[keep]
            at -= np.arange(len(at))  # where the new ids are now
            for place in (at, at[at > 0] - 1):
                after = np.minimum(place + 1, len(ids) - 1)
                inside = (piece[place] == piece[after]) & (place < after)
                rank[place] = np.where(inside, self._rank(ids[place], ids[after]), NEVER)
        piece, ids = (np.concatenate(parts) for parts in zip(*finished, strict=True))
        return ids[np.argsort(piece, kind="stable")], np.bincount(piece, minlength=len(lengths))

    def _rank(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """The ranks of pairs of ids, of any shape; NEVER for a pair that is no merge."""
        keys = first * self.vocab_size + second
        found = np.searchsorted(self.keys, keys)
        return np.where(self.keys[found] == keys, self.ranks[found], NEVER)
