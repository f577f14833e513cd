"""GPT-2's pre-tokenization: text is cut into words with their leading space, and merges never cross a cut."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from operator import itemgetter

from numpygpt.tokenizer.unicode import WHITESPACE, char_classes


@cache
def gpt2_pattern() -> re.Pattern[str]:
    r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+

    (GPT-2, encoder.py.) `\s+(?!\S)` leaves the last space of a run to the word behind it: " word" is one piece
    wherever it stands.
    """
    L, N, S = char_classes()["L"], char_classes()["N"], re.escape(WHITESPACE)
    return re.compile(rf"'s|'t|'re|'ve|'m|'ll|'d| ?[{L}]+| ?[{N}]+| ?[^{S}{L}{N}]+|[{S}]+(?![^{S}])|[{S}]+")


def pretokenize(text: str) -> Iterator[str]:
    """The pieces of `text` one after the other; joined, they are `text`."""
    return map(itemgetter(0), gpt2_pattern().finditer(text))
