"""meta.json of a data folder, read as an untrusted file, and where a data folder is if its name is missing."""

from __future__ import annotations

import glob
from contextlib import suppress
from pathlib import Path
from typing import Any

from numpygpt.data.recipes import INSTEAD, folder_of, make_command, rebuild_hint, recipe
from numpygpt.utils import strict_json
from numpygpt.utils.colour import printable
from numpygpt.utils.paths import display_path
from numpygpt.utils.text import shorten

FORMAT, VERSION = "numpygpt-data", 1
FILES = ("train.bin", "val.bin", "tokenizer.json", "meta.json")
REQUIRED = ("corpus", "sha256", "tokenizer", "settings", "split", "vocab_size", "dtype", "train", "val")
INNER = {"train": ("tokens", "bytes"), "val": ("tokens", "bytes"), "tokenizer": ("kind", "sha256")}
MAX_META_BYTES = 1 << 20  # meta.json has about a thousand
MAX_TEXT = 10_000  # characters of a text in it: the longest path has fewer
MAX_SHOWN = 80  # characters of it in a message


def read_meta(folder: Path) -> dict[str, Any]:
    """Return meta.json of `folder`, with its keys and types checked. Show its texts by `plain` or `printable`."""
    path = folder / "meta.json"
    try:
        check_file(folder, path.name)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{display_path(folder)} is not a data folder, it has no meta.json: make one with "
                                f"{make_command(folder)}") from error
    with path.open("rb") as file:
        content = file.read(MAX_META_BYTES + 1)
    try:
        wrong = _wrong(meta := _parsed(content))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        why = f"it has more than {MAX_META_BYTES:,} bytes" if len(content) > MAX_META_BYTES else "it is not valid"
        raise ValueError(f"{display_path(path)} is not a meta.json of this project ({why}): "
                         f"{rebuild_hint(folder)}") from error
    if wrong:
        raise ValueError(f"{display_path(path)}: {wrong}: {rebuild_hint(folder)}")
    return meta


def _parsed(content: bytes) -> dict[str, Any]:
    if len(content) > MAX_META_BYTES:
        raise ValueError
    meta = strict_json.loads(content.decode("utf-8"))
    _ = meta["format"], meta["version"]
    return meta


def _wrong(meta: dict[str, Any]) -> str:
    """Return what is wrong with the format, the keys or the types of the values; nothing if all are correct."""
    if (found := (meta["format"], meta["version"])) != (FORMAT, VERSION):
        return (f"format {plain(found[0])} version {plain(found[1])} is not the {FORMAT} version {VERSION} that this "
                "program reads")
    missing = [key for key in REQUIRED if key not in meta]
    missing += [f"{key}.{name}" for key, names in INNER.items() for name in names
                if key in meta and (not isinstance(meta[key], dict) or name not in meta[key])]  # fmt: skip
    if missing:
        return f"{', '.join(missing)} missing"
    if meta["dtype"] not in ("uint16", "uint32"):
        return f"dtype must be uint16 or uint32, got {plain(meta['dtype'])}"
    texts = {"corpus": meta["corpus"], "source": meta.get("source", ""), "sha256": meta["sha256"]}
    texts |= {f"tokenizer.{name}": meta["tokenizer"][name] for name in INNER["tokenizer"]}
    for name, value in texts.items():
        if not isinstance(value, str) or len(value) > MAX_TEXT:
            return f"{name} must be a text of at most {MAX_TEXT:,} characters"
    numbers = {"vocab_size": meta["vocab_size"], "documents": meta.get("documents", 1)}
    numbers |= {f"{part}.{name}": value for part in ("train", "val") for name, value in meta[part].items()}
    for name, value in numbers.items():
        least = 1 if name.endswith(("vocab_size", ".tokens", ".bytes")) else 0  # others divide by these
        if type(value) is not int or not least <= value < 1 << 63:
            return f"{plain(name)} must be an integer of at least {least}"
    if not isinstance(meta["settings"], dict) or not isinstance(meta["split"], dict):
        return "settings and split must be objects"
    return ""


def check_file(folder: Path, name: str) -> None:
    """Raise FileNotFoundError for a missing file, and ValueError for a pipe, which would make its reader wait."""
    path = folder / name
    if not path.exists():
        raise FileNotFoundError(f"{display_path(path)} is missing: {rebuild_hint(folder)}")
    if not path.is_file():
        raise ValueError(f"{display_path(path)} is not a plain file: remove it, and {rebuild_hint(folder)}")


def plain(value: Any) -> str:
    """Return a value of meta.json for a message: text without quotes, in visible characters, cut to a line."""
    if not isinstance(value, str):
        return shorten(value)
    text = printable(value[: MAX_SHOWN + 1])
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."


def existing_folder(folder: Path) -> Path:
    """Return `folder`, or the folder that was made in its place because Tiny Shakespeare could not be fetched."""
    settings = recipe(folder)
    if settings is not None and "dataset" not in settings and not folder.exists():
        for corpus in INSTEAD:
            other = folder_of(corpus, folder)
            with suppress(FileNotFoundError, ValueError):
                if read_meta(other)["corpus"] == corpus:  # and not a user's text with such a name
                    return other
    return folder


def displaced_folder(folder: Path) -> Path | None:
    """Return where the data of `folder` is, if its replacement was killed between two renames."""
    if folder.exists():
        return None
    complete = [old for old in beside(folder, "old") if all((old / name).is_file() for name in FILES)]
    return max(complete, key=lambda old: old.stat().st_mtime, default=None)


def beside(folder: Path, suffix: str) -> list[Path]:
    """Return the hidden folders that `new_folder` makes next to `folder`.

    "new" is being written, "lock" shows that its process is alive, and "old" was renamed to make room. A kill leaves
    them; otherwise they are removed at the end.
    """
    folder = folder.resolve()
    return sorted(folder.parent.glob(f".{glob.escape(folder.name)}.{'[0-9a-f]' * 8}.{suffix}"))
