"""A scored text for the terminal: coloured by surprise or with digits below it, the totals, the largest surprises."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from numpygpt.inspection.score import TextScores
from numpygpt.inspection.surprise import (
    background,
    digit,
    fitted,
    padded,
    painted,
    percent,
    scale,
    sign_rows,
)
from numpygpt.tokenizer import Tokenizer
from numpygpt.tokenizer.display import text_tokens, token_signs
from numpygpt.utils.colour import arranged, bold, listed, token_lines, width
from numpygpt.utils.units import bits_of

COLUMNS = 96
CHUNK_TOKENS = 2000  # tokens per paragraph at most, if no new line comes before
MAX_SURPRISES = 10
CONTEXT_COLUMNS = 30  # for the text before each surprise


def report(tokenizer: Tokenizer, text: TextScores, colour: bool = False, columns: int = COLUMNS) -> Iterator[str]:
    """The report line by line, with the text in lines of at most `columns`."""
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
    return [("surprise", f"-log2 of the probability that the model gave to the actual token: {how}"),
            *sign_rows(tokenizer)]


def paragraphs(tokenizer: Tokenizer, text: TextScores) -> Iterator[tuple[list[list[str]], list[float]]]:
    """(the signs of some tokens, their bits), split at new lines so that a long text is never held as signs."""
    tokens: list[list[str]] = []
    bits: list[float] = []
    for found, surprise in zip(text_tokens(tokenizer, map(int, text.ids)), map(float, text.bits), strict=True):
        tokens.append(found)
        bits.append(surprise)
        if found[-1] == "⏎" or len(tokens) == CHUNK_TOKENS:
            yield tokens, bits
            tokens, bits = [], []
    if tokens:
        yield tokens, bits


def shades(bits: list[float]) -> list[int | None]:
    return [None if math.isnan(surprise) else background(surprise) for surprise in bits]


def with_digits(tokens: list[list[str]], bits: list[float], columns: int) -> Iterator[str]:
    """Each line of the text, and below it a digit at the start of each token."""
    begun = -1
    for line in arranged(tokens, columns):
        above, below = "", ""
        for at, part in line:
            gap = " " * (part[0] == " ")  # a space that is not part of a token
            mark = digit(bits[at]) if at > begun and not math.isnan(bits[at]) else ""
            begun = at
            above += "".join(part)
            below += f"{gap}{mark}".ljust(sum(map(width, part)))
        yield above
        yield below.rstrip()


def totals(text: TextScores) -> Iterator[str]:
    count, loss = len(text.scores.losses), text.scores.loss
    first = "" if count == len(text.ids) else "; the first is not"
    yield f"tokens       {count:,} predicted{first}"
    yield f"loss         {loss:.4f} nats per token; perplexity {math.exp(min(loss, 700)):.4g}"
    yield f"             {bits_of(loss):.4f} bits per token, {text.bits_per_byte:.4f} bits per byte"


def surprises(tokenizer: Tokenizer, text: TextScores, colour: bool = False) -> Iterator[str]:
    """The tokens with the largest losses, the text before them, and what the model expected instead."""
    scores, ids = text.scores, text.ids
    heading = f"{'bits':>6}  {'1 in':>11}  {'after':>{CONTEXT_COLUMNS}}  {'token':<14}  {'expected':<14}  probability"
    yield "The largest surprises"
    yield bold(heading) if colour else heading
    for at in np.argsort(-scores.losses, kind="stable")[:MAX_SURPRISES].tolist():
        place = at + len(ids) - len(scores.losses)  # in ids, which does not contain the token for the beginning
        before = [sign for token in text_tokens(tokenizer, ids[max(0, place - CONTEXT_COLUMNS - 1) : place].tolist())
                  for sign in token]
        bits = bits_of(float(scores.losses[at]))
        token = fitted(token_signs(tokenizer, int(ids[place])), 14)
        shown = painted(token, bits) + " " * (14 - width(token)) if colour else padded(token, 14)
        expected = padded(fitted(token_signs(tokenizer, int(scores.likeliest[at])), 14), 14)
        after = padded(fitted(before, CONTEXT_COLUMNS, end=True), CONTEXT_COLUMNS, right=True)
        probability = percent(float(scores.probability[at]))
        yield f"{bits:6.2f}  {one_in(bits):>11}  {after}  {shown}  {expected}  {probability:>11}"


def one_in(bits: float) -> str:
    """The surprise as odds: 1 in this many."""
    times = 2.0 ** min(bits, 1000)
    return f"{times:,.0f}" if times < 1e9 else f"{times:.1e}"
