"""Tokens as words in a picture: signs that can be seen, and none that the font lacks."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from matplotlib import font_manager

from numpygpt.tokenizer import Tokenizer
from numpygpt.utils.colour import printable, signs
from numpygpt.utils.data.inspect import token_signs


def drawable(text: str) -> str:
    r"""`text` with every character that the pictures' font lacks, such as an emoji, as its number: \U0001f642."""
    regular, bold = (font_manager.findfont(font_manager.FontProperties(weight=weight)) for weight in ("normal", "bold"))
    known = _known(regular) & _known(bold)
    return "".join(char if ord(char) in known else char.encode("unicode_escape").decode() for char in printable(text))


def one_line(text: str) -> str:
    """A text to quote in a title: its new lines as signs, its spaces as they are."""
    return drawable("".join(" " if sign == "·" else sign for sign in signs(text)))


@cache
def _known(path: str) -> frozenset[int]:
    """The code points that the font in this file can draw."""
    return frozenset(font_manager.get_font(path).get_charmap())


def token_label(tokenizer: Tokenizer, id: int, most: int = 16) -> str:
    """One token in signs; one that takes more than `most` characters loses its middle."""
    found = [drawable(sign) for sign in token_signs(tokenizer, id)]
    if sum(map(len, found)) <= most:
        return "".join(found)
    return f"{_fitting(found, most // 2)}…{_fitting(found, most // 2 - 1, end=True)}"


def token_labels(tokenizer: Tokenizer, ids: Iterable[int], most: int = 16) -> list[str]:
    return [token_label(tokenizer, int(id), most) for id in ids]


def _fitting(found: list[str], room: int, end: bool = False) -> str:
    """As many whole signs from the start, or from the end, as have room; one at least."""
    taken: list[str] = []
    for sign in reversed(found) if end else found:
        if taken and sum(map(len, taken)) + len(sign) > room:
            break
        taken.append(sign)
    return "".join(reversed(taken) if end else taken)
