"""What is typed behind a flag, as a value: numbers, names of files, texts."""

from __future__ import annotations

import argparse
import math
import os
import re
from pathlib import Path


def whole(text: str) -> int:
    """A flag's whole number. ArgumentTypeError for another, and for one that no array's size and no file could hold."""
    try:
        value = int(text)
    except ValueError:
        if not text.strip(" +-").isdecimal():  # thousands of digits are too many for `int`
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        value = 2**63
    if not -(2**63) <= value < 2**63:
        raise argparse.ArgumentTypeError(f"{text} is larger than a number of 64 bits can be")
    return value


def number(text: str) -> float:
    """A flag's number, which is finite, and 0 only where that was typed."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a finite number")
    if value == 0 and re.search("[1-9]", text.lower().split("e")[0]):
        raise argparse.ArgumentTypeError(f"{text} is nearer to 0 than a number can be: give 0, or a larger one")
    return value


def name(text: str) -> str:
    """A flag's file or folder. Python takes an empty name for the current folder, which nobody meant."""
    if not text:
        raise argparse.ArgumentTypeError("the name is empty, as where a shell's variable is not set")
    return text


def path(text: str) -> Path:
    return Path(name(text))


def as_typed(typed: str) -> str:
    """What may be the name of a file, in the form in which Python opens it. Whoever reads it checks it."""
    return typed


def text(typed: str) -> str:
    """A flag's text. Terminals write UTF-8, but Python decodes a command line as the locale says: with LC_ALL=C it does
    not know the é in `--prompt é`."""
    try:
        return os.fsencode(typed).decode("utf-8")
    except UnicodeError:  # the locale has another encoding, or these bytes are not text: whoever reads them says so
        return typed
