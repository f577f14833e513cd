"""Added tokens of a vocabulary from elsewhere: not special, and recognised in every text before it is cut into pieces.

Such as the runs of spaces by which vocabularies for source code are extended. (Hugging Face's `tokenizers`: of those
that begin first in the text, the longest.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

from numpygpt.tokenizer import checks, storage
from numpygpt.tokenizer.unicode import WHITESPACE

Parts = list[tuple[int, str | int]]  # where each part starts in the text; ordinary text, or a token's id
FLAGS = ("normalized", "own")


class AddedToken(NamedTuple):
    """`normalized`: looked for after all others. `own`: no ordinary token has this id, so merges never make it."""

    content: str
    id: int
    normalized: bool
    own: bool


def read(tokens: Any) -> tuple[AddedToken, ...]:
    """The added tokens from a file of ours; their ids are not checked here."""
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
    """The parts, their text cut at `tokens`: of several that begin at one place, at the longest."""
    if not tokens:
        return parts
    pattern = _any_of(tuple(sorted(tokens, key=len, reverse=True)))  # `re` takes the first that fits
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
    """The contents that a cut before white space, or before a mark, could break."""
    S = re.escape(WHITESPACE)
    return tuple(content for content in contents if re.search(rf"[^{S}][{S}]|\w\W", content))


def unbroken(contents: tuple[str, ...]) -> str:
    """A pattern that matches every place of a text except those inside one of `contents`."""
    if not contents:
        return ""
    inside = [f"(?<={re.escape(text[:k])}){re.escape(text[k:])}" for text in contents for k in range(1, len(text))]
    longest = max(map(len, contents))
    return rf"(?=[\s\S]{{{longest - 1}}})(?!{'|'.join(inside)})"  # as much text as shows whether one begins here
