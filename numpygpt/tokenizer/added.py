"""Added tokens of other programs' vocabularies: recognised in every text before it is cut into pieces, but not special.

For example the runs of spaces in vocabularies for source code. As in Hugging Face's `tokenizers`, of the tokens that
start first in the text the longest is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

from numpygpt.tokenizer import checks, storage
from numpygpt.tokenizer.unicode import WHITESPACE

Parts = list[tuple[int, str | int]]  # (where a part starts, its ordinary text or a token's id)
FLAGS = ("normalized", "own")
MAX_PATTERN = 1 << 22  # characters of the pattern of `unbroken`, which grows with the square of a token's length


class AddedToken(NamedTuple):
    """`normalized`: found after all others. `own`: no ordinary token has this id, so merges never produce it."""

    content: str
    id: int
    normalized: bool
    own: bool


def read(tokens: Any) -> tuple[AddedToken, ...]:
    """Return the added tokens of our own file format. Their ids are not checked here."""
    if not isinstance(tokens, list):
        raise storage.wrong("added_tokens", "a list of objects", tokens)
    found = []
    for place, token in enumerate(tokens):
        if (
            not isinstance(token, dict)
            or token.keys() != set(AddedToken._fields)
            or type(token["id"]) is not int
            or not all(isinstance(token[flag], bool) for flag in FLAGS)
        ):
            raise storage.wrong(f"added_tokens[{place}]", f"an object with {', '.join(AddedToken._fields)}", token)
        found.append(AddedToken(**token))
    checks.special_names([token.content for token in found])
    return tuple(sorted(found, key=lambda token: token.id))


def cut_at(parts: Parts, tokens: dict[str, int]) -> Parts:
    """Cut the text in `parts` at `tokens`; of several that start at one place, at the longest."""
    if not tokens:
        return parts
    pattern = _any_of(tuple(sorted(tokens, key=len, reverse=True)))  # `re` takes the first that matches
    cut: Parts = []
    for start, part in parts:
        if isinstance(part, int):
            cut.append((start, part))
            continue
        done = 0
        for match in pattern.finditer(part):
            if match.start() > done:
                cut.append((start + done, part[done : match.start()]))
            cut.append((start + match.start(), tokens[match[0]]))
            done = match.end()
        if done < len(part) or not part:
            cut.append((start + done, part[done:]))
    return cut


@cache
def _any_of(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, names)))


def crossing(contents: Iterable[str]) -> tuple[str, ...]:
    """Return the contents that a cut before white space or punctuation could break."""
    S = re.escape(WHITESPACE)
    return tuple(content for content in contents if re.search(rf"[^{S}][{S}]|\w\W", content))


def unbroken(contents: tuple[str, ...]) -> str:
    """Return a pattern that matches at every place of a text except inside one of `contents`. ValueError if it would
    be too long."""
    if not contents:
        return ""
    if sum(len(text) ** 2 for text in contents) > MAX_PATTERN:
        raise ValueError(f"the added tokens of this tokenizer are too long to encode a text in parts: the longest has "
                         f"{max(map(len, contents)):,} characters; encode the text as a whole")
    inside = [f"(?<={re.escape(text[:k])}){re.escape(text[k:])}" for text in contents for k in range(1, len(text))]
    longest = max(map(len, contents))
    return rf"(?=[\s\S]{{{longest - 1}}})(?!{'|'.join(inside)})"  # enough text to see whether one starts here
