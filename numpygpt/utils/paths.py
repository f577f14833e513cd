"""Paths and command lines as a user would type them."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # the folder of the five scripts


def display_path(path: str | Path) -> str:
    """Return `path` relative to the current folder if it is below it, else absolute.

    A name with a leading dash gets `./` before it, so that no command takes it for a flag.
    """
    path = Path(path).resolve()
    here = Path.cwd().resolve()
    typed = str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
    return f".{os.sep}{typed}" if typed.startswith("-") else typed


def command(script: str, *args: object) -> str:
    """Return the command line that runs `script` from the current folder: `./train.py --resume`, on Windows `python
    train.py --resume`."""
    path = display_path(ROOT / script)
    if os.name == "nt":
        words = ["python", path]
    else:
        words = [path if os.sep in path else f"./{path}"]
    return " ".join(map(quoted, [*words, *map(str, args)]))


def quoted(word: str) -> str:
    """Return `word` as a shell reads it. Bash, zsh and ksh read $'...', which can hold line ends and bytes that are not
    text."""
    if word.isprintable():
        return shlex.quote(word)
    escaped = (f"\\{char}" if char in "\\'" else char if char.isprintable() else
               "".join(f"\\{byte:03o}" for byte in char.encode("utf-8", "surrogateescape")) for char in word)
    return f"$'{''.join(escaped)}'"
