"""A scored text for the terminal: coloured by surprise or with digits below it, the totals, the greatest surprises."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np

from numpygpt.inspection.score import TextScores
from numpygpt.inspection.surprise import (
    background,
    bits_of,
    brief,
    digit,
    padded,
    painted,
    percent,
    scale,
    sign_rows,
)
from numpygpt.tokenizer import Tokenizer
from numpygpt.tokenizer.display import text_tokens, token_signs
from numpygpt.utils.colour import arranged, bold, listed, token_lines, width

COLUMNS = 96
AT_ONCE = 2000  # tokens that are laid out at a time, where no new line comes before
MOST = 10  # of the greatest surprises
BEFORE = 30  # columns of the text before each of them


def report(tokenizer: Tokenizer, text: TextScores, colour: bool = False, columns: int = COLUMNS) -> Iterator[str]:
    """What `./sample.py --score` prints, line by line; the text in lines of at most `columns`."""
    yield listed(legend(tokenizer, colour), columns) + (f"\n{'surprise':<12} {scale()}" if colour else "")
    yield ""
    for tokens, bits in paragraphs(tokenizer, text):
        yield from token_lines(tokens, columns, shades(bits)) if colour else with_digits(tokens, bits, columns)
    yield ""
    yield from totals(text)
    yield ""
    yield from surprises(tokenizer, text, colour)


def legend(tokenizer: Tokenizer, colour: bool) -> list[tuple[str, str]]:
    how = "the colour of each token" if colour else "below each token, in whole bits: 0 to 9, then a for 10 to z for 35"
    return [("surprise", f"-log2 of the probability that the model gave to the token that came: {how}"),
            *sign_rows(tokenizer)]


def paragraphs(tokenizer: Tokenizer, text: TextScores) -> Iterator[tuple[list[list[str]], list[float]]]:
    """(the signs of some tokens, their bits), cut where the text has a new line: a long text is never held in signs."""
    tokens: list[list[str]] = []
    bits: list[float] = []
    for found, surprise in zip(text_tokens(tokenizer, values(text.ids)), values(text.bits), strict=True):
        tokens.append(found)
        bits.append(surprise)
        if found[-1] == "⏎" or len(tokens) == AT_ONCE:
            yield tokens, bits
            tokens, bits = [], []
    if tokens:
        yield tokens, bits


def shades(bits: list[float]) -> list[int | None]:
    return [None if math.isnan(surprise) else background(surprise) for surprise in bits]


def with_digits(tokens: list[list[str]], bits: list[float], columns: int) -> Iterator[str]:
    """Each line of the text, and under it a digit where a token begins."""
    begun = -1
    for line in arranged(tokens, columns):
        above, below = "", ""
        for at, part in line:
            gap = " " * (part[0] == " ")  # a space that belongs to no token
            mark = digit(bits[at]) if at > begun and not math.isnan(bits[at]) else ""
            begun = at
            above += "".join(part)
            below += f"{gap}{mark}".ljust(sum(map(width, part)))
        yield above
        yield below.rstrip()


def totals(text: TextScores) -> Iterator[str]:
    """The text in numbers."""
    count, loss = len(text.scores.losses), text.scores.loss
    first = "" if count == len(text.ids) else "; the first has nothing before it"
    yield f"tokens       {count:,} predicted{first}"
    yield f"loss         {loss:.4f} nats a token; perplexity {math.exp(min(loss, 700)):.4g}"
    yield f"             {bits_of(loss):.4f} bits a token, {text.bits_per_byte:.4f} bits a byte"


def surprises(tokenizer: Tokenizer, text: TextScores, colour: bool = False) -> Iterator[str]:
    """The tokens with the greatest losses, what stood before them, and what the model had expected instead."""
    scores, ids = text.scores, text.ids
    order = greatest(scores.losses)
    heading = f"{'bits':>6}  {'1 in':>11}  {'after':>{BEFORE}}  {'token':<14}  {'expected':<14}  chance"
    yield "The greatest surprises"
    yield bold(heading) if colour else heading
    for at in order:
        place = at + len(ids) - len(scores.losses)  # in ids, where a token for the beginning is not counted
        before = [sign for token in text_tokens(tokenizer, ids[max(0, place - BEFORE - 1) : place].tolist())
                  for sign in token]
        bits = bits_of(float(scores.losses[at]))
        token = brief(token_signs(tokenizer, int(ids[place])), 14)
        shown = painted(token, bits) + " " * (14 - width(token)) if colour else padded(token, 14)
        expected = padded(brief(token_signs(tokenizer, int(scores.likeliest[at])), 14), 14)
        yield (f"{bits:6.2f}  {one_in(bits):>11}  {padded(brief(before, BEFORE, end=True), BEFORE, right=True)}"
               f"  {shown}  {expected}  {percent(float(scores.chance[at])):>6}")


def greatest(losses: np.ndarray) -> list[int]:
    """The places of the greatest losses, of equal ones the first: the text is never sorted as a whole."""
    found = np.zeros(0, np.int64)
    for start in range(0, len(losses), AT_ONCE):
        found = np.append(found, np.arange(start, min(start + AT_ONCE, len(losses))))
        found = found[np.argsort(-losses[found], kind="stable")[:MOST]]
    return found.tolist()


def values(array: np.ndarray) -> Iterator[Any]:
    """The array's values as Python numbers, converted a block at a time."""
    return chain.from_iterable(array[start : start + AT_ONCE].tolist() for start in range(0, len(array), AT_ONCE))


def one_in(bits: float) -> str:
    """The surprise as odds: one time in so many."""
    times = 2.0 ** min(bits, 1000)
    return f"{times:,.0f}" if times < 1e9 else f"{times:.1e}"
