"""The merges of a vocabulary, applied to many pieces at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np

from numpygpt.tokenizer import checks, storage
from numpygpt.tokenizer.long_pieces import LongPieces, in_order
from numpygpt.tokenizer.merge_table import MergeTable
from numpygpt.tokenizer.merges import Pair, apply_merges

MAX_SHORT = 64  # symbols: a longer piece would delay all others, and is merged separately
MIN_LINKED = 1 << 14  # symbols of long pieces, from which on they are merged together, rank by rank


class Merger:
    """`merges`: pairs of ids, by rank; `made`: the ids that they become.

    The symbols that pieces start from are bytes, which have the ids `byte_ids` (256,); without it they are ids.
    """

    def __init__(
        self, merges: Iterable[Pair], made: list[int], vocab_size: int, byte_ids: np.ndarray | None = None
    ) -> None:
        self.ranks = {pair: rank for rank, pair in enumerate(merges)}
        self.made = made
        self.table = MergeTable(self.ranks, made, byte_ids, vocab_size)
        self.in_order = in_order(self.ranks, made, vocab_size)

    def merge(self, symbols: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the ids of all pieces, where in them each piece starts, and how many it has.

        `symbols` (N,) are those of the pieces end to end, `sizes` (P,) how many each piece has, all > 0.
        """
        lengths, ids = np.empty_like(sizes), []
        (short,), (long,) = np.nonzero(sizes <= MAX_SHORT), np.nonzero(sizes > MAX_SHORT)
        is_short = np.repeat(sizes <= MAX_SHORT, sizes)  # (N,)
        if short.size:
            together, lengths[short] = self.table.apply(symbols[is_short] if long.size else symbols, sizes[short])
            ids.append(together)
        if long.size:
            together, lengths[long] = self._long(symbols[~is_short], sizes[long])
            ids.append(together)
        starts, order = np.empty_like(lengths), np.concatenate([short, long])
        starts[order] = np.cumsum(lengths[order]) - lengths[order]
        return np.concatenate([np.empty(0, dtype=np.int64), *ids]), starts, lengths

    def _long(self, symbols: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self.in_order and sizes.sum() > MIN_LINKED:
            return LongPieces(self.table, symbols, sizes).merged(self.ranks, self.made)
        ids = [apply_merges(self.table.ids_of(piece).tolist(), self.ranks, self.made)
               for piece in np.split(symbols, np.cumsum(sizes)[:-1])]  # fmt: skip
        return np.concatenate(ids), np.array([*map(len, ids)])


def read_merges(vocab: list[str], merges: Any, special: Collection[int]) -> list[Pair]:
    """Check the merges of a file, and return them as pairs of ids.

    `vocab`: the ordinary tokens in the order of their ids; `merges`: pairs of such tokens; `special`: the ids of the
    special tokens, which `vocab` leaves out. Raises ValueError if they do not fit together.
    """
    ids = dict(zip(vocab, storage.ordinary_ids(len(vocab), special), strict=True))
    if len(ids) < len(vocab):
        checks.distinct(vocab)
    if not isinstance(merges, list):
        raise storage.wrong("merges", "a list of pairs of strings", merges)
    pairs: dict[Pair, None] = {}
    for place, merge in enumerate(merges):
        if not (isinstance(merge, list) and len(merge) == 2 and all(isinstance(part, str) for part in merge)):
            raise storage.wrong(f"merges[{place}]", "a pair of strings", merge)
        for token in (*merge, "".join(merge)):
            if token not in ids:
                raise storage.wrong(f"merges[{place}]", "two tokens of the vocabulary that make a third", merge)
        first, second = merge
        pair = ids[first], ids[second]
        if pair in pairs:
            raise storage.wrong(f"merges[{place}]", "a new pair, not a duplicate of an earlier one", merge)
        pairs[pair] = None
    return list(pairs)
