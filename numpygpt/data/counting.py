"""The first pass over a corpus: its hash, its size, and the characters of each part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from numpygpt.data.oddities import Oddities
from numpygpt.data.repeats import Repeats
from numpygpt.data.split import PARTS, PassRecord, SplitCorpus
from numpygpt.data.streams import END
from numpygpt.tokenizer.stream import Special, chunks

CODE_POINTS = 0x110000


class Counts:
    """Counts over a corpus, in total and for each part.

    `total` is the number of documents. `documents` counts for each part the documents with text in it, so a document
    that the split cuts counts in both. `characters` and `bytes` (of UTF-8) are counted after cleaning. With `tally`,
    `tallied` is how often each character occurs, by code point (lower-cased if `lowercase`). (CODE_POINTS,)
    """

    def __init__(self, source: SplitCorpus, tally: bool = False, lowercase: bool = False) -> None:
        self.record = PassRecord(Oddities())
        self.total = 0
        corpus = source.corpus
        self.repeats = Repeats() if corpus.separator is not None or len(corpus.documents) > 1 else None
        self.documents, self.characters, self.bytes = (dict.fromkeys(PARTS, 0) for _ in range(3))
        self.tallied = {part: np.zeros(CODE_POINTS if tally else 0, dtype=np.int64) for part in PARTS}
        pieces = self._counted(source.parts("reading", self.record))
        if tally:
            self._tally(pieces, lowercase)
        else:
            for _ in pieces:
                pass

    @property
    def several(self) -> bool:
        """Whether END separates documents."""
        return self.total > 1

    def to_meta(self) -> dict[str, Any]:
        """Return meta.json's record of the text and of each part, without its tokens."""
        parts = {part: {"documents": self.documents[part], "characters": self.characters[part],
                        "bytes": self.bytes[part]} for part in PARTS}  # fmt: skip
        return {"sha256": self.record.sha256, "documents": self.total, **parts}

    def _counted(self, pieces: Iterable[tuple[str, str | Special]]) -> Iterator[str | Special]:
        """Yield the pieces, and the part's name as a special token before each document's text in a part."""
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
        for chunk in chunks(pieces):  # cut at the end of a word: how a Greek capital sigma is lowered depends on it
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
    """Return the characters that occur, in order."""
    return [chr(code) for code in np.flatnonzero(tallied)]
