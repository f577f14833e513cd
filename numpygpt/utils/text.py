"""Values, names and times as short texts."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def shorten(value: object, limit: int = 60) -> str:
    """Return `repr(value)`, cut to `limit` characters: a value from a broken file can have any size."""
    if isinstance(value, (list, tuple, dict, set)) and len(value) > 4:
        return f"a {type(value).__name__} of {len(value)}"
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number with thousands of digits; deeply nested lists
        text = f"a {type(value).__name__} too long to show"
    return text if len(text) <= limit else text[: limit - 3] + "..."


def suggestion(word: str, names: Iterable[str]) -> str:
    """Return `; did you mean X?` for the name closest to `word`, or nothing if none is close."""
    close = difflib.get_close_matches(word, [other for other in names if other != word], n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def duration(seconds: float) -> str:
    """43 s, 5 min 20 s, 2 h 05 min."""
    s = round(seconds)
    if s < 60:
        return f"{s} s"
    if s < 3600:
        return f"{s // 60} min {s % 60:02} s"
    return f"{s // 3600} h {s % 3600 // 60:02} min"
