"""Which part of a corpus is held out for validation: its end, or every n-th document."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Any

from numpygpt.data.corpora import Corpus
from numpygpt.data.oddities import Oddities
from numpygpt.data.streams import END, Cut, Piece, cleaned, tidied
from numpygpt.tokenizer.stream import Special

SPLITS = ("position", "document")
PARTS = ("train", "val")


class PassRecord:
    """Records hash, number of documents and place of the cut during one pass over a corpus.

    `sha256`: of the documents' UTF-8 as it was read, with the byte 0xFF, which no UTF-8 has, between two; `ends`: how
    many documents ended, empty ones too; `at_byte`: where the corpus was cut. `oddities` sees all text.
    """

    def __init__(self, oddities: Oddities | None = None) -> None:
        self.oddities = oddities
        self._digest = hashlib.sha256()
        self._any = self._between = False
        self.ends, self.at_byte = 0, 0

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def watch(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Yield the same pieces and record them."""
        for piece in pieces:
            if isinstance(piece, Cut):
                self.at_byte = piece.at
            elif isinstance(piece, Special):
                self.ends += 1
                self._between = self._any
                if self.oddities:
                    self.oddities.end()
            elif piece:
                data = piece.encode("utf-8")
                self._digest.update(b"\xff" * self._between + data)
                if self.oddities:
                    self.oddities.add(data)
                self._any, self._between = True, False
            yield piece


@dataclass(frozen=True)
class SplitCorpus:
    """A corpus, cleaned and split. Every pass reads it again; it is never held.

    By position, everything from one byte on is validation. By document, document i (from 0 on) is validation if
    floor((i + 1) f) > floor(i f): with f = 0.1 the tenth, the twentieth and so on. The documents with the numbers
    `left_out` (sorted) are in neither part: they are validation documents that the training part has, too.
    """

    corpus: Corpus
    clean: str | None
    by: str
    val_fraction: float
    progress: Callable[[str, int, int], object] | None = None
    left_out: Sequence[int] = ()

    def parts(self, what: str, record: PassRecord | None = None) -> Iterator[tuple[str, str | Special]]:
        """Yield (part, piece) for all of it; `what` names the work in the progress bar."""
        size = self.corpus.size
        cut = int(size * (1 - self.val_fraction)) if self.by == "position" else None
        pieces = self.corpus.pieces(cut, self._report(what, size))
        pieces = record.watch(pieces) if record else pieces
        part, number = self._part(0), 0
        numbers = iter(self.left_out)
        out = next(numbers, -1)  # the next document that is left out
        for piece in tidied(cleaned(pieces) if self.clean else pieces):
            if isinstance(piece, Cut):
                part = "val"
                continue
            if number != out:
                yield part, piece
            if piece == END:
                out = next(numbers, -1) if number == out else out
                number += 1
                part = self._part(number) if self.by == "document" else part

    def part(self, name: str, what: str, ends: bool, record: PassRecord | None = None) -> Iterator[str | Special]:
        """Yield the pieces of one part, without END unless `ends`."""
        for part, piece in self.parts(what, record):
            if part == name and (ends or isinstance(piece, str)):
                yield piece
            elif (name, part, self.by) == ("train", "val", "position"):
                return  # no more of it follows

    def _part(self, number: int) -> str:
        fraction = Fraction(str(self.val_fraction))  # 0.1, not the nearest binary number
        is_val = self.by == "document" and floor((number + 1) * fraction) > floor(number * fraction)
        return "val" if is_val else "train"

    def _report(self, what: str, size: int) -> Callable[[int], None]:
        done = 0

        def read(count: int) -> None:
            nonlocal done
            done += count
            if self.progress:
                self.progress(what, done, size)

        return read

    def to_meta(self) -> dict[str, Any]:
        """Return meta.json's record of the split, without the place of the cut."""
        split: dict[str, Any] = {"by": self.by, "val_fraction": self.val_fraction}
        if self.by == "document":
            every = 1 / Fraction(str(self.val_fraction))
            split["every"] = int(every) if every == int(every) else float(every)
        if self.left_out:
            split["left_out"] = len(self.left_out)
        return split
