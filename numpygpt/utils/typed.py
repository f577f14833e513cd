"""Texts that a user types for a model: what may be meant otherwise, and what the model can never write."""

from __future__ import annotations

import re

from numpygpt.tokenizer import Tokenizer
from numpygpt.tokenizer.checks import brief
from numpygpt.utils.cli import quoted
from numpygpt.utils.text import SPECIAL

ESCAPES = {"n": "line end", "t": "tab", "r": "carriage return"}
MOST_TYPED = 60  # characters of a text that a note repeats


def remarks(flag: str, text: str, tokenizer: Tokenizer) -> list[str]:
    """What a user should know of the `text` behind `flag`, a sentence each."""
    found = [escaped(flag, text)]
    names = dict.fromkeys([*re.findall(r"<\|\w+\|>", text), *(name for name in SPECIAL if name in text)])
    absent = [name for name in names if name not in tokenizer.special_tokens]
    if absent:
        has = ", ".join(tokenizer.special_tokens) or "none"
        found.append(f"this tokenizer has no special token {', '.join(absent)} (it has {has}): it is read as text")
    return [remark for remark in found if remark]


def escaped(flag: str, text: str) -> str:
    """How to type the line end that may be meant by a backslash and an n. Empty if `text` has none."""
    found = re.search(r"\\([ntr])", text)
    if not found:
        return ""
    typed = text if len(text) <= MOST_TYPED else f"...{found.group()}..."
    shown = re.sub(r"\\(?![ntr])|'", r"\\\g<0>", typed)
    return (f"{flag} has a backslash and {found.group(1)!r}, which is not a {ESCAPES[found.group(1)]}; in bash and "
            f"zsh, type that as {flag} $'{shown}'")


def check_stop(text: str, tokenizer: Tokenizer) -> None:
    """ValueError if no sample can have the stop text."""
    if not text:
        raise ValueError("--stop is empty: give the text that ends a sample, or leave --stop out")
    lacking = unable(text, tokenizer)
    if not lacking:
        return
    some = " ".join(map(brief, lacking[:5])) + (" ..." if len(lacking) > 5 else "")
    way = f"; {escape}" if "\\" in lacking and (escape := escaped("--stop", text)) else ""
    if tokenizer.lowercase and not unable(text.lower(), tokenizer):
        way = f"; it knows lower case only: --stop {quoted(text.lower())}"
    raise ValueError(f"--stop {brief(text)} would never appear: this model cannot write {some}{way}")


def unable(text: str, tokenizer: Tokenizer) -> list[str]:
    """The characters of `text` that no sample has."""
    for name in tokenizer.special_tokens:
        text = text.replace(name, "")
    characters, fields = list(dict.fromkeys(text)), tokenizer.to_dict()
    if "merges" not in fields:
        able = set().union(*fields["vocab"])
        return [char for char in characters if char not in able]
    # A tokenizer of bytes can write every character. If it made its text lower case, the model never saw a capital.
    lower = tokenizer.lowercase
    return [char for char in characters if "\ud800" <= char <= "\udfff" or (lower and char != char.lower())]
