"""The tokens of a vocabulary by name, as a user types it, and by class, as a picture colours it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from numpygpt.tokenizer import Tokenizer
from numpygpt.tokenizer.display import token_signs
from numpygpt.utils.colour import signs

CLASSES = ("small letters", "capital letters", "after a space", "digits", "white space", "punctuation", "other")


def token_class(tokenizer: Tokenizer, id: int) -> str:
    """One of CLASSES. A token that begins with a space and continues is "after a space", whatever follows. Several
    letters count by the first. Letters without case, special tokens and parts of a character are "other"."""
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
    r"""The ids of the tokens with these names, each once. A name is the signs that pictures and tables show, such as ⏎
    and ·the, or \n, or the text itself. Raises ValueError, with suggestions, for a name that no token has."""
    shown = {"".join(token_signs(tokenizer, id)): id for id in reversed(range(tokenizer.vocab_size))}
    texts = {tokenizer.token_text(id): id for id in reversed(range(tokenizer.vocab_size))}
    return list(dict.fromkeys(_find(tokenizer, name, shown, texts) for name in names))


def _find(tokenizer: Tokenizer, name: str, shown: dict[str, int], texts: dict[str, int]) -> int:
    for ids, key in ((shown, name), (texts, name.replace(r"\n", "\n")), (texts, name)):
        if key in ids:
            return ids[key]
    raise ValueError(
        f"none of the {tokenizer.vocab_size:,} tokens in this vocabulary is '{''.join(signs(name))}'"
        f"{_instead(tokenizer, name, shown)}. Write a new line as '\\n', and a space as ' ' or '·', as in '·the'"
    )


def _instead(tokenizer: Tokenizer, name: str, shown: dict[str, int]) -> str:
    """The tokens of a name that can be encoded, else names like it."""
    try:
        parts = ["".join(token_signs(tokenizer, id)) for id in tokenizer.encode(name)]
    except ValueError:
        parts = []
    if len(parts) > 1:
        return f"; it is {len(parts)} tokens: {' '.join(parts[:12])}{' ...' * (len(parts) > 12)}"
    close = difflib.get_close_matches(name, shown, n=3, cutoff=0.5)
    return f"; similar tokens are {', '.join(close)}" if close else ""
