"""Writing a data folder: next to its place first, and complete or not at all.

A kill leaves the old folder or the new one under its name, except between two renames, because no system that Python
knows swaps two folders at once. In that moment the old data is next to it and is found by `displaced_folder`.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from numpygpt.data.meta import FILES, FORMAT, VERSION, beside, displaced_folder, plain, read_meta
from numpygpt.utils.fetch import file_sha256
from numpygpt.utils.files import sync_folder, write_whole, writing
from numpygpt.utils.lock import held
from numpygpt.utils.paths import display_path

Saving = Callable[[], AbstractContextManager[object]]  # a block in which a disk error becomes a message


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder next to `folder`, which takes its place when the block succeeds (see `check_replace`).

    A block that fails or is stopped leaves what was there before. What killed runs left next to it is removed.
    """
    folder = folder.resolve()
    above = [parent for parent in folder.parents if not parent.exists()]  # the innermost first
    made = folder.parent / f".{folder.name}.{secrets.token_hex(4)}.new"
    old = made.with_suffix(".old")
    lock = ExitStack()
    try:
        try:
            if above:
                folder.parent.mkdir(parents=True, exist_ok=True)
            clear_unused(folder)
            lock.enter_context(held(made.with_suffix(".lock")))  # before `made`, which therefore always has a lock
            made.mkdir()
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(folder)) from None  # the name that the user knows
        yield made
        with saving(folder):
            if folder.exists():
                folder.rename(old)
            made.rename(folder)
        sync_folder(folder.parent)  # before the old data goes
    finally:
        if old.exists() and not folder.exists():  # the second rename failed: the old folder comes back
            old.rename(folder)
        shutil.rmtree(made, ignore_errors=True)
        replaced = beside(folder, "old")  # listed before the next line looks for `folder`
        for rest in replaced if folder.exists() else ():
            shutil.rmtree(rest, ignore_errors=True)
        lock.close()
        for parent in above:
            with suppress(OSError):  # it is not empty: all went well
                parent.rmdir()


def clear_unused(folder: Path) -> None:
    """Remove what killed runs were writing next to `folder`. A living run holds its lock and keeps its folder."""
    for made in {path.with_suffix(".new") for suffix in ("new", "lock") for path in beside(folder, suffix)}:
        with suppress(ValueError, OSError), held(made.with_suffix(".lock")) as has_locks:
            if has_locks:
                shutil.rmtree(made, ignore_errors=True)


@contextmanager
def saving(folder: Path, size: int = 0) -> Iterator[None]:
    """Turn an OSError while `folder` is made into NotSaved. `size`: about how many bytes it will have."""
    state = f"{display_path(folder)} is as it was" if folder.exists() else "No folder was made"
    with writing(folder.resolve(), state, "run this again", size):
        yield


def put_back(folder: Path, say: Callable[[str], None]) -> None:
    """Give a data folder its name again if its replacement was killed between the two renames."""
    if old := displaced_folder(folder):
        old.rename(folder)
        say(f"note: {display_path(folder)} is restored from {display_path(old)}: its replacement was killed")


def id_dtype(vocab_size: int) -> np.dtype:
    """Return the smallest type for the ids of `vocab_size` entries."""
    return np.dtype("<u2" if vocab_size < 1 << 16 else "<u4")


def write_tokens(path: Path, arrays: Iterable[np.ndarray], dtype: np.dtype, watched: int = -1,
                 saving: Saving = nullcontext) -> tuple[int, int]:  # fmt: skip
    """Write the ids as they come, each array in a `saving` block; return how many, and how many are `watched`."""
    tokens = found = 0
    with saving():
        file = path.open("wb", buffering=0)  # closing a buffered file would write refused data again
    with file:
        for ids in arrays:  # not in the block: errors of the text's own file are not ours
            with saving():
                write_all(file, ids.astype(dtype).tobytes())
            tokens += len(ids)
            found += int(np.count_nonzero(ids == watched)) if watched >= 0 else 0
        with saving():
            os.fsync(file.fileno())
    return tokens, found


def write_all(file: BinaryIO, data: bytes) -> None:
    """Write all of `data` to an unbuffered file, which may take only a part per call."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def write_rest(folder: Path, tokenizer: Any, tokens: dict[str, int], meta: dict[str, Any]) -> None:
    """Write tokenizer.json, then meta.json, which makes the folder complete. All is on disk when this returns.

    `tokens`: the number in each part. `meta` lacks only what the tokens and the tokenizer determine.
    """
    tokenizer.save(folder / "tokenizer.json")
    content = {"format": FORMAT, "version": VERSION, **meta, "vocab_size": tokenizer.vocab_size}
    content["dtype"] = id_dtype(tokenizer.vocab_size).name
    content["tokenizer"] = {**meta["tokenizer"], "sha256": file_sha256(folder / "tokenizer.json")}
    for part, count in tokens.items():
        content[part] = {"tokens": count, **meta[part], "crc32": file_crc32(folder / f"{part}.bin")}
    write_whole(folder / "meta.json", json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def file_crc32(path: Path) -> int:
    """Return the checksum that finds a flipped bit when the tokens are read."""
    crc32 = 0
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            crc32 = zlib.crc32(block, crc32)
    return crc32


def check_replace(folder: Path, meta: dict[str, Any], force: bool) -> None:
    """Raise `ValueError` if writing `meta`'s data to `folder` would destroy anything that the user may want.

    The same data again is fine. Other data needs `force`. What this project did not write is never removed.
    """
    if not folder.exists():
        return
    name = display_path(folder)
    if not folder.is_dir():
        raise ValueError(f"{name} is a file, not a folder: choose another `out`")
    foreign = sorted(x.name for x in folder.iterdir() if x.name not in FILES or x.is_dir())
    if foreign:
        raise ValueError(f"{name} contains files that do not belong to a data folder ({', '.join(foreign[:3])}): "
                         "choose another `out`")
    if force or not any(folder.iterdir()):
        return
    try:
        there = read_meta(folder)
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(f"{name} has no valid meta.json: `force=True` replaces its files") from error
    was, now = _identity(there), _identity(meta)
    differ = ", ".join(key for key in now if was.get(key) != now[key])
    if differ:
        raise ValueError(f"{name} holds other data ({plain(was['corpus'])}, {plain(was['tokenizer'][0])}; it differs "
                         f"in {differ}): `force=True` replaces it, another `out` keeps it")


def _identity(meta: dict[str, Any]) -> dict[str, Any]:
    """Return what two folders with the same data have in common. The text is unknown until it has been read."""
    tokenizer = meta["tokenizer"]
    return {
        "corpus": meta["corpus"],
        **({"text": meta["sha256"]} if "sha256" in meta else {}),
        "tokenizer": (tokenizer.get("kind"), tokenizer.get("from_sha256")),
        **meta["settings"],
        "split": meta["split"].get("by"),
        "val_fraction": meta["split"].get("val_fraction"),
    }
