"""Classes of characters for `re`, which has no \\p{L}; its `[^\\W\\d_]` includes numbers such as `²` and `Ⅷ`."""

from __future__ import annotations

import sys
import textwrap
import unicodedata
from functools import cache
from itertools import groupby

# Unicode's White_Space, the `\s` of GPT-2's pattern. Python's own `\s` also includes U+001C to U+001F.
WHITESPACE = " \t\n\v\f\r\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))

Runs = list[tuple[int, int]]  # first and last code point of each


@cache
def category_runs() -> dict[str, Runs]:
    """Return the code points of each general category, by its first letter ("L", "N", "M"), in this Python.

    Computed once, in about a tenth of a second. Letters and numbers for pretokenize.py are in unicode_table.py instead.
    """
    runs: dict[str, Runs] = {}
    start = 0
    for category, run in groupby(unicodedata.category(chr(code))[0] for code in range(sys.maxunicode + 1)):
        end = start + sum(1 for _ in run)
        runs.setdefault(category, []).append((start, end - 1))
        start = end
    return runs


@cache
def char_classes() -> dict[str, str]:
    """Return the same as ranges to put between [ and ]."""
    return {category: ranges(runs) for category, runs in category_runs().items()}


def ranges(runs: Runs, first: int = 0, last: int = sys.maxunicode) -> str:
    """Return the part of `runs` from `first` to `last`, to put between [ and ]."""
    parts = [(max(start, first), min(end, last)) for start, end in runs if start <= last and end >= first]
    return "".join(f"\\U{start:08x}-\\U{end:08x}" for start, end in parts)


def write_table(runs: Runs) -> str:
    """Return the text of unicode_table.py: hexadecimal, "41-5A AA"."""
    return textwrap.fill(" ".join(f"{a:X}-{b:X}" if a < b else f"{a:X}" for a, b in runs), 120, break_on_hyphens=False)


def read_table(table: str) -> Runs:
    """Return the runs that `write_table` wrote."""
    ends = [run.split("-") for run in table.split()]
    return [(int(end[0], 16), int(end[-1], 16)) for end in ends]
