"""How the word tokenizer cuts text into elements, and when a space between two elements is implied."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from operator import itemgetter

from numpygpt.tokenizer.unicode import char_classes

JOIN = ""  # the token for "no space here": its text is empty
MARKERS = [JOIN, " ", "\n"]  # in every vocabulary; other white space if the training text has it
CLOSING = set(".,;:!?)]}%'\u2019”»…")  # no space before, one after
OPENING = set("([{“\u2018«¿¡$£€#")  # one before, none after; signs in neither set (- " / *) have none on either side


@cache
def element_pattern() -> re.Pattern[str]:
    """Match spaces, then a word or any character. A word may have an apostrophe inside, or at its start as in 'tis."""
    letter = rf"[\w{char_classes()['M']}]"  # letters, digits, and the accents and vowel signs on them
    clipped = "bout|cause|em|fore|gainst|mongst|neath|s|scape|t|tis|twas|tween|twere|twill|twixt|twould"
    word = rf"{letter}+(?:['\u2019]{letter}+)*|['\u2019](?i:{clipped})(?!{letter})"
    return re.compile(rf"( *)({word}|.)", re.DOTALL)


def elements(text: str) -> list[tuple[str, str]]:
    """Return (the spaces before it, element) for each element; spaces at the end of `text` are elements."""
    return element_pattern().findall(text)


def words(text: str, lowercase: bool = False) -> Iterator[str]:
    """Return the elements without their spaces."""
    return map(itemgetter(1), elements(text.lower() if lowercase else text))


def space_after(token: str) -> bool:
    """Return whether a space is implied between this token and a next token with `space_before`."""
    return token in CLOSING or is_word(token)


def space_before(token: str) -> bool:
    """Return whether a space is implied between a token with `space_after` and this one."""
    return token in OPENING or is_word(token)


def is_word(token: str) -> bool:
    """Return whether this is a word, not a single sign or white space."""
    return len(token) > 1 or token.isalnum() or token == "_"
