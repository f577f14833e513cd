"""Prompts, times in words, and names for a shell."""

from __future__ import annotations

import os
import shlex

from numpygpt.tokenizer import Tokenizer

END_OF_TEXT = "<|endoftext|>"


def prompt_ids(tokenizer: Tokenizer, prompt: str) -> list[int]:
    """The ids that a model begins with. An empty prompt is the end of a text before, else a new line, else id 0:
    a model needs one token to predict the next from."""
    if prompt:
        return tokenizer.encode(prompt)
    if END_OF_TEXT in tokenizer.special_tokens:
        return [tokenizer.special_tokens[END_OF_TEXT]]
    try:
        return tokenizer.encode("\n")[:1]
    except ValueError:
        return [0]


def duration(seconds: float) -> str:
    """43 s, 5 min 20 s, 2 h 05 min."""
    s = round(seconds)
    if s < 60:
        return f"{s} s"
    if s < 3600:
        return f"{s // 60} min {s % 60:02} s"
    return f"{s // 3600} h {s % 3600 // 60:02} min"


def quoted(name: str) -> str:
    """`name` as one word for a shell; characters that do not show, and bytes that are not UTF-8, by their numbers."""
    if name.isprintable():
        return shlex.quote(name)
    plain = (chr(byte) if 31 < byte < 127 and byte not in b"'\\" else f"\\x{byte:02x}" for byte in os.fsencode(name))
    return f"$'{''.join(plain)}'"
