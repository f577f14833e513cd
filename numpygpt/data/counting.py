"""The first way through a corpus: how much text there is, which text it is, and which characters each part has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from numpygpt.data.documents import END
from numpygpt.data.oddities import Oddities
from numpygpt.data.repeats import Repeats
from numpygpt.data.split import PARTS, Reading, Source
from numpygpt.tokenizer.stream import Special, chunks

CODES = 0x110000  # code points


class Counts:
    """What there is of a corpus, in all and in each part.

    `total` is the number of documents; `documents` counts in each part those that have text there, so that one which
    is cut through counts in both. `characters` and `bytes` (of UTF-8) are those of the text after cleaning. With
    `tally`, `tallied` is how often each character occurs, by code point, in lower case if so wanted. (CODES,)
    """

    def __init__(self, source: Source, tally: bool = False, lowercase: bool = False) -> None:
        self.oddities = Oddities()
        self.reading = Reading(self.oddities)
        self.total = 0
        corpus = source.corpus
        self.repeats = Repeats() if corpus.separator is not None or len(corpus.documents) > 1 else None
        self.documents, self.characters, self.bytes = (dict.fromkeys(PARTS, 0) for _ in range(3))
        self.tallied = {part: np.zeros(CODES if tally else 0, dtype=np.int64) for part in PARTS}
        pieces = self._counted(source.parts("reading", self.reading))
        if tally:
            self._tally(pieces, lowercase)
        else:
            for _ in pieces:
                pass

    @property
    def several(self) -> bool:
        """Whether documents are parted by END."""
        return self.total > 1

    def described(self) -> dict[str, Any]:
        """What meta.json says of the text, and of each part less its tokens."""
        whole = {"sha256": self.reading.sha256, "documents": self.total}
        names = ("documents", "characters", "bytes")
        return {**whole, **{part: {name: getattr(self, name)[part] for name in names} for part in PARTS}}

    def _counted(self, pieces: Iterable[tuple[str, str | Special]]) -> Iterator[str | Special]:
        """The pieces, and before the text of each document in a part, the part's name as if it were a special token."""
        begun: set[str] = set()  # the parts that have text of this document
        for part, piece in pieces:
            if isinstance(piece, str):
                if part not in begun:
                    begun.add(part)
                    self.documents[part] += 1
                    yield Special(part)
                self.characters[part] += len(piece)
                self.bytes[part] += len(piece) if piece.isascii() else len(piece.encode("utf-8"))
                if self.repeats:
                    self.repeats.add(part, piece)
            elif piece == END:
                begun.clear()
                self.total += 1
                if self.repeats:
                    self.repeats.end()
            yield piece

    def _tally(self, pieces: Iterable[str | Special], lowercase: bool) -> None:
        part = PARTS[0]
        for chunk in chunks(pieces):  # cut where a word ends, since a Greek capital sigma looks at what follows it
            texts: dict[str, list[str]] = {name: [] for name in PARTS}
            for piece in chunk:
                if isinstance(piece, str):
                    texts[part].append(piece.lower() if lowercase else piece)
                elif piece != END:
                    part = piece.name
            for name, found in texts.items():
                codes = np.frombuffer("".join(found).encode("utf-32-le"), dtype="<u4")
                times = np.bincount(codes)
                self.tallied[name][: len(times)] += times


def characters(tallied: np.ndarray) -> list[str]:
    """Those that occur, in order."""
    return [chr(code) for code in np.flatnonzero(tallied)]

