"""The normal form NFC: an e and an accent after it become one character (Unicode, annex 15)."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from numpygpt.tokenizer.unicode import ranges, read_table
from numpygpt.tokenizer.unicode_table import COMPOSING


def nfc(text: str) -> str:
    """Return `text` in NFC, the same on every Python and as `tokenizers` has it."""
    if unicodedata.is_normalized("NFC", text):
        return text
    return _composing().sub(lambda found: unicodedata.normalize("NFC", found[0]), text)


@cache
def _composing() -> re.Pattern[str]:
    return re.compile(f"[{ranges(read_table(COMPOSING))}]+")
