"""Documents: files, bytes or pipes, read in blocks and decoded. No more than a block is held."""

from __future__ import annotations

import codecs
import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from numpygpt.data.refusals import CUT_OFF, cannot_read, check_text, no_mark
from numpygpt.data.streams import Cut
from numpygpt.utils.colour import printable
from numpygpt.utils.paths import display_path, quoted

BLOCK = 1 << 20  # bytes read at a time
BOM = "\N{ZERO WIDTH NO-BREAK SPACE}"  # the byte order mark


@dataclass(frozen=True)
class Document:
    """A text: a file, bytes in memory, or an open file that was filled from a pipe. `hint` is added to its errors.

    `can_reencode`: whether the user can name another encoding; `several`: whether other files would get it, too.
    """

    name: str
    source: Path | bytes | BinaryIO
    encoding: str = "utf-8"
    hint: str = ""
    can_reencode: bool = True
    several: bool = False

    @property
    def is_file(self) -> bool:
        return isinstance(self.source, Path)

    @property
    def label(self) -> str:
        """The document's name in messages."""
        return printable(display_path(self.source) if isinstance(self.source, Path) else self.name)

    def shell_name(self, suffix: str = "") -> str:
        """The document's file as a word of a command, with `suffix` behind its name."""
        return quoted(display_path(self.source) + suffix) if isinstance(self.source, Path) else f"FILE{suffix}"

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
        """Remove the copy of a pipe."""
        if not isinstance(self.source, (Path, bytes)):
            self.source.close()


def decoded(
    document: Document, cut: int | None = None, start: int = 0, read: Callable[[int], object] = lambda size: None
) -> Iterator[str | Cut]:
    """Yield the document's text in pieces, without a byte order mark.

    A `Cut` comes before the first whole character from byte `cut` on. `start` is where the document starts in the
    corpus. `read` is called with the size of each block. Raises `ValueError` for a byte that cannot be decoded, and for
    a document that is not text.
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
    """A decoder that knows its place in the document."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.decoder = codecs.getincrementaldecoder(document.encoding)()
        self.at = 0  # bytes taken so far
        self.lines = 0  # line ends in the text so far

    @property
    def pending(self) -> int:
        """The bytes so far of a character that is not complete."""
        return len(self.decoder.getstate()[0])

    def decode(self, data: bytes) -> str:
        """Return the text that `data` completes; empty `data` is the end."""
        held, self.at = self.at - self.pending, self.at + len(data)
        try:
            return self.decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            line = self.lines + error.object.count(b"\n", 0, error.start) + 1
            cut_off = not data and error.reason in CUT_OFF
            raise cannot_read(self.document, held + error.start, line, cut_off) from error
        except UnicodeError as error:  # UTF-16 and UTF-32 without a byte order mark
            raise no_mark(self.document) from error
