"""Surprise in bits, -log2 of a token's probability, as a colour or a digit; tokens and probabilities in few columns."""

from __future__ import annotations

import string
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

from numpygpt.tokenizer import Tokenizer
from numpygpt.tokenizer.display import LEGENDS
from numpygpt.utils.colour import BLACK, DARK, LEGEND, SCALE, WHITE, paint, width

DIGITS = string.digits + string.ascii_lowercase

BOUNDS = (1, 2, 4, 6, 8, 12)  # bits; below the first the token was more likely than all others together


def background(bits: float) -> int:
    return SCALE[bisect_right(BOUNDS, bits)]


def painted(text: str, bits: float) -> str:
    number = background(bits)
    return paint(text, number, WHITE if number in DARK else BLACK)


def scale() -> str:
    steps = [f"below {BOUNDS[0]}", *(f"{low} to {high}" for low, high in pairwise(BOUNDS)), f"from {BOUNDS[-1]}"]
    return "".join(painted(f" {step} ", low) for step, low in zip(steps, (0, *BOUNDS), strict=True)) + " bits"


def digit(bits: float) -> str:
    """A surprise in bits, rounded down, as one character: 0 to 9, then a for 10 up to z for 35 and more."""
    return DIGITS[int(min(bits, len(DIGITS) - 1))]


def fitted(found: Sequence[str], room: int, end: bool = False) -> str:
    """The first of these signs that fit in `room` columns, or with `end` the last; `…` stands for the others."""
    if sum(map(width, found)) <= room:
        return "".join(found)
    kept, used = [], 1
    for sign in reversed(found) if end else found:
        used += width(sign)
        if used > room:
            break
        kept.append(sign)
    return "…" + "".join(reversed(kept)) if end else "".join(kept) + "…"


def shorten_middle(name: str, columns: int = 60) -> str:
    """Cut the middle of a name that is too wide: names differ at either end."""
    return name if width(name) <= columns else f"{fitted(name, columns // 2)}{fitted(name, columns // 2, end=True)[1:]}"


def padded(text: str, columns: int, right: bool = False) -> str:
    """`text` with spaces behind it, or before it if `right`, to fill that many columns of a terminal."""
    gap = " " * (columns - width(text))
    return gap + text if right else text + gap


def percent(p: float) -> str:
    """A probability in at most six characters."""
    if p == 0:
        return "0%"
    return "<0.01%" if p < 1e-4 else f"{100 * p:.2f}%" if p < 1e-2 else f"{100 * p:.1f}%"


def sign_rows(tokenizer: Tokenizer) -> list[tuple[str, str]]:
    """The meaning of the signs, for `colour.listed`."""
    return [("signs", LEGEND), *(("", words) for words in LEGENDS[tokenizer.kind])]
