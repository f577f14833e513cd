r"""Pre-tokenization: text is cut into words with their leading space, and merges never cross a cut.

Every model has its own pattern. PATTERNS has the patterns of the others as they are written in their files:

- gpt2: Radford et al. 2019, encoder.py. `\s+(?!\S)` leaves the last space of a run to the next word, so that " word" is
  always one piece.
- smollm: first each digit is a piece, then GPT-2's pattern cuts what lies between.
- llama3: a word may begin with any sign, numbers have up to three digits, and lines end with their signs.
- qwen2: the same, with one digit at a time.
"""

from __future__ import annotations

import re
from functools import cache

from numpygpt.tokenizer.unicode import WHITESPACE, ranges, read_table
from numpygpt.tokenizer.unicode_table import LETTERS, NUMBERS

HIGH = r"\U00010000-\U0010ffff"  # beyond the first 65,536 code points: emoji, rare Han, old scripts
LATER_NUMBERS = [(0x11DE0, 0x11DE9), (0x16FF4, 0x16FF6)]  # of Unicode 17, by which `Digits` of `tokenizers` 0.23 goes
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LINES = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PATTERNS = {"gpt2": GPT2, "smollm": GPT2, "llama3": LINES % r"\p{N}{1,3}", "qwen2": LINES % r"\p{N}"}


@cache
def pattern(name: str, high: bool) -> re.Pattern[str]:
    """Return the pattern with classes of characters that `re` knows. Without `high`, it is only for text without
    characters in HIGH."""
    letter_runs, number_runs, S = read_table(LETTERS), read_table(NUMBERS), re.escape(WHITESPACE)
    if name == "smollm":
        number_runs = sorted([*number_runs, *LATER_NUMBERS])
    L, N = ranges(letter_runs, last=0xFFFF), ranges(number_runs, last=0xFFFF)
    high_L, high_N = (ranges(table, first=0x10000) if high else "" for table in (letter_runs, number_runs))
    H, high_LN = HIGH if high else "", f"^{high_L}{high_N}" if high else ""
    letters, numbers = many(L, high_L), many(N, high_N)
    others, number = many(f"^{S}{L}{N}{H}", high_LN), one(N, high_N)
    spaces = rf"[{S}]+(?![^{S}])|[{S}]+"
    if name == "gpt2":
        return re.compile(rf"'(?:[stmd]|re|ve|ll)| ?{letters}| ?{numbers}| ?{others}|{spaces}")
    if name == "smollm":  # a number ends a run of white space, as the end of the text does
        spaces = rf"[{S}]+(?!{one(f'^{S}{N}{H}', f'^{high_N}' if high else '')})|[{S}]+"
        return re.compile(rf"'(?:[stmd]|re|ve|ll)| ?{letters}|{number}| ?{others}|{spaces}")
    clipped = r"'(?:[s\u017ftmdSTMD]|[rR][eE]|[vV][eE]|[lL][lL])"  # U+017F is an s to (?i: )
    sign = one(rf"^\r\n{L}{N}{H}", high_LN)
    digits = number if name == "qwen2" else f"{number}{{1,3}}"
    return re.compile(rf"{clipped}|{sign}?{letters}|{digits}| ?{others}[\r\n]*+|[{S}]*[\r\n]+|{spaces}")


def one(low: str, high: str) -> str:
    """Return a pattern for one of [low] or [high]. `re` has a bitmap for ranges up to U+FFFF, but tries those above one
    by one for each character that is not in the class; so they are tried only for characters in HIGH."""
    return rf"(?:[{low}]|(?=[{HIGH}])[{high}])" if high else f"[{low}]"


def many(low: str, high: str) -> str:
    """Return a pattern for one or more of them."""
    return rf"(?:[{low}]++|(?=[{HIGH}])[{high}])++" if high else f"[{low}]++"


@cache
def breaks(name: str) -> tuple[str, str]:
    """Return where a long text may be cut (see stream.py), because no piece of the pattern crosses such a place."""
    S = re.escape(WHITESPACE)
    mark = r'[A-Za-z0-9](?=[,;!?()\[\]{}"])'
    if name in ("gpt2", "smollm"):
        return rf"[^{S}](?=[{S}])", mark
    inner = re.escape(WHITESPACE.replace("\r", "").replace("\n", ""))  # a line's end may belong to the signs before it
    words = "".join(ranges(read_table(table), last=0xFFFF) for table in (LETTERS, NUMBERS))
    return rf"[^{S}](?=[{inner}])|[{words}](?=[\r\n])", mark


def pretokenize(text: str, name: str = "gpt2") -> list[str]:
    """Return the pieces of `text` in order; joined, they are `text`."""
    high = not text.isascii() and re.search(f"[{HIGH}]", text) is not None
    return pattern(name, high).findall(text)
