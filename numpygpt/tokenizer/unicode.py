"""Classes of characters for Python's `re`, which has no \\p{L}: built from unicodedata, exact for this Python."""

from __future__ import annotations

import sys
import unicodedata
from functools import cache
from itertools import groupby

# Unicode's White_Space, which `\s` means in GPT-2's pattern. Python's own `\s` also takes in U+001C to U+001F.
WHITESPACE = " \t\n\v\f\r\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))


@cache
def char_classes() -> dict[str, str]:
    """For each first letter of a general category ("L", "N", "M", ...) the ranges to put between [ and ].

    `[^\\W\\d_]` is not \\p{L}: it takes in numbers such as `²` and `Ⅷ`. Computed once, in about a tenth of a second.
    """
    ranges: dict[str, list[str]] = {}
    start = 0
    for category, run in groupby(unicodedata.category(chr(code))[0] for code in range(sys.maxunicode + 1)):
        end = start + sum(1 for _ in run)
        ranges.setdefault(category, []).append(f"\\U{start:08x}-\\U{end - 1:08x}")
        start = end
    return {category: "".join(runs) for category, runs in ranges.items()}
