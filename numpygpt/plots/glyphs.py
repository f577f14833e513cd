"""Tokens as text in a picture: visible signs, and no character that the font lacks."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from matplotlib.font_manager import FontProperties, findfont, get_font

from numpygpt.inspection.surprise import fitted
from numpygpt.tokenizer import Tokenizer
from numpygpt.tokenizer.display import token_signs
from numpygpt.utils.colour import number_of, printable, signs


def drawable(text: str) -> str:
    r"""Replace every character that the pictures' font lacks, such as an emoji, by its number: \U0001f642."""
    return "".join(char if ord(char) in _known() else number_of(char) for char in printable(text))


def one_line(text: str) -> str:
    """Return a text to quote in a title: new lines become signs, spaces stay."""
    return drawable("".join(" " if sign == "·" else sign for sign in signs(text)))


@cache
def _known() -> frozenset[int]:
    fonts = (FontProperties(weight=weight) for weight in ("normal", "bold"))
    return frozenset.intersection(*(frozenset(get_font(findfont(font)).get_charmap()) for font in fonts))


def token_label(tokenizer: Tokenizer, id: int, most: int = 16) -> str:
    return fitted([drawable(sign) for sign in token_signs(tokenizer, id)], most)


def token_labels(tokenizer: Tokenizer, ids: Iterable[int], most: int = 16) -> list[str]:
    return [token_label(tokenizer, int(id), most) for id in ids]
