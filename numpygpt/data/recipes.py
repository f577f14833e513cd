"""The data folders of the presets, and the commands that make a data folder or train on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpygpt.data.corpora import CORPORA
from numpygpt.utils.paths import ROOT, command, display_path

TOKENIZERS = ("char", "word", "bpe")  # those that are trained on the text
DEFAULT_FOLDER = ROOT / "data" / "shakespeare_char"  # what ./datagen.py makes and ./train.py reads with no arguments
RECIPES: dict[str, dict[str, Any]] = {  # folder: datagen.py's arguments; train.py makes a missing folder in this way
    "shakespeare_char": {},
    "shakespeare_word": {"tokenizer": "word", "vocab_size": 6551},
    "shakespeare_bpe": {"tokenizer": "bpe", "vocab_size": 6551},
    "hamlet_alnum": {"dataset": "hamlet", "clean": "alnum", "context": 16, "out": "data/hamlet_alnum"},
    "shakespeare_smollm2-135m-instruct": {"tokenizer": "smollm2-135m-instruct"},
}
PRESETS = {"shakespeare_word": "word", "shakespeare_bpe": "bpe", "hamlet_alnum": "hamlet",
           "shakespeare_smollm2-135m-instruct": "smollm2_lora"}  # the first with that data
FINE_TUNING = "smollm2_lora"  # the preset for any pretrained model
# Corpora that replace Tiny Shakespeare if it cannot be fetched, and how their folders' names start. A folder of another
# text never has the real folder's name, so the real one can be made as soon as it can be fetched.
INSTEAD = {"shakespeare": "plays", "pydoc": "pydoc"}


def recipe(folder: Path) -> dict[str, Any] | None:
    """Return datagen.py's arguments for a preset's `folder`, or None for any other folder."""
    folder = folder.resolve()
    return RECIPES.get(folder.name) if folder.parent == DEFAULT_FOLDER.parent.resolve() else None


def folder_of(corpus: str, folder: Path) -> Path:
    """Return the folder for `corpus` if it replaces the default text, whose place is `folder`."""
    return folder.with_name(folder.name.replace("shakespeare", INSTEAD.get(corpus, "shakespeare"), 1))


def train_command(folder: Path, context: int | None = None, init_from: str | None = None) -> str:
    """Return the command that trains on `folder`, in its own run folder; `context`: unless it is the default.
    `init_from`: the pretrained model to fine-tune, whose tokenizer the folder has."""
    more: tuple[object, ...] = () if context is None else ("--context", context)
    if folder.resolve() == DEFAULT_FOLDER.resolve():
        return command("train.py", *more)
    if recipe(folder) is not None:
        return command("train.py", PRESETS[folder.resolve().name], *more)
    out = display_path(ROOT / "runs" / folder.resolve().name)
    if init_from:
        more = (*more, "--init-from", init_from)
        return command("train.py", FINE_TUNING, "--data", display_path(folder), "--out", out, *more)
    return command("train.py", "--data", display_path(folder), "--out", out, *more)


def make_command(folder: Path, *more: str) -> str:
    """Return the command that makes `folder`, as far as its name tells."""
    if (settings := recipe(folder)) is not None:
        flags = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", value)]
        return command("datagen.py", *flags, *more)
    folder = folder.resolve()
    start, _, kind = folder.name.rpartition("_")
    corpus = {name: corpus for corpus, name in INSTEAD.items()}.get(start, start)
    if folder.parent == DEFAULT_FOLDER.parent and corpus in CORPORA and kind in TOKENIZERS:
        return command("datagen.py", "--dataset", corpus, "--tokenizer", kind, *more)
    if folder.exists() and not more:  # a text, or a folder of something else, which must stay as it is
        text = display_path(folder) if folder.is_file() else "FILE"
        return command("datagen.py", "--input", text, "--out", display_path(DEFAULT_FOLDER.parent / folder.stem))
    return command("datagen.py", "--input", "FILE", "--out", display_path(folder), *more)


def rebuild_hint(folder: Path) -> str:
    return f"make the folder again with {make_command(folder, '--force')}"
