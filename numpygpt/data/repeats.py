"""Text that a corpus has more than once: files that were given twice, and documents of both parts.

A model that was trained on a text predicts it well, so a text that is in both parts makes the validation loss look
better than it is.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Sequence

import numpy as np

from numpygpt.data.documents import BLOCK, Document

NAMED = 3  # as many files are listed in a note
TRAIN, VAL = 1, 2


def once(documents: Sequence[Document]) -> tuple[list[Document], list[str]]:
    """The documents without those that are the same file as an earlier one, or have the same bytes; and notes for the
    user. Only documents of equal size are read."""
    files: dict[object, Document] = {}  # by device and number: links and other spellings of a path are the same file
    named: list[Document] = []  # more than once
    for document in documents:
        key = _file(document)
        if key in files:
            named.append(document)
        files.setdefault(key, document)
    sizes = Counter(document.size for document in files.values())
    kept: list[Document] = []
    contents: dict[tuple[int, bytes], Document] = {}
    copies: list[str] = []
    for document in files.values():
        size = document.size
        if size and sizes[size] > 1:
            first = contents.setdefault((size, _digest(document)), document)
            if first is not document:
                copies.append(f"{document.label} (as {first.label})")
                document.close()
                continue
        kept.append(document)
    notes = []
    if named:
        again = list(dict.fromkeys(document.label for document in named))
        notes.append(f"{_files(len(again))} given more than once, and read once: {_some(again)}")
    if empty := [document.label for document in kept if not document.size and len(kept) > 1]:
        notes.append(f"{_files(len(empty))} empty: {_some(empty)}")
    if copies:
        notes.append(f"{_files(len(copies))} left out, with the same content as an earlier one: {_some(copies)}")
    return kept, notes


class Repeats:
    """Which validation documents the training part has as well; white space does not count. 9 bytes per document."""

    def __init__(self) -> None:
        self._digests, self._parts = array("Q"), bytearray()
        self._begin()

    def _begin(self) -> None:
        self._digest, self._in = hashlib.blake2b(digest_size=8), 0

    def add(self, part: str, text: str) -> None:
        """Take more of the present document."""
        self._digest.update(text.encode("utf-8").translate(None, b" \t\n\r\f\v"))
        self._in |= TRAIN if part == "train" else VAL

    def end(self) -> None:
        """The present document is whole."""
        self._digests.append(int.from_bytes(self._digest.digest(), "little"))
        self._parts.append(self._in)
        self._begin()

    def found(self) -> list[int]:
        """The numbers of the validation documents that equal a training document. A document that a split by position
        cuts is in both parts: it counts if another one in the training part equals it."""
        digests = np.frombuffer(self._digests, np.uint64)
        parts = np.frombuffer(self._parts, np.uint8)
        in_train, in_val = parts & TRAIN > 0, parts & VAL > 0
        repeated = np.isin(digests, digests[in_train & ~in_val]) | (~in_train & np.isin(digests, digests[in_train]))
        return np.flatnonzero(in_val & repeated).tolist()


def _file(document: Document) -> object:
    """The same for two documents that are the same file."""
    if not document.is_file:
        return id(document)
    found = document.source.stat()  # type: ignore[union-attr]
    return (found.st_dev, found.st_ino)


def _digest(document: Document) -> bytes:
    with document.open() as file:
        digest = hashlib.sha256()
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.digest()


def _files(count: int) -> str:
    return "1 file is" if count == 1 else f"{count:,} files are"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
