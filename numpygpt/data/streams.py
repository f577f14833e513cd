"""A corpus as a stream of pieces: text cut anywhere, END after each document, and at one place a `Cut`.

    documents.decoded -> text, Cut -> separated -> text, Cut, END -> cleaned -> tidied

No step holds more of a text than a piece.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TypeAlias

from numpygpt.tokenizer.special import END_OF_TEXT
from numpygpt.tokenizer.stream import Special

END = Special(END_OF_TEXT)  # after each document
CLEANINGS = ("alnum",)
APOSTROPHES = "'\N{RIGHT SINGLE QUOTATION MARK}"
GAP = " \n"


@dataclass(frozen=True)
class Cut:
    """Where a split by position starts the validation part: `at` bytes from the start of the corpus."""

    at: int


Piece: TypeAlias = str | Special | Cut


def separated(pieces: Iterable[str | Cut], separator: str) -> Iterator[Piece]:
    """Replace each `separator`, and a line end directly behind it, by END."""
    pattern = re.compile(re.escape(separator) + r"(?:\r?\n)?")
    keep = len(separator) + 1  # so much of the text's end may belong to a separator or its line end
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
    """Yield `text[start:end]`, with the cut if it lies there or in a separator before it."""
    if cut and cut[0] < end:
        middle = max(start, cut[0])
        yield text[start:middle]
        yield cut[1]
        start = middle
    yield text[start:end]


def clean_alnum(text: str) -> str:
    """Return only letters, digits and single white space, in every script.

    Apostrophes vanish (don't -> dont). Any other run of characters that are neither letter nor digit becomes one space,
    or one new line if it has one (king.--And -> king And). Marks that belong to a letter stay.
    """
    return "".join(piece for piece in cleaned([text]) if isinstance(piece, str))


def cleaned(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Apply `clean_alnum` to a text in pieces. No white space is left at either end of a document or beside a cut."""
    gap, begun = "", False  # the white space after the last letter; whether there was a letter
    for piece in pieces:
        if not isinstance(piece, str):
            gap, begun = "", False
            yield piece
            continue
        text = re.sub(r" ?\n[ \n]*", "\n", re.sub("  +", " ", gap + piece.translate(_table)))
        text = text if begun else text.lstrip(GAP)
        body = text.rstrip(GAP)
        gap = text[len(body) :]
        begun = begun or bool(body)
        yield body


class _Table(dict[int, "str | None"]):
    """What each character becomes, by code point; computed when it is first needed."""

    def __missing__(self, code: int) -> str | None:
        char = chr(code)
        stays = char == "\n" or char.isalnum() or unicodedata.category(char).startswith("M")
        self[code] = None if char in APOSTROPHES else char if stays else " "
        return self[code]


_table = _Table()


def tidied(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Drop empty pieces and any END without a document before it; put the `Cut` directly before text."""
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
