"""Writing a data folder: as it is made, beside the place where it goes, and whole or not at all.

A kill at any moment leaves the old folder or the new one under its name, but for the moment between two renames, since
no system that Python knows exchanges two folders at once. Then what was there is beside it, and is found (`displaced`).
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

from numpygpt.data.dataset import beside, displaced
from numpygpt.data.fetch import file_sha256
from numpygpt.data.meta import FILES, FORMAT, VERSION, plain, read_meta
from numpygpt.utils.files import sync_folder, write_whole, writing
from numpygpt.utils.lock import held
from numpygpt.utils.paths import display_path

Saving = Callable[[], AbstractContextManager[object]]  # in which an error of the disk gets its sentence


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """An empty folder beside `folder`, whose place it takes when the block ends well (see `check_replace`).

    A block that fails or is stopped leaves what was there before. What killed runs left beside it is removed.
    """
    folder = folder.resolve()
    above = [parent for parent in folder.parents if not parent.exists()]  # the nearest first
    made = folder.parent / f".{folder.name}.{secrets.token_hex(4)}.new"
    old = made.with_suffix(".old")
    lock = ExitStack()
    try:
        try:
            if above:
                folder.parent.mkdir(parents=True, exist_ok=True)
            clear_unused(folder)
            lock.enter_context(held(made.with_suffix(".lock")))  # before `made`, which is therefore never without it
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
        if old.exists() and not folder.exists():  # the second rename failed: what was there comes back
            old.rename(folder)
        shutil.rmtree(made, ignore_errors=True)
        aside = beside(folder, "old")  # listed before the next line looks: not needed any more, now or since a kill
        for rest in aside if folder.exists() else ():
            shutil.rmtree(rest, ignore_errors=True)
        lock.close()
        for parent in above:
            with suppress(OSError):  # it is not empty: all went well
                parent.rmdir()


def clear_unused(folder: Path) -> None:
    """Remove what killed runs were writing beside `folder`. A run that lives holds its lock and keeps its folder."""
    for made in {path.with_suffix(".new") for suffix in ("new", "lock") for path in beside(folder, suffix)}:
        with suppress(ValueError, OSError), held(made.with_suffix(".lock")) as known:
            if known:
                shutil.rmtree(made, ignore_errors=True)


@contextmanager
def saving(folder: Path, size: int = 0) -> Iterator[None]:
    """NotSaved for an OSError while `folder` is made, about so many bytes large."""
    kept = f"{display_path(folder)} is as it was" if folder.exists() else "No folder was made"
    with writing(folder.resolve(), kept, "run this again", size):
        yield


def put_back(folder: Path, say: Callable[[str], None]) -> None:
    """A data folder whose replacement was killed between the two renames gets its name again."""
    if old := displaced(folder):
        old.rename(folder)
        say(f"note: {display_path(folder)} is back from {display_path(old)}: its replacement was killed")


def id_dtype(vocab_size: int) -> np.dtype:
    """The smallest type for the ids of so many entries."""
    return np.dtype("<u2" if vocab_size < 1 << 16 else "<u4")


def write_tokens(path: Path, arrays: Iterable[np.ndarray], dtype: np.dtype, watched: int = -1,
                 saving: Saving = nullcontext) -> tuple[int, int]:  # fmt: skip
    """Write the ids as they come, in a `saving` block each time. (how many they are, how many are `watched`)"""
    tokens = found = 0
    with saving():
        file = path.open("wb", buffering=0)  # with a buffer, what was refused would be tried again by the closing
    with file:
        for ids in arrays:  # outside of the block: an error of the text's own file is another
            with saving():
                write_all(file, ids.astype(dtype).tobytes())
            tokens += len(ids)
            found += int(np.count_nonzero(ids == watched)) if watched >= 0 else 0
        with saving():
            os.fsync(file.fileno())
    return tokens, found


def write_all(file: BinaryIO, data: bytes) -> None:
    """Without a buffer one call may write a part only."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def write_rest(folder: Path, tokenizer: Any, tokens: dict[str, int], meta: dict[str, Any]) -> None:
    """tokenizer.json, then meta.json, which makes the folder whole; `tokens`: how many each part has. The disk has it
    all when this returns.

    `meta` lacks only what the tokens and the tokenizer tell themselves.
    """
    tokenizer.save(folder / "tokenizer.json")
    whole = {"format": FORMAT, "version": VERSION, **meta, "vocab_size": tokenizer.vocab_size}
    whole["dtype"] = id_dtype(tokenizer.vocab_size).name
    whole["tokenizer"] = {**meta["tokenizer"], "sha256": file_sha256(folder / "tokenizer.json")}
    for part, count in tokens.items():
        whole[part] = {"tokens": count, **meta[part], "crc32": file_crc32(folder / f"{part}.bin")}
    write_whole(folder / "meta.json", json.dumps(whole, indent=2, ensure_ascii=False) + "\n")


def file_crc32(path: Path) -> int:
    """The checksum by which a flipped bit is found when the tokens are read, at no cost that one would notice."""
    crc32 = 0
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            crc32 = zlib.crc32(block, crc32)
    return crc32


def check_replace(folder: Path, meta: dict[str, Any], force: bool) -> None:
    """Raise `ValueError` where writing `meta`'s data to `folder` would destroy anything that the user may want.

    The same data again is fine. Other data needs `force`. What this project did not write is never removed.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ValueError(f"{display_path(folder)} is a file and no folder: choose another --out")
    foreign = sorted(x.name for x in folder.iterdir() if x.name not in FILES or x.is_dir())
    if foreign:
        raise ValueError(
            f"{display_path(folder)} holds what is no data folder's ({', '.join(foreign[:3])}): choose another --out"
        )
    if force or not any(folder.iterdir()):
        return
    try:
        there = read_meta(folder)
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(f"{display_path(folder)} has no valid meta.json: `force=True` replaces its files") from error
    was, now = _identity(there), _identity(meta)
    differ = ", ".join(key for key in now if was.get(key) != now[key])
    if differ:
        raise ValueError(
            f"{display_path(folder)} holds other data ({plain(was['corpus'])}, {plain(was['tokenizer'][0])}; it "
            f"differs in {differ}): --force replaces it, --out writes elsewhere"
        )


def _identity(meta: dict[str, Any]) -> dict[str, Any]:
    """What two folders with the same data agree in, by the names that a user knows; no text before it was read."""
    tokenizer = meta["tokenizer"]
    return {
        "corpus": meta["corpus"],
        **({"text": meta["sha256"]} if "sha256" in meta else {}),
        "tokenizer": (tokenizer.get("kind"), tokenizer.get("from_sha256")),
        **{name.replace("_", "-"): value for name, value in meta["settings"].items()},
        "split": meta["split"].get("by"),
        "val-fraction": meta["split"].get("val_fraction"),
    }
