"""A data folder: train.bin, val.bin, tokenizer.json and meta.json, checked when read (`folder.py` writes it).

`train.bin` and `val.bin` are token ids without a header, little-endian, uint16 for a vocabulary of fewer than 65,536
entries and uint32 from there on. They are read by memmap: a text larger than memory is no difficulty. `meta.json` says
where the text came from, how it was cut and tokenized, and the counts and hashes by which the rest is checked.
"""

from __future__ import annotations

import glob
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from numpygpt.data.fetch import file_sha256
from numpygpt.data.meta import FILES, anew, check_file, how_to_make, plain, read_meta
from numpygpt.data.recipes import DEFAULT_FOLDER, INSTEAD, folder_of, recipe
from numpygpt.tokenizer import load_tokenizer
from numpygpt.utils.paths import display_path

_CHECKED_AT_ONCE = 1 << 22  # bytes of a file in memory at a time


@dataclass(frozen=True)
class TokenDataset:
    """A data folder that was opened and found sound.

    `train`, `val`: (N,) read-only memmaps of token ids; `tokenizer`: the one that made them; `meta`: meta.json.
    """

    folder: Path
    train: np.ndarray
    val: np.ndarray
    tokenizer: Any
    meta: dict[str, Any]

    @property
    def vocab_size(self) -> int:
        return self.tokenizer.vocab_size

    @property
    def val_bytes(self) -> int:
        """UTF-8 bytes of the validation text: a loss in nats a token, times tokens, over these is nats a byte."""
        return self.meta["val"]["bytes"]

    @classmethod
    def load(cls, folder: str | Path = DEFAULT_FOLDER) -> TokenDataset:
        """Open `folder`, or the one that was made in place of a preset's (see `at_hand`). Raises `FileNotFoundError` or
        `ValueError` that says what is wrong and how to make it again."""
        folder = at_hand(Path(folder))
        if not folder.is_dir():
            make = f"make it with {how_to_make(folder)}"
            if old := displaced(folder):
                make = f"its data is in {display_path(old)}, because its replacement was killed; rename that, or {make}"
            if folder.exists():
                raise FileNotFoundError(f"{display_path(folder)} is a file, not a data folder: {make}")
            raise FileNotFoundError(f"there is no data folder {display_path(folder)}: {make}")
        meta = read_meta(folder)
        for name in FILES:
            check_file(folder, name)
        if file_sha256(folder / "tokenizer.json") != meta["tokenizer"]["sha256"]:
            raise ValueError(
                f"{display_path(folder / 'tokenizer.json')} is not the file that made this folder's tokens "
                f"(its SHA-256 is not the one in meta.json): {anew(folder)}"
            )
        tokenizer = load_tokenizer(folder / "tokenizer.json")
        if tokenizer.kind != meta["tokenizer"]["kind"]:
            raise ValueError(
                f"{display_path(folder)} has a {tokenizer.kind} tokenizer, and meta.json speaks of a "
                f"{plain(meta['tokenizer']['kind'])} one: {anew(folder)}"
            )
        if tokenizer.vocab_size != meta["vocab_size"]:
            raise ValueError(
                f"{display_path(folder)} has a tokenizer of {tokenizer.vocab_size:,} entries, and meta.json speaks of "
                f"{plain(meta['vocab_size'])}: {anew(folder)}"
            )
        train, val = (_open_tokens(folder, part, meta, tokenizer.vocab_size) for part in ("train", "val"))
        return cls(folder, train, val, tokenizer, meta)


def _open_tokens(folder: Path, part: str, meta: dict[str, Any], vocab_size: int) -> np.ndarray:
    """The memmap of `part`, its size and its ids checked."""
    path, dtype, count = folder / f"{part}.bin", np.dtype(meta["dtype"]).newbyteorder("<"), meta[part]["tokens"]
    size = path.stat().st_size
    if size != count * dtype.itemsize:
        raise ValueError(
            f"{display_path(path)} has {size:,} bytes where meta.json's {count:,} tokens of {dtype.name} are "
            f"{count * dtype.itemsize:,}: {anew(folder)}"
        )
    with path.open("rb") as file:  # read: what a memmap has shown counts as this process's memory
        blocks = iter(lambda: file.read(_CHECKED_AT_ONCE), b"")
        largest = crc32 = 0
        for block in blocks:
            largest = max(largest, int(np.frombuffer(block, dtype).max()))
            crc32 = zlib.crc32(block, crc32)
    if largest >= vocab_size:
        raise ValueError(
            f"{display_path(path)} has the id {largest}, and the vocabulary's {vocab_size} entries end at "
            f"{vocab_size - 1}: {anew(folder)}"
        )
    if crc32 != meta[part].get("crc32", crc32):  # folders of earlier versions have none
        raise ValueError(f"{display_path(path)} is damaged (its checksum is not the one in meta.json): {anew(folder)}")
    return np.memmap(path, dtype=dtype, mode="r")


def at_hand(folder: Path) -> Path:
    """`folder`, or if a preset's is missing: what was made in its place when Tiny Shakespeare could not be fetched."""
    settings = recipe(folder)
    if settings is not None and "dataset" not in settings and not folder.exists():
        for corpus in INSTEAD:
            other = folder_of(corpus, folder)
            with suppress(FileNotFoundError, ValueError):
                if read_meta(other)["corpus"] == corpus:  # and not a text of the user's with such a name
                    return other
    return folder


def displaced(folder: Path) -> Path | None:
    """Where the data of `folder` is, if its replacement was killed in the moment between two renames."""
    if folder.exists():
        return None
    whole = [old for old in beside(folder, "old") if all((old / name).is_file() for name in FILES)]
    return max(whole, key=lambda old: old.stat().st_mtime, default=None)


def beside(folder: Path, suffix: str) -> list[Path]:
    """The hidden names that `new_folder` gives beside `folder`: "new" is being written, "lock" says by a process that
    lives, and "old" was renamed to make room. All are gone at its end, unless it was killed."""
    folder = folder.resolve()
    return sorted(folder.parent.glob(f".{glob.escape(folder.name)}.{'[0-9a-f]' * 8}.{suffix}"))
