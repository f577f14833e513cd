"""Texts that a user types for a model: prompts and stop texts, as ids, and what to know about them."""

from __future__ import annotations

import re

from numpygpt.tokenizer.base import Tokenizer
from numpygpt.tokenizer.special import END_OF_TEXT, SPECIAL
from numpygpt.utils.paths import quoted
from numpygpt.utils.text import shorten

ESCAPES = {"n": "line end", "t": "tab", "r": "carriage return"}
MAX_REPEATED = 60  # characters of a text that a note repeats


def prompt_ids(tokenizer: Tokenizer, prompt: str) -> list[int]:
    """Return the ids that a model starts from.

    The name of a special token in `prompt`, such as <|endoftext|>, becomes that token. With `add_bos` the token that
    begins a text is put in front, unless the prompt has it. An empty prompt becomes this token, else the end of a
    previous text, else a new line, else id 0, because a model needs one token to predict the next from.
    """
    first = [tokenizer.bos_id] if tokenizer.bos_id is not None else []
    if prompt:
        ids = tokenizer.encode(prompt, allowed_special="all")
        return first + ids if tokenizer.add_bos and ids[:1] != first else ids
    if first:
        return first
    if END_OF_TEXT in tokenizer.special_tokens:
        return [tokenizer.special_tokens[END_OF_TEXT]]
    try:
        return tokenizer.encode("\n")[:1]
    except ValueError:
        return [0]


def remarks(flag: str, text: str, tokenizer: Tokenizer) -> list[str]:
    """Return what a user should know about the `text` that was given with `flag`."""
    found = [escaped(flag, text)]
    names = dict.fromkeys([*re.findall(r"<\|\w+\|>", text), *(name for name in SPECIAL if name in text)])
    absent = [name for name in names if name not in tokenizer.special_tokens]
    if absent:
        has = ", ".join(tokenizer.special_tokens) or "none"
        found.append(f"this tokenizer has no special token {', '.join(absent)} (it has {has}): it is read as text")
    return [remark for remark in found if remark]


def escaped(flag: str, text: str) -> str:
    r"""Return how to type a line end, if `text` has a backslash and an n instead; else nothing."""
    found = re.search(r"\\([ntr])", text)
    if not found:
        return ""
    typed = text if len(text) <= MAX_REPEATED else f"...{found.group()}..."
    typed = re.sub(r"\\(?![ntr])|'", r"\\\g<0>", typed)
    return (f"{flag} has a backslash and {found.group(1)!r}, which is not a {ESCAPES[found.group(1)]}; in bash and "
            f"zsh, type {flag} $'{typed}'")


def check_stop(text: str, tokenizer: Tokenizer) -> None:
    """Raise ValueError if no sample can contain the stop text."""
    if not text:
        raise ValueError("`stop` is empty: give the text that ends a sample, or leave `stop` out")
    lacking = unwritable(text, tokenizer)
    if not lacking:
        return
    some = " ".join(map(shorten, lacking[:5])) + (" ..." if len(lacking) > 5 else "")
    hint = f"; {escape}" if "\\" in lacking and (escape := escaped("`stop`", text)) else ""
    if tokenizer.lowercase and not unwritable(text.lower(), tokenizer):
        hint = f"; it knows lower case only: `stop` {quoted(text.lower())}"
    raise ValueError(f"`stop` {shorten(text)} would never appear: this model cannot write {some}{hint}")


def unwritable(text: str, tokenizer: Tokenizer) -> list[str]:
    """Return the characters of `text` that no sample can contain."""
    for name in tokenizer.special_tokens:
        text = text.replace(name, "")
    characters, fields = list(dict.fromkeys(text)), tokenizer.to_dict()
    if "merges" not in fields:
        known = set().union(*fields["vocab"])
        return [char for char in characters if char not in known]
    # A BPE tokenizer can write every character. If it lower-cases its text, the model never saw a capital.
    lower = tokenizer.lowercase
    return [char for char in characters if "\ud800" <= char <= "\udfff" or (lower and char != char.lower())]
