"""Surprise in bits, -log2 of a token's probability, as a colour, as a digit and in words; and tokens in signs."""

from __future__ import annotations

import math
import string
from bisect import bisect_right
from itertools import pairwise
from typing import TypeVar

import numpy as np

from numpygpt.tokenizer import Tokenizer
from numpygpt.tokenizer.display import LEGENDS
from numpygpt.utils.colour import BLACK, DARK, LEGEND, SCALE, WHITE, paint, width

DIGITS = string.digits + string.ascii_lowercase
Number = TypeVar("Number", float, np.ndarray)

BOUNDS = (1, 2, 4, 6, 8, 12)  # bits; a token below the first was more likely than all others together


def background(bits: float) -> int:
    """The colour of a surprise: one of SCALE."""
    return SCALE[bisect_right(BOUNDS, bits)]


def painted(text: str, bits: float) -> str:
    """`text` on the colour of a surprise."""
    number = background(bits)
    return paint(text, number, WHITE if number in DARK else BLACK)


def scale() -> str:
    """The colours with their bits."""
    steps = [f"below {BOUNDS[0]}", *(f"{low} to {high}" for low, high in pairwise(BOUNDS)), f"from {BOUNDS[-1]}"]
    return "".join(painted(f" {step} ", low) for step, low in zip(steps, (0, *BOUNDS), strict=True)) + " bits"


def digit(bits: float) -> str:
    """A surprise in whole bits, rounded down, as one sign: 0 to 9, then a for 10 up to z for 35 and more."""
    return DIGITS[int(min(bits, len(DIGITS) - 1))]


def brief(found: list[str], room: int, end: bool = False) -> str:
    """The first of these signs in `room` columns, or with `end` the last; `…` stands for those left out."""
    if sum(map(width, found)) <= room:
        return "".join(found)
    kept, used = [], 1
    for sign in reversed(found) if end else found:
        used += width(sign)
        if used > room:
            break
        kept.append(sign)
    return "…" + "".join(reversed(kept)) if end else "".join(kept) + "…"


def padded(text: str, columns: int, right: bool = False) -> str:
    """`text` with spaces behind it, or before it to stand on the right, up to a width on the terminal."""
    gap = " " * (columns - width(text))
    return gap + text if right else text + gap


def percent(p: float) -> str:
    """A probability in at most six characters."""
    if p == 0:
        return "0%"
    return "<0.01%" if p < 1e-4 else f"{100 * p:.2f}%" if p < 1e-2 else f"{100 * p:.1f}%"


def bits_of(nats: Number) -> Number:
    """Nats in bits, of one number or of an array."""
    return nats / math.log(2)


def sign_rows(tokenizer: Tokenizer) -> list[tuple[str, str]]:
    """What the signs mean, for `colour.listed`."""
    return [("signs", LEGEND), *(("", words) for words in LEGENDS[tokenizer.kind])]
