"""Text that a corpus has more than once: files that were given twice, and documents in both parts.

A model predicts a text well that it was trained on, so a text in both parts makes the validation loss look too good.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from numpygpt.data.documents import Document

TRAIN, VAL = 1, 2
MAX_NAMED = 3  # files in a note


def without_duplicates(documents: Sequence[Document]) -> tuple[list[Document], list[str]]:
    """Return the documents without later copies of the same file or the same bytes, and notes for the user.

    Only documents of equal size are read.
    """
    files: dict[object, Document] = {}  # by device and number: links and other spellings of a path are the same file
    again: list[str] = []
    for document in documents:
        if files.setdefault(_file_id(document), document) is not document:
            again.append(document.label)
    sizes = Counter(document.size for document in files.values())
    unique: list[Document] = []
    contents: dict[bytes, Document] = {}
    copies: list[str] = []
    for document in files.values():
        if document.size and sizes[document.size] > 1:
            first = contents.setdefault(_digest(document), document)
            if first is not document:
                copies.append(f"{document.label} (as {first.label})")
                document.close()
                continue
        unique.append(document)
    empty = [document.label for document in unique if not document.size and len(unique) > 1]
    found = [("given more than once and read once", list(dict.fromkeys(again))), ("empty", empty),
             ("left out, with the same content as an earlier file", copies)]  # fmt: skip
    return unique, [f"{_files(len(names))} {what}: {some_of(names)}" for what, names in found if names]


class Repeats:
    """Finds validation documents that the training part has, too, up to white space. 9 bytes per document."""

    def __init__(self) -> None:
        self._digests, self._parts = array("Q"), bytearray()
        self._begin()

    def _begin(self) -> None:
        self._digest, self._in = hashlib.blake2b(digest_size=8), 0

    def add(self, part: str, text: str) -> None:
        """Add text to the current document."""
        self._digest.update(text.encode("utf-8").translate(None, b" \t\n\r\f\v"))
        self._in |= TRAIN if part == "train" else VAL

    def end(self) -> None:
        """The current document ends."""
        self._digests.append(int.from_bytes(self._digest.digest(), "little"))
        self._parts.append(self._in)
        self._begin()

    def found(self) -> list[int]:
        """Return the numbers of the validation documents that equal a training document.

        A document that a split by position cuts is in both parts. It counts if another document in the training part
        equals it.
        """
        digests = np.frombuffer(self._digests, np.uint64)
        parts = np.frombuffer(self._parts, np.uint8)
        in_train, in_val = parts & TRAIN > 0, parts & VAL > 0
        repeated = np.isin(digests, digests[in_train & ~in_val]) | (~in_train & np.isin(digests, digests[in_train]))
        return np.flatnonzero(in_val & repeated).tolist()


def _file_id(document: Document) -> object:
    """Return the same for two documents that are the same file."""
    if not isinstance(document.source, Path):
        return id(document)
    found = document.source.stat()
    return found.st_dev, found.st_ino


def _digest(document: Document) -> bytes:
    with document.open() as file:
        return hashlib.file_digest(file, "sha256").digest()  # type: ignore[arg-type]


def _files(count: int) -> str:
    return "1 file is" if count == 1 else f"{count:,} files are"


def some_of(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - MAX_NAMED:,} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more
