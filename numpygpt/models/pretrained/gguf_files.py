"""The header of a GGUF file: metadata, and the place of each tensor. Nothing is read beyond the end of the file.

The package gguf reads headers too, ten times slower, and without these checks. It dequantises the tensors.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from numpygpt.models.pretrained.needed import package
from numpygpt.utils.paths import display_path
from numpygpt.utils.text import shorten

SUPPORTED = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q4_K", "Q6_K")
SCALARS = dict(enumerate("BbHhIif?", 0)) | {10: "Q", 11: "q", 12: "d"}  # of struct, by GGUF's number
STRING, ARRAY = 8, 9
MAX_RANK, MAX_DEPTH = 4, 2
MAX_ENTRIES = 1 << 22  # of a list: a vocabulary has some 100,000, and in memory an entry is many times its bytes


@dataclass(frozen=True)
class Quantised:
    """A tensor as it is stored: the name of its type, its shape (rows first), and its bytes per row."""

    kind: str
    shape: tuple[int, ...]
    data: np.ndarray  # uint8 (rows, bytes of a row), memory-mapped

    def array(self) -> np.ndarray:
        """The numbers in float32. A copy unless they are stored so."""
        gguf = package("gguf")
        if self.kind == "F32":
            return self.data.reshape(-1).view("<f4").reshape(self.shape)
        kind = gguf.GGMLQuantizationType[self.kind]
        with np.errstate(all="ignore"):  # damaged scales may overflow; numbers that are not finite are refused later
            return gguf.quants.dequantize(self.data, kind).reshape(self.shape)


class GGUFFile:
    """`fields`: the metadata by name, strings as str. `tensors`: by name. ValueError for a damaged file."""

    def __init__(self, path: Path):
        self.path = path
        if not path.is_file():
            raise FileNotFoundError(f"there is no {display_path(path)}")
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:  # it is empty
            raise self.damaged("it is empty") from None
        self._at, self._bytes = 0, np.frombuffer(self._map, np.uint8)
        try:
            self._read()
        except (struct.error, IndexError, UnicodeDecodeError):
            raise self.damaged("it ends too early, or a length in it is wrong") from None

    def damaged(self, why: str) -> ValueError:
        return ValueError(f"{display_path(self.path)} is not a GGUF file that can be read ({why}): fetch or copy it "
                          "again")

    def _read(self) -> None:
        if self._map[:4] != b"GGUF":
            raise self.damaged("it does not start with GGUF")
        self._at = 4
        version, n_tensors, n_fields = self._take("IQQ")
        if version not in (2, 3):
            raise self.damaged(f"its version is {version}, expected 2 or 3 in little-endian order")
        self.fields: dict[str, Any] = {}
        for _ in range(self._count(n_fields, 12)):
            name = self._string()
            if name in self.fields:
                raise self.damaged(f"{shorten(name)} occurs twice")
            self.fields[name] = self._value(self._take("I")[0], MAX_DEPTH)
        infos = [self._tensor_info() for _ in range(self._count(n_tensors, 24))]
        align = self.fields.get("general.alignment", 32)
        if type(align) is not int or align < 1 or align & (align - 1) or align > 1 << 20:
            raise self.damaged(f"its alignment is {shorten(align)}")
        start = -(-self._at // align) * align
        self.tensors: dict[str, Quantised] = {}
        for name, shape, number, offset in infos:
            if name in self.tensors:
                raise self.damaged(f"{shorten(name)} occurs twice")
            self.tensors[name] = self._tensor(name, shape, number, start + offset)

    def _take(self, kinds: str) -> tuple[Any, ...]:
        found = struct.unpack_from("<" + kinds, self._map, self._at)
        self._at += struct.calcsize("<" + kinds)
        return found

    def _count(self, count: int, least: int) -> int:
        """A number of entries of at least this many bytes each, checked against the rest of the file."""
        if count * least > len(self._map) - self._at:
            raise self.damaged("it ends too early, or a length in it is wrong")
        return count

    def _string(self) -> str:
        length = self._count(self._take("Q")[0], 1)
        self._at += length
        return self._map[self._at - length : self._at].decode("utf-8")

    def _value(self, kind: int, depth: int) -> Any:
        if kind == STRING:
            return self._string()
        if kind == ARRAY and depth:
            inner, count = self._take("IQ")
            if count > MAX_ENTRIES:
                raise self.damaged(f"it has a list of {count:,} entries")
            if inner in SCALARS:
                count = self._count(count, struct.calcsize("<" + SCALARS[inner]))
                return list(self._take(f"{count}{SCALARS[inner]}"))
            read: Callable[[], Any] = self._string if inner == STRING else lambda: self._value(inner, depth - 1)
            return [read() for _ in range(self._count(count, 8))]
        if kind not in SCALARS:
            raise self.damaged(f"it has a value of the unknown type {kind}")
        return self._take(SCALARS[kind])[0]

    def _tensor_info(self) -> tuple[str, tuple[int, ...], int, int]:
        name, (rank,) = self._string(), self._take("I")
        if rank > MAX_RANK:
            raise self.damaged(f"{shorten(name)} has {rank} axes")
        shape = self._take(f"{rank}Q")[::-1]  # the file has the innermost first
        if 0 in shape:
            raise self.damaged(f"{shorten(name)} is empty")
        return (name, shape, *self._take("IQ"))

    def _tensor(self, name: str, shape: tuple[int, ...], number: int, start: int) -> Quantised:
        gguf = package("gguf")
        kinds = {kind.value: kind for kind in gguf.GGMLQuantizationType}
        kind = kinds[number].name if number in kinds else f"number {number}"
        if kind not in SUPPORTED:
            raise ValueError(f"{display_path(self.path)}: the tensor {shorten(name)} has the type {kind}, and only "
                             f"{', '.join(SUPPORTED)} are supported")
        block, size = gguf.GGML_QUANT_SIZES[kinds[number]]
        width = shape[-1] if shape else 1
        rows = math.prod(shape[:-1])
        if width % block:
            raise self.damaged(f"the rows of {shorten(name)} are no whole number of blocks")
        row = width // block * size
        if start + rows * row > len(self._map):
            raise self.damaged(f"it ends before the end of {shorten(name)}")
        return Quantised(kind, shape, self._bytes[start : start + rows * row].reshape(rows, row))
