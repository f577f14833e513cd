"""A data folder: train.bin, val.bin, tokenizer.json and meta.json, checked when read (`folder.py` writes it).

`train.bin` and `val.bin` are token ids without a header, little-endian, uint16 for a vocabulary of fewer than 65,536
entries and uint32 from there on. They are read by memmap: a text larger than memory is no difficulty. `meta.json` says
where the text came from, how it was cut and tokenized, and the counts and hashes by which the rest is checked.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from numpygpt.tokenizer import load_tokenizer
from numpygpt.tokenizer.checks import brief
from numpygpt.utils import strict_json
from numpygpt.utils.cli import command, shown
from numpygpt.utils.data.corpora import CORPORA
from numpygpt.utils.data.fetch import file_sha256
from numpygpt.utils.data.recipes import DEFAULT_FOLDER, making

FORMAT, VERSION = "numpygpt-data", 1
FILES = ("train.bin", "val.bin", "tokenizer.json", "meta.json")
TOKENIZERS = ("char", "word", "bpe")
REQUIRED = ("corpus", "sha256", "tokenizer", "settings", "split", "vocab_size", "dtype", "train", "val")
MOST_META = 1 << 24  # bytes of meta.json
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
        """Open `folder`. Raises `FileNotFoundError` or `ValueError` that says what is wrong and how to make it anew."""
        folder = Path(folder)
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no data folder {shown(folder)}: make it with {how_to_make(folder)}")
        meta = read_meta(folder)
        for name in FILES:
            if not (folder / name).is_file():
                raise FileNotFoundError(f"{shown(folder / name)} is missing: {anew(folder)}")
        if file_sha256(folder / "tokenizer.json") != meta["tokenizer"]["sha256"]:
            raise ValueError(
                f"{shown(folder / 'tokenizer.json')} is not the file that made this folder's tokens "
                f"(its SHA-256 is not the one in meta.json): {anew(folder)}"
            )
        tokenizer = load_tokenizer(folder / "tokenizer.json")
        if tokenizer.kind != meta["tokenizer"]["kind"]:
            raise ValueError(
                f"{shown(folder)} has a {tokenizer.kind} tokenizer, and meta.json speaks of a "
                f"{plain(meta['tokenizer']['kind'])} one: {anew(folder)}"
            )
        if tokenizer.vocab_size != meta["vocab_size"]:
            raise ValueError(
                f"{shown(folder)} has a tokenizer of {tokenizer.vocab_size:,} entries, and meta.json speaks of "
                f"{plain(meta['vocab_size'])}: {anew(folder)}"
            )
        train, val = (_open_tokens(folder, part, meta, tokenizer.vocab_size) for part in ("train", "val"))
        return cls(folder, train, val, tokenizer, meta)


def read_meta(folder: Path) -> dict[str, Any]:
    """meta.json of `folder`, once its format and version are ours."""
    path = folder / "meta.json"
    try:
        if path.stat().st_size > MOST_META:
            raise ValueError(f"it has more than {MOST_META:,} bytes")
        meta = strict_json.loads(path.read_bytes().decode("utf-8"))
        found = (meta["format"], meta["version"])
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{shown(folder)} is no data folder, it has no meta.json: make one with {how_to_make(folder)}"
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{shown(path)} cannot be read as this project's meta.json: {anew(folder)}") from error
    if found != (FORMAT, VERSION):
        raise ValueError(
            f"{shown(path)} has format {plain(found[0])} version {plain(found[1])}, and this program reads {FORMAT} "
            f"version {VERSION}: {anew(folder)}"
        )
    missing = [key for key in REQUIRED if key not in meta]
    inner = {"train": ("tokens", "bytes"), "val": ("tokens", "bytes"), "tokenizer": ("kind", "sha256")}
    missing += [f"{key}.{name}" for key, names in inner.items() for name in names
                if key in meta and (not isinstance(meta[key], dict) or name not in meta[key])]
    if missing or meta["dtype"] not in ("uint16", "uint32"):
        raise ValueError(f"{shown(path)} lacks {', '.join(missing) or 'a dtype that is known'}: {anew(folder)}")
    for part in ("train", "val"):
        wrong = [name for name, value in meta[part].items() if type(value) is not int or not 0 <= value < 1 << 63]
        if wrong:
            raise ValueError(f"{shown(path)}: {part}.{plain(wrong[0])} is no number of anything: {anew(folder)}")
    if not isinstance(meta["settings"], dict) or not isinstance(meta["split"], dict):
        raise ValueError(f"{shown(path)}: settings and split are no objects: {anew(folder)}")
    return meta


def _open_tokens(folder: Path, part: str, meta: dict[str, Any], vocab_size: int) -> np.ndarray:
    """The memmap of `part`, its size and its ids checked."""
    path, dtype, count = folder / f"{part}.bin", np.dtype(meta["dtype"]).newbyteorder("<"), meta[part]["tokens"]
    size = path.stat().st_size
    if size != count * dtype.itemsize or not count:
        raise ValueError(
            f"{shown(path)} has {size:,} bytes where meta.json's {count:,} tokens of {dtype.name} are "
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
            f"{shown(path)} has the id {largest}, and the vocabulary's {vocab_size} entries end at {vocab_size - 1}: "
            f"{anew(folder)}"
        )
    if crc32 != meta[part].get("crc32", crc32):  # folders of earlier versions have none
        raise ValueError(f"{shown(path)} is damaged (its checksum is not the one in meta.json): {anew(folder)}")
    return np.memmap(path, dtype=dtype, mode="r")


def plain(value: Any) -> str:
    """A value of meta.json in a sentence: a text without quotes, and nothing longer than a line."""
    return value if isinstance(value, str) and value.isprintable() and len(value) <= 60 else brief(value)


def anew(folder: Path) -> str:
    return f"make the folder anew with {how_to_make(folder, '--force')}"


def how_to_make(folder: Path, *more: str) -> str:
    """The command that makes `folder`, as far as its name tells."""
    if made := making(folder, *more):
        return made
    folder = folder.resolve()
    corpus, _, kind = folder.name.rpartition("_")
    if folder.parent == DEFAULT_FOLDER.parent and corpus in CORPORA and kind in TOKENIZERS:
        return command("datagen.py", "--dataset", corpus, "--tokenizer", kind, *more)
    return command("datagen.py", "--input", "FILE", "--out", shown(folder), *more)
