"""Normal forms of Unicode: the same text in one spelling."""

from __future__ import annotations

import unicodedata


def nfc(text: str) -> str:
    """Return `text` with composed characters: an e and its accent become one character (Unicode, annex 15)."""
    return text if unicodedata.is_normalized("NFC", text) else unicodedata.normalize("NFC", text)
