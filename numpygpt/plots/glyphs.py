"""Tokens as words in a picture: signs that can be seen, and none that the font lacks."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from matplotlib.font_manager import FontProperties, findfont, get_font

from numpygpt.tokenizer import Tokenizer
from numpygpt.tokenizer.display import token_signs
from numpygpt.utils.colour import number_of, printable, signs


def drawable(text: str) -> str:
    r"""`text` with every character that the pictures' font lacks, such as an emoji, as its number: \U0001f642."""
    known = _known(*(FontProperties(weight=weight) for weight in ("normal", "bold")))
    return _numbered(printable(text), known)


def drawable_in(family: str, sign: str) -> str:
    """A sign, or its number where this family of letters lacks it."""
    return _numbered(sign, _known(FontProperties(family=family)))


def one_line(text: str) -> str:
    """A text to quote in a title: its new lines as signs, its spaces as they are."""
    return drawable("".join(" " if sign == "·" else sign for sign in signs(text)))


@cache
def _known(*fonts: FontProperties) -> frozenset[int]:
    """The code points that all of these fonts can draw."""
    return frozenset.intersection(*(frozenset(get_font(findfont(font)).get_charmap()) for font in fonts))


def _numbered(text: str, known: frozenset[int]) -> str:
    return "".join(char if ord(char) in known else number_of(char) for char in text)


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
