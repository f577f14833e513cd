"""meta.json of a data folder, read with suspicion: it may be a stranger's. Where a folder is unsound, how to make it
anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpygpt.data.corpora import CORPORA
from numpygpt.data.recipes import DEFAULT_FOLDER, INSTEAD, making
from numpygpt.utils import strict_json
from numpygpt.utils.colour import printable
from numpygpt.utils.paths import command, display_path
from numpygpt.utils.text import shorten

FORMAT, VERSION = "numpygpt-data", 1
FILES = ("train.bin", "val.bin", "tokenizer.json", "meta.json")
TOKENIZERS = ("char", "word", "bpe")
REQUIRED = ("corpus", "sha256", "tokenizer", "settings", "split", "vocab_size", "dtype", "train", "val")
MOST_META = 1 << 20  # bytes of meta.json, which has about a thousand
MOST_TEXT = 10_000  # characters of a text in it: the longest path has fewer
LINE = 80  # characters of it in a sentence


def read_meta(folder: Path) -> dict[str, Any]:
    """meta.json of `folder`, once its format and version are ours. Its texts may be a stranger's: show them by `plain`
    or `printable`."""
    path = folder / "meta.json"
    try:
        check_file(folder, path.name)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{display_path(folder)} is no data folder, it has no meta.json: make one with {how_to_make(folder)}"
        ) from error
    with path.open("rb") as file:
        content = file.read(MOST_META + 1)
    if len(content) > MOST_META:
        raise ValueError(f"{display_path(path)} has more than {MOST_META:,} bytes, as no meta.json has: {anew(folder)}")
    try:
        meta = strict_json.loads(content.decode("utf-8"))
        found = (meta["format"], meta["version"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{display_path(path)} cannot be read as this project's meta.json: {anew(folder)}") from error
    if found != (FORMAT, VERSION):
        raise ValueError(
            f"{display_path(path)} has format {plain(found[0])} version {plain(found[1])}, and this program reads "
            f"{FORMAT} version {VERSION}: {anew(folder)}"
        )
    missing = [key for key in REQUIRED if key not in meta]
    inner = {"train": ("tokens", "bytes"), "val": ("tokens", "bytes"), "tokenizer": ("kind", "sha256")}
    missing += [f"{key}.{name}" for key, names in inner.items() for name in names
                if key in meta and (not isinstance(meta[key], dict) or name not in meta[key])]
    if missing or meta["dtype"] not in ("uint16", "uint32"):
        raise ValueError(f"{display_path(path)} lacks {', '.join(missing) or 'a dtype that is known'}: {anew(folder)}")
    if wrong := _wrong_value(meta):
        raise ValueError(f"{display_path(path)}: {wrong}: {anew(folder)}")
    return meta


def _wrong_value(meta: dict[str, Any]) -> str:
    """What is wrong with the kind of a value in a meta.json that has all its keys; nothing where all are right."""
    tokenizer = meta["tokenizer"]
    texts = {"corpus": meta["corpus"], "source": meta.get("source", ""), "sha256": meta["sha256"],
             "tokenizer.kind": tokenizer["kind"], "tokenizer.sha256": tokenizer["sha256"]}  # fmt: skip
    for name, value in texts.items():
        if not isinstance(value, str) or len(value) > MOST_TEXT:
            return f"{name} is no text of at most {MOST_TEXT:,} characters"
    numbers = {"vocab_size": meta["vocab_size"]}
    numbers |= {f"{part}.{name}": value for part in ("train", "val") for name, value in meta[part].items()}
    for name, value in numbers.items():
        least = 1 if name.endswith(("vocab_size", ".tokens", ".bytes")) else 0  # what is counted by them is divided
        if type(value) is not int or not least <= value < 1 << 63:
            return f"{plain(name)} is no number of anything"
    if not isinstance(meta["settings"], dict) or not isinstance(meta["split"], dict):
        return "settings and split are no objects"
    return ""


def check_file(folder: Path, name: str) -> None:
    """FileNotFoundError where the file is missing, and ValueError for a pipe, which would make its reader wait."""
    path = folder / name
    if not path.exists():
        raise FileNotFoundError(f"{display_path(path)} is missing: {anew(folder)}")
    if not path.is_file():
        raise ValueError(f"{display_path(path)} is not a plain file: remove it, and {anew(folder)}")


def plain(value: Any) -> str:
    """A value of meta.json in a sentence: a text without quotes, in characters that show, and within a line."""
    if not isinstance(value, str):
        return shorten(value)
    text = printable(value[: LINE + 1])
    return text if len(text) <= LINE else f"{text[: LINE - 3]}..."


def anew(folder: Path) -> str:
    return f"make the folder anew with {how_to_make(folder, '--force')}"


def how_to_make(folder: Path, *more: str) -> str:
    """The command that makes `folder`, as far as its name tells."""
    if made := making(folder, *more):
        return made
    folder = folder.resolve()
    begins, _, kind = folder.name.rpartition("_")
    corpus = {name: corpus for corpus, name in INSTEAD.items()}.get(begins, begins)
    if folder.parent == DEFAULT_FOLDER.parent and corpus in CORPORA and kind in TOKENIZERS:
        return command("datagen.py", "--dataset", corpus, "--tokenizer", kind, *more)
    if folder.exists() and not more:  # a text, or a folder of something else, which stays as it is
        text = display_path(folder) if folder.is_file() else "FILE"
        return command("datagen.py", "--input", text, "--out", display_path(DEFAULT_FOLDER.parent / folder.stem))
    return command("datagen.py", "--input", "FILE", "--out", display_path(folder), *more)
