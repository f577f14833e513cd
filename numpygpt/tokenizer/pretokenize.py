"""GPT-2's pre-tokenization: text is cut into words with their leading space, and merges never cross a cut."""

from __future__ import annotations

import re
from functools import cache

from numpygpt.tokenizer.unicode import WHITESPACE, ranges, read_table
from numpygpt.tokenizer.unicode_table import LETTERS, NUMBERS

HIGH = r"\U00010000-\U0010ffff"  # beyond the first 65,536 code points: emoji, rare Han, old scripts


@cache
def gpt2_pattern(high: bool) -> re.Pattern[str]:
    r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+

    (GPT-2, encoder.py.) `\s+(?!\S)` leaves the last space of a run to the next word, so that " word" is always one
    piece. Without `high`, the pattern is only for text without characters in HIGH.
    """
    letter_runs, number_runs, S = read_table(LETTERS), read_table(NUMBERS), re.escape(WHITESPACE)
    L, N = ranges(letter_runs, last=0xFFFF), ranges(number_runs, last=0xFFFF)
    letters, numbers, others = f"[{L}]++", f"[{N}]++", f"[^{S}{L}{N}]++"
    if high:
        high_L, high_N = ranges(letter_runs, first=0x10000), ranges(number_runs, first=0x10000)
        letters, numbers = either(L, high_L), either(N, high_N)
        others = either(f"^{S}{L}{N}{HIGH}", f"^{high_L}{high_N}")
    return re.compile(rf"'(?:[stmd]|re|ve|ll)| ?{letters}| ?{numbers}| ?{others}|[{S}]+(?![^{S}])|[{S}]+")


def either(low: str, high: str) -> str:
    """Return a pattern for one or more of [low] or [high]. `re` has a bitmap for ranges up to U+FFFF, but tries those
    above one by one for each character that is not in the class; so they are tried only for characters in HIGH."""
    return rf"(?:[{low}]++|(?=[{HIGH}])[{high}])++"


def pretokenize(text: str) -> list[str]:
    """Return the pieces of `text` in order; joined, they are `text`."""
    high = not text.isascii() and re.search(f"[{HIGH}]", text) is not None
    return gpt2_pattern(high).findall(text)
