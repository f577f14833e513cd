"""Tokens as a person can see them, in the signs of `utils.colour`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import accumulate, chain

from numpygpt.tokenizer.base import Tokenizer
from numpygpt.utils.colour import signs, width

LEGENDS = {  # what each kind's signs mean, next to colour.LEGEND
    "char": (),
    "word": ("a bare space has no token of its own; the token <join> says that there is no space",),
    "bpe": (r"\xe2 a byte that is part of a character",),
    "sentencepiece": (r"\xe2 a byte that is part of a character",),
}


def token_signs(tokenizer: Tokenizer, id: int) -> list[str]:
    r"""Return the signs of one token. A byte that is part of a character is `\xe2`; the text `\xe2` is `\\xe2`."""
    if id >= tokenizer.vocab_size:
        return [f"<{id}>"]  # of a pretrained model whose table was rounded up: no text has it
    text = tokenizer.token_text(id)
    if tokenizer.decode([id]) == text:
        return signs(text)
    pieces = re.split(r"(\\x[89a-f][0-9a-f])", text)  # the bytes are at odd places
    return list(chain.from_iterable([piece] if at % 2 else signs(piece) for at, piece in enumerate(pieces)))


def token_cell(tokenizer: Tokenizer, id: int, room: int = 44) -> str:
    """Return one token for a table: a long token is cut, with its length."""
    found = token_signs(tokenizer, id)
    ends = list(accumulate(map(width, found)))
    if ends[-1] <= room:
        return "".join(found)
    cut = "".join(sign for sign, end in zip(found, ends, strict=True) if end <= room // 2)
    return f"{cut} ... ({len(tokenizer.decode([id]))} characters)"


def text_tokens(tokenizer: Tokenizer, ids: Iterable[int]) -> Iterator[list[str]]:
    """Yield the signs of each token of a text. A first sign " " is a space before a word that has no token."""
    signs_of = cache(lambda id: token_signs(tokenizer, id))
    decoder = tokenizer.stream()
    for id in ids:
        found = signs_of(id)
        implied = decoder.push(id).startswith(" ") and found[0] != "·"
        yield [" "] * implied + found
