"""What `--clean` does to a text, whole or in pieces."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from numpygpt.data.documents import Piece

CLEANINGS = ("alnum",)
APOSTROPHES = "'\N{RIGHT SINGLE QUOTATION MARK}"
GAP = " \n"


def clean_alnum(text: str) -> str:
    """Keep letters, digits and single white space, in every script.

    Apostrophes vanish (don't -> dont); any other run of characters that are neither letter nor digit becomes one space,
    or one new line where it has one (king.--And -> king And). Marks that belong to a letter stay with it.
    """
    return "".join(piece for piece in cleaned([text]) if isinstance(piece, str))


def cleaned(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """The same for a text in pieces; no gap is left at either end of a document, nor beside a cut."""
    gap, begun = "", False  # the white space after the last letter; whether there was one
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
    """What becomes of each character, by code point; found out when it is first asked for."""

    def __missing__(self, code: int) -> str | None:
        char = chr(code)
        kept = char == "\n" or char.isalnum() or unicodedata.category(char).startswith("M")
        self[code] = None if char in APOSTROPHES else char if kept else " "
        return self[code]


_table = _Table()
