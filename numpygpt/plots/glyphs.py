"""Tokens as text in a picture: visible signs, and no character that the font lacks."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from matplotlib.font_manager import FontProperties, findfont, get_font

from numpygpt.tokenizer import Tokenizer
from numpygpt.tokenizer.display import token_signs
from numpygpt.utils.colour import number_of, printable, signs


def drawable(text: str) -> str:
    r"""Replace every character that the pictures' font lacks, such as an emoji, by its number: \U0001f642."""
    known = _known(*(FontProperties(weight=weight) for weight in ("normal", "bold")))
    return _numbered(printable(text), known)


def drawable_in(family: str, sign: str) -> str:
    """Return a sign, or its number if this font family lacks it."""
    return _numbered(sign, _known(FontProperties(family=family)))


def one_line(text: str) -> str:
    """Return a text to quote in a title: new lines become signs, spaces stay."""
    return drawable("".join(" " if sign == "·" else sign for sign in signs(text)))


@cache
def _known(*fonts: FontProperties) -> frozenset[int]:
    """Return the code points that all of these fonts can draw."""
    return frozenset.intersection(*(frozenset(get_font(findfont(font)).get_charmap()) for font in fonts))


def _numbered(text: str, known: frozenset[int]) -> str:
    return "".join(char if ord(char) in known else number_of(char) for char in text)


def token_label(tokenizer: Tokenizer, id: int, most: int = 16) -> str:
    """Return the signs of a token. If they have more than `most` characters, the middle is cut."""
    found = [drawable(sign) for sign in token_signs(tokenizer, id)]
    if sum(map(len, found)) <= most:
        return "".join(found)
    return f"{_fitting(found, most // 2)}…{_fitting(found, most // 2 - 1, end=True)}"


def token_labels(tokenizer: Tokenizer, ids: Iterable[int], most: int = 16) -> list[str]:
    return [token_label(tokenizer, int(id), most) for id in ids]


def _fitting(found: list[str], room: int, end: bool = False) -> str:
    """Return as many whole signs from the start, or from the end, as have room; at least one."""
    taken: list[str] = []
    for sign in reversed(found) if end else found:
        if taken and sum(map(len, taken)) + len(sign) > room:
            break
        taken.append(sign)
    return "".join(reversed(taken) if end else taken)
