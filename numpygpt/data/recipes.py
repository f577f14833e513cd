"""The data folders that the presets name, and the settings with which datagen.py makes each: where one is missing,
train.py makes it in the same way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpygpt.utils.paths import ROOT, command, display_path

DEFAULT_FOLDER = ROOT / "data" / "shakespeare_char"  # what ./datagen.py makes and ./train.py reads with no arguments
RECIPES: dict[str, dict[str, Any]] = {
    "shakespeare_char": {},
    "shakespeare_word": {"tokenizer": "word", "vocab_size": 6551},
    "shakespeare_bpe": {"tokenizer": "bpe", "vocab_size": 6551},
    "hamlet_alnum": {"dataset": "hamlet", "clean": "alnum", "context": 16, "out": "data/hamlet_alnum"},
}

PRESETS = {"shakespeare_word": "word", "shakespeare_bpe": "bpe", "hamlet_alnum": "hamlet"}  # the first with that data
# The corpora that are used if Tiny Shakespeare cannot be fetched, and how the names of their folders begin: so a folder
# of another text never has the name of the real one, which can be made as soon as it can be fetched.
INSTEAD = {"shakespeare": "plays", "pydoc": "pydoc"}


def training(folder: Path, context: int | None = None) -> str:
    """The command that trains on `folder`, in a run folder of its own; `context`, if it is not the default."""
    more = () if context is None else ("--context", context)
    if folder.resolve() == DEFAULT_FOLDER.resolve():
        return command("train.py", *more)
    if recipe(folder) is not None:
        return command("train.py", PRESETS[folder.resolve().name], *more)
    out = display_path(ROOT / "runs" / folder.resolve().name)
    return command("train.py", "--data", display_path(folder), "--out", out, *more)


def recipe(folder: Path) -> dict[str, Any] | None:
    """The settings that make `folder`, by the names of datagen.py's flags, or None: it is no preset's."""
    folder = folder.resolve()
    return RECIPES.get(folder.name) if folder.parent == DEFAULT_FOLDER.parent.resolve() else None


def folder_of(corpus: str, folder: Path) -> Path:
    """The folder for `corpus`, if it is used in place of the default text, which belongs in `folder`."""
    return folder.with_name(folder.name.replace("shakespeare", INSTEAD.get(corpus, "shakespeare"), 1))


def making(folder: Path, *more: str) -> str | None:
    """The command that makes a preset's folder, or None for another one."""
    settings = recipe(folder)
    if settings is None:
        return None
    flags = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", value)]
    return command("datagen.py", *flags, *more)
