"""Prompts, times in words, and names for a shell."""

from __future__ import annotations

import shutil
import sys
import textwrap
from typing import TextIO

from numpygpt.tokenizer import Tokenizer

END_OF_TEXT = "<|endoftext|>"


def prompt_ids(tokenizer: Tokenizer, prompt: str) -> list[int]:
    """The ids that a model begins with. The name of a special token, such as <|endoftext|>, is that token: a user typed
    it. An empty prompt is the end of a text before, else a new line, else id 0: a model needs one token to predict the
    next from."""
    if prompt:
        return tokenizer.encode(prompt, allowed_special="all")
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


def columns(stream: TextIO | None = None, otherwise: int = 100) -> int:
    """The width to write lines for: the terminal's, at most 100, and `otherwise` in a file or a pipe."""
    stream = stream or sys.stdout
    return min(shutil.get_terminal_size().columns, 100) if stream.isatty() else otherwise


def hanging(name: str, text: str, width: int) -> str:
    """`name` and `text` in lines of at most `width` columns, the text below itself; no word is broken."""
    return textwrap.fill(text, max(width, len(name) + 20), initial_indent=name, subsequent_indent=" " * len(name),
                         break_long_words=False, break_on_hyphens=False)
