"""The two algorithms of byte pair encoding: learning merges from a corpus, and applying them to a piece of text."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise

Pair = tuple[int, int]
NONE = -1  # in place of an id: the end of a piece, or a place that was merged into the one before it
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
    """

    def __init__(self, pieces: Mapping[bytes, int]) -> None:
        self.ids: list[int] = [NONE]
        self.weight: list[int] = [0]
        for piece, count in pieces.items():
            self.ids += [*piece, NONE]
            self.weight += [count] * (len(piece) + 1)
        n = len(self.ids)
        self.after = list(range(1, n + 1))
        self.before = list(range(-1, n - 1))
        self.counts: dict[Pair, int] = defaultdict(int)
        self.where: dict[Pair, list[int]] = defaultdict(list)
        for i, pair in enumerate(pairwise(self.ids)):
            if NONE not in pair:
                self.counts[pair] += self.weight[i]
                self.where[pair].append(i)

    def merge(self, pair: Pair, new: int) -> Iterable[Pair]:
        """Replace `pair` by the id `new` everywhere; the pairs that came to be (all of them contain `new`).

        From left to right, since `aaa` has two pairs `aa` that share a letter: the places in `where` are in order.
        """
        first, second = pair
        ids, after, before, counts = self.ids, self.after, self.before, self.counts
        fresh: dict[Pair, list[int]] = defaultdict(list)
        for i in self.where.pop(pair):
            j = after[i]
            if ids[i] != first or ids[j] != second:
                continue  # an earlier merge took one of the two
            left, right = before[i], after[j]
            weight = self.weight[i]
            if ids[left] != NONE:
                counts[ids[left], first] -= weight
                counts[ids[left], new] += weight
                fresh[ids[left], new].append(left)
            if ids[right] != NONE:
                counts[second, ids[right]] -= weight
                counts[new, ids[right]] += weight
                fresh[new, ids[right]].append(i)
            ids[i], ids[j] = new, NONE
            after[i], before[right] = right, i
        del counts[pair]
        self.where.update(fresh)
        return fresh


def apply_merges(ids: list[int], merged: Mapping[Pair, int]) -> list[int]:
    """`ids` with every merge applied, the earliest learnt first and from left to right; `merged` maps pairs to new ids.

    A merge makes a larger id than all before it, so the heap of (new id, place) hands out merges in the order they
    were learnt. n log n: a piece can be a megabyte long.
    """
    heap = [(merged[pair], i) for i, pair in enumerate(pairwise(ids)) if pair in merged]
    heapq.heapify(heap)
    n = len(ids)
    ids = [*ids, NONE]  # one end serves both sides: ids[-1] is ids[n]
    after = list(range(1, n + 2))
    before = list(range(-1, n))
    while heap:
        new, i = heapq.heappop(heap)
        j = after[i]
        if merged.get((ids[i], ids[j])) != new:
            continue  # an earlier merge took one of the two
        left, right = before[i], after[j]
        ids[i], ids[j] = new, NONE
        after[i], before[right] = right, i
        for pair, place in (((ids[left], new), left), ((new, ids[right]), i)):
            if pair in merged:
                heapq.heappush(heap, (merged[pair], place))
    return [id for id in ids if id != NONE]
