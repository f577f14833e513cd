"""Checks of the arguments of tokenizers."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np

from numpygpt.utils.text import shorten


def text(text: str) -> None:
    """Raise unless `text` is a str without lone surrogates (halves of UTF-16 pairs, which have no UTF-8 form)."""
    if not isinstance(text, str):
        raise TypeError(f"a tokenizer takes a str, got {type(text).__name__}; decode bytes with .decode('utf-8') first")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"the text has the lone surrogate U+{ord(text[error.start]):04X} at "
                         f"{place(text, error.start)}, half of a character, which UTF-8 cannot represent; read the "
                         "text as UTF-8, or remove it") from None


def place(text: str, index: int) -> str:
    """Return `index 7 (line 2, column 3)`."""
    line_start = text.rfind("\n", 0, index) + 1
    return f"index {index} (line {text.count(chr(10), 0, index) + 1}, column {index - line_start + 1})"


def at(text: str, index: int) -> str:
    """Describe a place in a text that the caller has as a whole."""
    return f"at {place(text, index)}"


def near(text: str, index: int) -> str:
    """Describe a place in a part of a long text, for which no number would help, by the text around it."""
    return f"in {text[max(0, index - 24) : index + 24]!r}"


def ids(ids: Sequence[int] | np.ndarray, vocab_size: int, first: int = 0) -> list[int]:
    """Return `ids` as a list of ints, each in the vocabulary. `first` is the position of the first one."""
    if isinstance(ids, np.ndarray) and (ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu")):
        raise ValueError(f"ids must be a list or a 1-D integer array, got shape {ids.shape} and dtype {ids.dtype}")
    try:
        checked = ids.tolist() if isinstance(ids, np.ndarray) else list(map(operator.index, ids))
    except TypeError as error:
        raise ValueError(f"ids must be a list or a 1-D array of integers, got {shorten(ids)} ({error})") from None
    if checked and not 0 <= min(checked) <= max(checked) < vocab_size:
        position = next(i for i, id in enumerate(checked) if not 0 <= id < vocab_size)
        raise ValueError(f"id {checked[position]} at position {first + position} is outside the vocabulary of "
                         f"{vocab_size} tokens (0 to {vocab_size - 1}); decode with the tokenizer that made the ids")
    return checked


def special_names(names: Iterable[str]) -> list[str]:
    """Return the names of special tokens as a list: non-empty, different, and valid UTF-8."""
    if isinstance(names, str):
        raise ValueError(f"special_tokens takes a collection of names, got the str {names!r}; pass ({names!r},)")
    names = list(names)
    for name in names:
        if not isinstance(name, str) or not name:
            raise ValueError(f"a special token's name must be a non-empty str, got {shorten(name)}")
        text(name)
    distinct(names)
    return names


def allowed(
    names: Collection[str] | str, known: dict[str, int], where: str = "allowed_special names"
) -> list[str]:
    """Return the special tokens that `allowed_special` names; "all" is every known one."""
    if isinstance(names, str):
        if names == "all":
            return list(known)
        raise ValueError(f"allowed_special takes a collection of names or 'all', got {names!r}; pass ({names!r},)")
    for name in names:
        if name not in known:
            raise ValueError(f"this tokenizer has no special token {shorten(name)}, which {where}; it has "
                             f"{', '.join(map(repr, known)) or 'none'}")
    return list(names)


def at_least(name: str, value: int, least: int, why: str = "") -> None:
    """Raise unless `value` is an integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}{why}, got {shorten(value)}")


def distinct(tokens: list[Any]) -> None:
    """Raise if a token occurs twice: its text would have two ids."""
    if len(set(tokens)) < len(tokens):
        token, times = Counter(tokens).most_common(1)[0]
        raise ValueError(f"the token {shorten(token)} occurs {times} times in the vocabulary; all tokens, including "
                         "special ones, must be different: rename or remove one")
