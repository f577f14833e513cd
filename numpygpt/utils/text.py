"""Prompts."""

from __future__ import annotations

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
