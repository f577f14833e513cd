"""The tokens of a vocabulary by name and by class: what a user types, found again; what a picture colours alike."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from numpygpt.tokenizer import Tokenizer
from numpygpt.tokenizer.display import token_signs
from numpygpt.utils.colour import signs

CLASSES = ("small letters", "capital letters", "after a space", "digits", "white space", "punctuation", "other")


def token_class(tokenizer: Tokenizer, id: int) -> str:
    """One of CLASSES. A token that begins with a space and goes on is "after a space", whatever it goes on with;
    several letters count by the first one. What has no case, special tokens and parts of a character are "other"."""
    text = tokenizer.token_text(id)
    if id in tokenizer.special_tokens.values() or tokenizer.decode([id]) != text:
        return "other"
    if text.isspace():
        return "white space"
    if text[0] == " ":
        return "after a space"
    if text.isdigit():
        return "digits"
    if text[0].isalpha():
        return "capital letters" if text[0].isupper() else "small letters" if text[0].islower() else "other"
    return "other" if any(char.isalnum() for char in text) else "punctuation"


def find_tokens(tokenizer: Tokenizer, names: Iterable[str]) -> list[int]:
    r"""The ids of the tokens that are so named, each once: by the signs that pictures and tables show, such as ⏎ and
    ·the, by \n, or by the text itself. ValueError for a name that no token has, with what it could have been."""
    shown = {"".join(token_signs(tokenizer, id)): id for id in reversed(range(tokenizer.vocab_size))}
    texts = {tokenizer.token_text(id): id for id in reversed(range(tokenizer.vocab_size))}
    return list(dict.fromkeys(_find(tokenizer, name, shown, texts) for name in names))


def _find(tokenizer: Tokenizer, name: str, shown: dict[str, int], texts: dict[str, int]) -> int:
    for ids, key in ((shown, name), (texts, name.replace(r"\n", "\n")), (texts, name)):
        if key in ids:
            return ids[key]
    raise ValueError(
        f"no token of this vocabulary of {tokenizer.vocab_size:,} is '{''.join(signs(name))}'"
        f"{_instead(tokenizer, name, shown)}. A new line is written '\\n', a space ' ' or '·', as in '·the'"
    )


def _instead(tokenizer: Tokenizer, name: str, shown: dict[str, int]) -> str:
    """What it is made of, where it can be encoded, or else what it may have been meant for."""
    try:
        parts = ["".join(token_signs(tokenizer, id)) for id in tokenizer.encode(name)]
    except ValueError:
        parts = []
    if len(parts) > 1:
        return f"; it is {len(parts)} tokens: {' '.join(parts[:12])}{' ...' * (len(parts) > 12)}"
    close = difflib.get_close_matches(name, shown, n=3, cutoff=0.5)
    return f"; near it are {', '.join(close)}" if close else ""
