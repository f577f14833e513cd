"""The two algorithms of byte pair encoding: learning merges from a corpus, and applying them to a piece of text."""

from __future__ import annotations

import heapq
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise

import numpy as np

Pair = tuple[int, int]
NONE = -1  # instead of an id: the end of a piece, or a place that was merged into the previous one
MIN_VECTORISED = 256  # places from which on NumPy is faster than a loop
REPORT_EVERY = 64  # merges between two calls of `progress`


def learn_merges(
    pieces: Mapping[bytes, int], n_merges: int, min_freq: int = 2, progress: Callable[[int, int], object] | None = None
) -> list[Pair]:
    """Return the pairs to merge, in order; merge k makes id 256 + k. `pieces` maps each different piece to its count.

    Each step takes the most frequent pair, of equally frequent pairs the smallest. It stops early if no pair occurs
    `min_freq` times. (Sennrich, Haddow and Birch 2016, on bytes as in GPT-2.) Recounting the corpus at every step would
    take hours; here a step costs only what it changes.
    """
    corpus = Corpus(pieces)
    heap = [(-count, pair) for pair, count in corpus.counts.items() if count >= min_freq]
    heapq.heapify(heap)
    merges: list[Pair] = []
    while heap and len(merges) < n_merges:
        count, pair = heapq.heappop(heap)
        true_count = corpus.counts[pair]
        if true_count != -count:  # later merges used some of it; it can only become rarer
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
    that no longer have the pair: skipping them later is cheaper than removing them. Arrays instead of lists: a place
    takes 24 bytes instead of 130.
    """

    def __init__(self, pieces: Mapping[bytes, int]) -> None:
        text = np.frombuffer(b"".join(pieces), dtype=np.uint8)
        lengths = np.fromiter(map(len, pieces), dtype=np.int64, count=len(pieces))
        ids = np.full(1 + len(text) + len(lengths), NONE, dtype=np.int32)  # NONE, piece, NONE, piece, NONE ...
        places = np.arange(1, len(text) + 1, dtype=np.int32)  # int32: half the memory
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
        """Replace `pair` by the id `new` everywhere; return the new pairs, which all contain `new`.

        It goes from left to right (the places in `where` are sorted), because in `aaa` two pairs `aa` share a letter.
        """
        first, second = pair
        places = self.where.pop(pair)
        if len(places) >= MIN_VECTORISED:
            return self._merge_many(pair, new, np.frombuffer(places, dtype=np.int32))
        ids, after, before, counts = self.ids, self.after, self.before, self.counts
        fresh: dict[Pair, array[int]] = defaultdict(lambda: array("i"))
        for i in places:
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

    def _merge_many(self, pair: Pair, new: int, places: np.ndarray) -> Iterable[Pair]:
        """The same with NumPy."""
        ids, after, before = (np.frombuffer(links, dtype=np.int32) for links in (self.ids, self.after, self.before))
        i = still_there(ids, after, pair, places)
        j = after[i]
        left, right = before[i], after[j]
        weight = np.frombuffer(self.weight, dtype=np.int64)[i]
        follows = np.zeros(len(i), dtype=bool)  # directly after another merge, which counts the pair between them
        follows[1:] = left[1:] == j[:-1]
        alone, inside = (ids[left] != NONE) & ~follows, ids[right] != NONE
        for a, b, _, count in (
            *_grouped(ids[left[alone]], pair[0], left[alone], weight[alone]),
            *_grouped(pair[1], ids[right[inside]], i[inside], weight[inside]),
        ):
            self.counts[a, b] -= count
        ids[i], ids[j] = new, NONE
        after[i], before[right] = right, i
        left = before[i]  # directly after another merge: the place of that merge
        before_it, behind_it = ids[left] != NONE, inside & (ids[right] != new)
        fresh: dict[Pair, array[int]] = {}
        for a, b, where, count in (
            *_grouped(ids[left[before_it]], new, left[before_it], weight[before_it]),
            *_grouped(new, ids[right[behind_it]], i[behind_it], weight[behind_it]),
        ):
            self.counts[a, b] += count
            fresh[a, b] = array("i", where.tobytes())
        del self.counts[pair]
        self.where.update(fresh)
        return fresh


def still_there(ids: np.ndarray, after: np.ndarray, pair: Pair, places: np.ndarray) -> np.ndarray:
    """Return the sorted `places` that still have the pair; if two share a letter, the first of them."""
    places = places[(ids[places] == pair[0]) & (ids[after[places]] == pair[1])]
    if pair[0] != pair[1] or not len(places):
        return places
    number = np.arange(len(places))
    starts = np.append(True, places[1:] != after[places[:-1]])  # of a run as in aaaa: every second place counts
    return places[(number - np.maximum.accumulate(np.where(starts, number, 0))) % 2 == 0]


def starts_of(ordered: np.ndarray) -> np.ndarray:
    """Return the first place of each different number in a sorted array."""
    return np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)])


def _grouped(
    first: np.ndarray | int, second: np.ndarray | int, places: np.ndarray, weight: np.ndarray
) -> Iterator[tuple[int, int, np.ndarray, int]]:
    """Yield each different pair of ids with its sorted places and its weight. One id, an int, is in all pairs."""
    others = np.asarray(second if isinstance(first, int) else first)
    if not len(others):
        return
    order = np.argsort(others, kind="stable")
    others, places = others[order], places[order]
    starts = starts_of(others)
    totals = np.add.reduceat(weight[order], starts).tolist()
    for other, group, total in zip(others[starts].tolist(), np.split(places, starts[1:]), totals, strict=True):
        yield *((first, other) if isinstance(first, int) else (other, second)), group, total


def _places_of_pairs(ids: np.ndarray) -> Iterable[tuple[Pair, np.ndarray]]:
    """Yield each pair of neighbouring bytes in `ids`, with its sorted places."""
    places = np.flatnonzero((ids[:-1] != NONE) & (ids[1:] != NONE)).astype(np.int32)  # half the memory of int64
    pairs = (ids[places] << 8) + ids[places + 1]
    order = np.argsort(pairs, kind="stable")
    numbers, starts = np.unique(pairs[order], return_index=True)
    for pair, group in zip(numbers.tolist(), np.split(places[order], starts[1:]), strict=bool(len(numbers))):
        yield divmod(pair, 256), group


def apply_merges(ids: list[int], ranks: Mapping[Pair, int], made: list[int]) -> list[int]:
    """Return `ids` with every merge applied: always the lowest rank first, of several places the first.

    `ranks` maps pairs to their rank, the order of training; `made[rank]` is the id that the two become. The heap of
    (rank, place) makes this n log n, because a piece can be a megabyte long.
    """
    heap = [(ranks[pair], i) for i, pair in enumerate(pairwise(ids)) if pair in ranks]
    heapq.heapify(heap)
    n = len(ids)
    ids = [*ids, NONE]  # one end is enough for both sides: ids[-1] is ids[n]
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
