"""What a caller can get wrong, each with a sentence that says what came, what was expected and what to do."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np

from numpygpt.utils.text import shorten


def text(text: str) -> None:
    """Raise for what is no str, or holds a lone surrogate: half of a UTF-16 pair, which has no UTF-8 form."""
    if not isinstance(text, str):
        raise TypeError(f"a tokenizer takes a str, got {type(text).__name__}; decode bytes with .decode('utf-8') first")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the text has the lone surrogate U+{ord(text[error.start]):04X} at {place(text, error.start)}, which is "
            f"half of a character and cannot be written as UTF-8; read the text as UTF-8, or remove it"
        ) from None


def place(text: str, index: int) -> str:
    """`index 7 (line 2, column 3)`: where a person finds the character."""
    line_start = text.rfind("\n", 0, index) + 1
    return f"index {index} (line {text.count(chr(10), 0, index) + 1}, column {index - line_start + 1})"


def at(text: str, index: int) -> str:
    """Where in a text that a caller has whole."""
    return f"at {place(text, index)}"


def near(text: str, index: int) -> str:
    """Where in a part of a long text, in which no number would help: what stands around."""
    return f"in {text[max(0, index - 24) : index + 24]!r}"


def ids(ids: Sequence[int] | np.ndarray, vocab_size: int, first: int = 0) -> list[int]:
    """`ids` as a list of ints, each inside the vocabulary; `first` is the position of the first one."""
    if isinstance(ids, np.ndarray) and (ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu")):
        raise ValueError(f"ids must be a list or a 1-D integer array, got shape {ids.shape} and dtype {ids.dtype}")
    try:
        checked = ids.tolist() if isinstance(ids, np.ndarray) else list(map(operator.index, ids))
    except TypeError as error:
        raise ValueError(f"ids must be a list or a 1-D array of integers, got {shorten(ids)} ({error})") from None
    if checked and not 0 <= min(checked) <= max(checked) < vocab_size:
        position = next(i for i, id in enumerate(checked) if not 0 <= id < vocab_size)
        raise ValueError(
            f"id {checked[position]} at position {first + position} is outside the vocabulary of {vocab_size} tokens "
            f"(0 to {vocab_size - 1}); decode with the tokenizer that made the ids"
        )
    return checked


def special_names(names: Iterable[str]) -> list[str]:
    """The names of the special tokens as a list: non-empty, different, and writable as UTF-8."""
    if isinstance(names, str):
        raise ValueError(f"special_tokens takes a collection of names, got the str {names!r}; pass ({names!r},)")
    names = list(names)
    for name in names:
        if not isinstance(name, str) or not name:
            raise ValueError(f"a special token's name must be a non-empty str, got {shorten(name)}")
        text(name)
    distinct(names)
    return names


def allowed(names: Collection[str] | str, known: dict[str, int]) -> list[str]:
    """The special tokens that `allowed_special` asks for; "all" is every known one."""
    if isinstance(names, str):
        if names == "all":
            return list(known)
        raise ValueError(f"allowed_special takes a collection of names or 'all', got {names!r}; pass ({names!r},)")
    for name in names:
        if name not in known:
            raise ValueError(
                f"allowed_special names {shorten(name)}, which is no special token of this tokenizer; "
                f"it has {', '.join(map(repr, known)) or 'none'}"
            )
    return list(names)


def at_least(name: str, value: int, least: int, why: str = "") -> None:
    """Raise unless `value` is an integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}{why}, got {shorten(value)}")


def distinct(tokens: list[Any]) -> None:
    """Raise where one token stands twice: its text would have two ids."""
    if len(set(tokens)) < len(tokens):
        token, times = Counter(tokens).most_common(1)[0]
        raise ValueError(
            f"the token {shorten(token)} occurs {times} times in the vocabulary; every token, special ones included, "
            f"must be different: rename or remove one"
        )
