"""A cache of pieces: each different piece of a text is merged once, and looked up where it occurs again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from threading import Lock

import numpy as np

from numpygpt.tokenizer.added import Parts
from numpygpt.tokenizer.stream import Breaks, runs

RUN_CHARACTERS = 1 << 16  # cut into pieces at a time: they stay in the processor's cache
CHUNK_CHARACTERS = 1 << 22  # whose new pieces are merged together
MAX_PIECES = 1 << 17  # a few tens of MB; a corpus repeats its words, so nearly every piece is found
MAX_CHARACTERS = 1 << 22  # of their text: one piece can be a megabyte long

Cut = Callable[[str], list[str]]
Merge = Callable[[list[str]], tuple[np.ndarray, np.ndarray, np.ndarray]]


class PieceCache(dict[str, int]):
    """Piece -> its number, in order of appearance. Number k has ids[starts[k] : starts[k] + lengths[k]].

    `cut` cuts a text into pieces, and `merge` returns the same three arrays for new pieces. Beyond MAX_PIECES or
    MAX_CHARACTERS the cache is cleared.
    """

    def __init__(self, cut: Cut, merge: Merge) -> None:
        super().__init__()
        self.cut, self.merge = cut, merge
        self.lock = Lock()  # several threads may encode with one tokenizer
        self.forget()

    def forget(self) -> None:
        self.clear()
        self.ids = np.empty(0, dtype=np.uint32)
        self.starts, self.lengths = np.empty((2, 0), dtype=np.int64)
        self.characters = 0

    def __missing__(self, piece: str) -> int:
        number = self[piece] = len(self)
        return number

    def encode_parts(self, parts: Parts, breaks: Breaks | None) -> np.ndarray:
        """Return the ids of the parts of a text, which is cut at `breaks`; without them it has no safe place."""
        ids = [np.empty(0, dtype=np.uint32)]
        for _, part in parts:
            if isinstance(part, int):
                ids.append(np.array([part], dtype=np.uint32))
            elif breaks is None:
                ids.append(self.encode([part]))
            else:
                ids += [self.encode(runs(stretch, RUN_CHARACTERS, breaks))
                        for stretch in runs(part, CHUNK_CHARACTERS, breaks)]  # fmt: skip
        return np.concatenate(ids)

    def encode(self, runs: Iterable[str]) -> np.ndarray:
        """Return the ids of a text that comes in runs, which never cut a piece. (N,) uint32"""
        with self.lock:
            return self._encode(runs)

    def _encode(self, runs: Iterable[str]) -> np.ndarray:
        failed = len(self) != len(self.starts)  # an earlier call stopped halfway
        if failed or len(self) > MAX_PIECES or self.characters > MAX_CHARACTERS:
            self.forget()
        known = len(self)
        found = [np.fromiter(map(self.__getitem__, self.cut(run)), dtype=np.int64) for run in runs]
        numbers = np.concatenate([np.empty(0, dtype=np.int64), *found])  # (P,) of the pieces of the text
        if len(self) > known:
            self._merge_new(list(islice(self, known, None)))
        lengths = self.lengths[numbers]
        shift = self.starts[numbers] - (np.cumsum(lengths) - lengths)  # from result to self.ids
        return self.ids[np.arange(lengths.sum()) + np.repeat(shift, lengths)]

    def _merge_new(self, pieces: list[str]) -> None:
        ids, starts, lengths = self.merge(pieces)
        starts = np.concatenate([self.starts, len(self.ids) + starts])
        self.lengths = np.concatenate([self.lengths, lengths])
        self.ids = np.concatenate([self.ids, ids.astype(np.uint32)])
        self.characters += sum(map(len, pieces))
        self.starts = starts  # last: its length tells a later call that all of this was done
