"""The types of flags: what a user typed, as a number, a path or a text."""

from __future__ import annotations

import argparse
import math
import os
import re
from pathlib import Path


def integer(text: str) -> int:
    """Return a flag's integer. Raises ArgumentTypeError if it is not one, or does not fit into 64 bits."""
    try:
        value = int(text)
    except ValueError:
        if not text.strip(" +-").isdecimal():  # `int` refuses thousands of digits
            raise argparse.ArgumentTypeError(f"{text!r} is not an integer") from None
        value = 2**63
    if not -(2**63) <= value < 2**63:
        raise argparse.ArgumentTypeError(f"{text} does not fit into 64 bits")
    return value


def number(text: str) -> float:
    """Return a flag's finite number. It is 0 only if the user typed 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a finite number")
    if value == 0 and re.search("[1-9]", text.lower().split("e")[0]):
        raise argparse.ArgumentTypeError(f"{text} is too small for a number: give 0, or a larger number")
    return value


def name(text: str) -> str:
    """Return a flag's file or folder. Python reads an empty name as the current folder, which nobody intends."""
    if not text:
        raise argparse.ArgumentTypeError("the name is empty (perhaps an unset shell variable)")
    return text


def path(text: str) -> Path:
    return Path(name(text))


def as_typed(typed: str) -> str:
    """Return what may be the name of a file, as Python opens it. Its reader checks it."""
    return typed


def text(typed: str) -> str:
    """Return a flag's text. Terminals write UTF-8, but Python decodes a command line by the locale: with LC_ALL=C it
    does not read the é in `--prompt é`."""
    try:
        return os.fsencode(typed).decode("utf-8")
    except UnicodeError:  # the locale has another encoding, or these bytes are not text, which their reader reports
        return typed
