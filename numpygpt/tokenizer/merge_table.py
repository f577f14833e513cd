"""Merges applied to many short pieces at once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from numpygpt.tokenizer.merges import Pair

NO_RANK = 1 << 62  # the rank of a pair that is not a merge


class MergeTable:
    """`apply_merges` for many pieces: in each round, every piece with a merge left does its next one.

    `keys` holds all pairs as sorted numbers, `ranks` their ranks: one search looks up thousands of pairs. If pieces
    start from bytes, `byte_ids` (256,) has the ids of the bytes, and pairs of bytes have a separate table.
    """

    def __init__(
        self, ranks: Mapping[Pair, int], made: list[int], byte_ids: np.ndarray | None, vocab_size: int
    ) -> None:
        keys = np.array([*(first * vocab_size + second for first, second in ranks), NO_RANK])
        order = np.argsort(keys)
        self.keys, self.ranks = keys[order], np.append(np.arange(len(made)), NO_RANK)[order]
        self.made, self.byte_ids, self.vocab_size = np.array(made, dtype=np.int64), byte_ids, vocab_size
        if byte_ids is not None:
            self.byte_ranks = self._rank(byte_ids[:, None], byte_ids[None, :])  # (256, 256)

    def ids_of(self, symbols: np.ndarray) -> np.ndarray:
        """Return the ids of the symbols that pieces start from. Both (N,)."""
        return symbols if self.byte_ids is None else self.byte_ids[symbols]

    def first_ranks(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Return the ranks of pairs of such symbols."""
        return self._rank(left, right) if self.byte_ids is None else self.byte_ranks[left, right]

    def apply(self, symbols: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the ids of the pieces, end to end in `symbols`, and how many each has. lengths: (P,) symbols, > 0."""
        ids = self.ids_of(symbols)  # (N,)
        piece = np.repeat(np.arange(len(lengths)), lengths)  # (N,) which piece each id belongs to
        rank = np.append(self.first_ranks(symbols[:-1], symbols[1:]), NO_RANK)  # (N,) of ids[i] with ids[i + 1]
        rank[np.cumsum(lengths) - 1] = NO_RANK  # at the end of a piece
        finished = []
        while True:
            starts = np.flatnonzero(np.diff(piece, prepend=-1))
            lowest = np.repeat(np.minimum.reduceat(rank, starts), np.diff(starts, append=len(ids)))  # (N,) of its piece
            busy = lowest < NO_RANK
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
                rank[place] = np.where(inside, self._rank(ids[place], ids[after]), NO_RANK)
        piece, ids = (np.concatenate(parts) for parts in zip(*finished, strict=True))
        return ids[np.argsort(piece, kind="stable")], np.bincount(piece, minlength=len(lengths))

    def _rank(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return the ranks of pairs of ids, of any shape; NO_RANK for a pair that does not merge."""
        keys = first * self.vocab_size + second
        found = np.searchsorted(self.keys, keys)
        return np.where(self.keys[found] == keys, self.ranks[found], NO_RANK)
