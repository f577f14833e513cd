"""A data folder: train.bin, val.bin, tokenizer.json and meta.json, checked when read (`folder.py` writes it).

`train.bin` and `val.bin` are token ids without a header, little-endian: uint16 for a vocabulary of fewer than 65,536
entries, else uint32. They are read by memmap, so a text can be larger than the memory. `meta.json` records where the
text came from, how it was split and tokenized, and the counts and hashes that the other files are checked by.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from numpygpt.data.meta import FILES, check_file, displaced_folder, existing_folder, plain, read_meta
from numpygpt.data.recipes import DEFAULT_FOLDER, make_command, rebuild_hint
from numpygpt.tokenizer import load_tokenizer
from numpygpt.utils.fetch import file_sha256
from numpygpt.utils.paths import display_path

CHUNK_BYTES = 1 << 22  # of a file in memory at a time


@dataclass(frozen=True)
class TokenDataset:
    """An opened data folder, checked.

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
        """UTF-8 bytes of the validation text: nats per token, times tokens, divided by these is nats per byte."""
        return self.meta["val"]["bytes"]

    @classmethod
    def load(cls, folder: str | Path = DEFAULT_FOLDER) -> TokenDataset:
        """Open `folder`, or the folder that replaces a preset's (see `existing_folder`).

        Raises `FileNotFoundError` or `ValueError` that says what is wrong and how to make the folder again.
        """
        folder = existing_folder(Path(folder))
        if not folder.is_dir():
            make = f"make it with {make_command(folder)}"
            if old := displaced_folder(folder):
                make = f"its data is in {display_path(old)}, because its replacement was killed; rename that, or {make}"
            if folder.exists():
                raise FileNotFoundError(f"{display_path(folder)} is a file, not a data folder: {make}")
            raise FileNotFoundError(f"there is no data folder {display_path(folder)}: {make}")
        meta = read_meta(folder)
        for name in FILES:
            check_file(folder, name)
        if file_sha256(folder / "tokenizer.json") != meta["tokenizer"]["sha256"]:
            raise _wrong(folder, "tokenizer.json", "did not make these tokens: its SHA-256 is not the one in meta.json")
        tokenizer = load_tokenizer(folder / "tokenizer.json")
        pairs = (("kind", tokenizer.kind, meta["tokenizer"]["kind"]),
                 ("vocab_size", tokenizer.vocab_size, meta["vocab_size"]))  # fmt: skip
        for name, here, there in pairs:
            if here != there:
                raise _wrong(folder, "tokenizer.json", f"has the {name} {here}, but meta.json says {plain(there)}")
        train, val = (_open_tokens(folder, part, meta, tokenizer.vocab_size) for part in ("train", "val"))
        return cls(folder, train, val, tokenizer, meta)


def _open_tokens(folder: Path, part: str, meta: dict[str, Any], vocab_size: int) -> np.ndarray:
    """Return the memmap of `part` once its size, its ids and its checksum are correct."""
    path, dtype, count = folder / f"{part}.bin", np.dtype(meta["dtype"]).newbyteorder("<"), meta[part]["tokens"]
    size = path.stat().st_size
    if size != count * dtype.itemsize:
        raise _wrong(folder, path.name, f"has {size:,} bytes, expected {count * dtype.itemsize:,}: meta.json says "
                                        f"{count:,} tokens of {dtype.name}")  # fmt: skip
    with path.open("rb") as file:  # not through the memmap, whose pages would count as this process's memory
        largest = crc32 = 0
        while block := file.read(CHUNK_BYTES):
            largest = max(largest, int(np.frombuffer(block, dtype).max()))
            crc32 = zlib.crc32(block, crc32)
    if largest >= vocab_size:
        raise _wrong(folder, path.name, f"has the id {largest}, but the vocabulary has {vocab_size} entries")
    if crc32 != meta[part].get("crc32", crc32):  # folders of earlier versions have no checksum
        raise _wrong(folder, path.name, "is damaged: its checksum is not the one in meta.json")
    return np.memmap(path, dtype=dtype, mode="r")


def _wrong(folder: Path, name: str, what: str) -> ValueError:
    return ValueError(f"{display_path(folder / name)} {what}: {rebuild_hint(folder)}")
