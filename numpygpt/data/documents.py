"""Documents: read in blocks, decoded, and parted at a separator. Nothing here holds more than a block of a text.

    bytes -> `decoded` -> str, `Cut` -> `separated` -> str, `Cut`, END -> `tidied`

What comes out of each step is a stream of pieces: text cut anywhere, END after each document, and at one place of the
corpus a `Cut`, where a split by position parts training from validation.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO, TypeAlias

from numpygpt.data.refusals import CUT_OFF, cannot_read, check_text, no_mark
from numpygpt.tokenizer.special import END_OF_TEXT
from numpygpt.tokenizer.stream import Special
from numpygpt.utils.colour import printable
from numpygpt.utils.paths import display_path, quoted

BLOCK = 1 << 20  # bytes read at a time
END = Special(END_OF_TEXT)  # after each document
BOM = "\N{ZERO WIDTH NO-BREAK SPACE}"  # the byte order mark


@dataclass(frozen=True)
class Cut:
    """The place where the validation part begins, `at` bytes from the start of the corpus."""

    at: int


Piece: TypeAlias = str | Special | Cut


@dataclass(frozen=True)
class Document:
    """A text: a file, bytes in memory, or an open file that was filled from a pipe. `hint` ends an error's sentence.

    `flag`: whether the user can name another encoding by --encoding; `several`: whether that is for other files too.
    """

    name: str
    source: Path | bytes | BinaryIO
    encoding: str = "utf-8"
    hint: str = ""
    flag: bool = True
    several: bool = False

    @property
    def is_file(self) -> bool:
        return isinstance(self.source, Path)

    @property
    def label(self) -> str:
        """The document's name in messages."""
        return printable(display_path(self.source) if isinstance(self.source, Path) else self.name)

    def word(self, more: str = "") -> str:
        """The document's file in a command, with `more` behind its name."""
        return quoted(display_path(self.source) + more) if isinstance(self.source, Path) else f"FILE{more}"

    def head(self, size: int) -> bytes:
        with self.open() as file:
            return file.read(size)

    @property
    def size(self) -> int:
        """Bytes, before anything is decoded."""
        if isinstance(self.source, Path):
            return self.source.stat().st_size
        return len(self.source) if isinstance(self.source, bytes) else self.source.seek(0, io.SEEK_END)

    def open(self) -> AbstractContextManager[BinaryIO]:
        if isinstance(self.source, Path):
            return self.source.open("rb")
        if isinstance(self.source, bytes):
            return io.BytesIO(self.source)
        self.source.seek(0)
        return nullcontext(self.source)

    def close(self) -> None:
        """Remove what came through a pipe."""
        if not isinstance(self.source, (Path, bytes)):
            self.source.close()


def decoded(
    document: Document, cut: int | None = None, start: int = 0, read: Callable[[int], object] = lambda size: None
) -> Iterator[str | Cut]:
    """The document's text in pieces, without a byte order mark, and a `Cut` before the first whole character from byte
    `cut` on. `start`: where the document begins in the corpus; `read` is told how many bytes each block has.

    Raises `ValueError` that names the byte which cannot be decoded, and for what is not text.
    """
    reader = Reader(document)
    marked = begun = True  # until the first character has come
    with document.open() as file:
        while True:
            to_cut = BLOCK if cut is None else cut - reader.at
            if cut is not None and to_cut <= 0 and not reader.pending:
                yield Cut(start + reader.at)
                cut = None
                continue
            data = file.read(max(1, min(BLOCK, to_cut)))  # one byte at a time to the end of a character that was cut
            text = reader.decode(data)
            if marked and text:
                text, marked = text.removeprefix(BOM), False
            if text:
                check_text(document, text, reader.lines, begun)
                begun = False
                reader.lines += text.count("\n")
                yield text
            read(len(data))
            if not data:
                return


class Reader:
    """A decoder that knows where in its document it is."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.decoder = codecs.getincrementaldecoder(document.encoding)()
        self.at = 0  # bytes taken so far
        self.lines = 0  # line ends in the text so far

    @property
    def pending(self) -> int:
        """The bytes of a character that is not whole yet."""
        return len(self.decoder.getstate()[0])

    def decode(self, data: bytes) -> str:
        """The text that is whole with `data`; no data is the end."""
        held, self.at = self.at - self.pending, self.at + len(data)
        try:
            return self.decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            line = self.lines + error.object.count(b"\n", 0, error.start) + 1
            cut_off = not data and error.reason in CUT_OFF
            raise cannot_read(self.document, held + error.start, line, cut_off) from error
        except UnicodeError as error:  # UTF-16 and UTF-32 without a byte order mark
            raise no_mark(self.document) from error


def separated(pieces: Iterable[str | Cut], separator: str) -> Iterator[Piece]:
    """END where `separator` stands, which is removed, and with it a line end right behind it."""
    pattern = re.compile(re.escape(separator) + r"(?:\r?\n)?")
    keep = len(separator) + 1  # the end of the text so far that may belong to a separator or its line end
    held, cut = "", None  # text that is not certain yet, and a `Cut` with its place in it
    for piece in chain(pieces, [None]):
        if isinstance(piece, Cut):
            cut = (len(held), piece)
            continue
        held += piece or ""
        sure, done = len(held) - (keep if piece is not None else 0), 0
        while (found := pattern.search(held, done)) and found.start() < sure:
            yield from _with_cut(held, done, found.start(), cut)
            cut = None if cut and cut[0] < found.start() else cut
            yield END
            done = found.end()
        sure = max(sure, done)
        yield from _with_cut(held, done, sure, cut)
        cut = (cut[0] - sure, cut[1]) if cut and cut[0] >= sure else None
        held = held[sure:]
    if cut:
        yield cut[1]


def _with_cut(text: str, start: int, end: int, cut: tuple[int, Cut] | None) -> Iterator[str | Cut]:
    """`text[start:end]`, with the cut where it lies in this stretch, or in a separator that went before it."""
    if cut and cut[0] < end:
        middle = max(start, cut[0])
        yield text[start:middle]
        yield cut[1]
        start = middle
    yield text[start:end]


def tidied(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """No empty piece, no END without a document before it, and a `Cut` directly before text, behind any END."""
    text, cut = False, None
    for piece in pieces:
        if isinstance(piece, Cut):
            cut = piece
        elif isinstance(piece, Special):
            if text:
                yield piece
            text = False
        elif piece:
            if cut:
                yield cut
                cut = None
            yield piece
            text = True
    if cut:
        yield cut

