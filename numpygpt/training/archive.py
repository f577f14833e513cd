"""Arrays in an untrusted `.npz` file: nothing in it is executed, and its sizes are checked before memory is taken.

An `.npz` is a zip whose members are `.npy` files. Ours are never compressed, so the members of a valid file are
together smaller than the file, and the shape of an array must agree with the bytes of its member. So reading never
takes more memory than the file has bytes. `np.load` reads the same files.
"""

from __future__ import annotations

import math
import re
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, BinaryIO

import numpy as np

from numpygpt.utils.text import shorten

DTYPES = ("float32", "float64", "float16", "int64", "int32", "uint8")
KNOWN = {np.dtype(name).newbyteorder("<").str for name in DTYPES}  # "<f4" and so on
ENDING = ".npy"
CHUNK_BYTES = 1 << 20  # read at a time
MAX_DIMENSIONS = 8
# The text before an array's numbers, exactly as NumPy writes it: Python's own parser would accept much more.
NPY = re.compile(r"\{'descr': '([<|][a-z]\d)', 'fortran_order': (True|False), "
                 r"'shape': \(((?:\d{1,18}, )*\d{0,18},?)\), \} *\n")
# What `zipfile` raises for an invalid zip, besides its BadZipFile (RuntimeError: an encrypted member).
FAULTS = (zipfile.BadZipFile, struct.error, ValueError, KeyError, EOFError, OSError, RuntimeError, OverflowError)


class Unsound(ValueError):
    """What is wrong with the file, in words that follow its name: "x.npz: ..."."""


@dataclass(frozen=True)
class Stored:
    """One array in the file: its member, and a dtype and shape that fit the member's bytes."""

    member: zipfile.ZipInfo
    dtype: np.dtype
    shape: tuple[int, ...]
    fortran: bool  # the first axis varies fastest


class Archive:
    """The arrays of an open `.npz`, by name. Raises Unsound for anything that a valid file does not have."""

    def __init__(self, file: BinaryIO):
        try:
            self.zip = zipfile.ZipFile(file)
        except FAULTS as error:
            raise Unsound("it is not a complete .npz file") from error
        self.stored: dict[str, Stored] = {}
        members, size = self.zip.infolist(), file.seek(0, 2)
        if sum(member.file_size for member in members) > size:
            raise Unsound(f"its arrays claim more bytes than the file's {size:,}")
        for member in members:
            name = array_name(member)
            if name in self.stored:
                raise Unsound(f"the array {shorten(name)} is in it twice")
            self.stored[name] = self._described(name, member)

    def read(self, name: str, out: np.ndarray | None = None) -> np.ndarray:
        """The array, all of whose bytes were read and have the zip's checksum. If `out`, an array of its shape and
        dtype, is given, it is read into that."""
        stored = self.stored[name]
        if out is not None and (stored.fortran or not out.flags.c_contiguous):
            out[...] = self.read(name)
            return out
        with damaged(name), self.zip.open(stored.member) as file:
            read_start(file)
            shape = stored.shape[::-1] if stored.fortran else stored.shape
            array = np.empty(shape, stored.dtype) if out is None else out
            view = array.reshape(-1).view(np.uint8).data  # the same bytes
            for start in range(0, len(view), CHUNK_BYTES):  # `zipfile` compares the checksum as it reads the last ones
                view[start : start + CHUNK_BYTES] = file.read(CHUNK_BYTES)  # ValueError for fewer bytes
        return array.T if stored.fortran else array

    def _described(self, name: str, member: zipfile.ZipInfo) -> Stored:
        with damaged(name), self.zip.open(member) as file:
            start, text = read_start(file)
        found = NPY.fullmatch(text)
        if not found:
            raise Unsound(f"the array {shorten(name)} does not begin as NumPy's arrays of numbers do")
        if found[1] not in KNOWN:
            raise Unsound(f"the array {shorten(name)} is of type {found[1]}, and only {', '.join(DTYPES)} can be")
        dtype = np.dtype(found[1])
        shape = tuple(int(n) for n in found[3].split(",") if n.strip())
        held = member.file_size - start
        if len(shape) > MAX_DIMENSIONS or math.prod(shape) * dtype.itemsize != held:
            raise Unsound(f"the array {shorten(name)} should have the shape {shorten(shape)} of {dtype}, "
                          f"and the file holds {held:,} bytes of it")
        return Stored(member, dtype, shape, found[2] == "True")


def array_name(member: zipfile.ZipInfo) -> str:
    """The name of the array in a member. Raises Unsound if we could not have written it."""
    name = member.filename
    parts = name.split("/")
    if not name.endswith(ENDING) or name.startswith("/") or "\\" in name or {"", ".", ".."} & set(parts):
        raise Unsound(f"it has the entry {shorten(name)}, which is not an array of a checkpoint")
    if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
        raise Unsound(f"its entry {shorten(name)} is compressed, and checkpoints never are")
    return name.removesuffix(ENDING)


def read_start(file: IO[bytes]) -> tuple[int, str]:
    """(bytes before the first number, the text that describes the array)"""
    magic = file.read(10)
    if magic[:8] != b"\x93NUMPY\x01\x00":
        raise EOFError
    size = int.from_bytes(magic[8:], "little")
    text = file.read(size)
    if len(text) < size:
        raise EOFError
    return 10 + size, text.decode("latin-1")


def write_array(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> dict[str, Any]:
    """Add the array, and return its description for the header. Its checksum is the one of the zip member."""
    if np.dtype(array.dtype).newbyteorder("<").str not in KNOWN:
        raise ValueError(f"the array {name} is of type {array.dtype}; a checkpoint keeps {', '.join(DTYPES)}")
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    with archive.open(name + ENDING, "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)
    return {"dtype": array.dtype.name, "shape": list(array.shape), "crc32": archive.getinfo(name + ENDING).CRC}


@contextmanager
def damaged(name: str) -> Iterator[None]:
    """Any failure inside means that this array is damaged."""
    try:
        yield
    except FAULTS as error:
        why = "its checksum is another" if "CRC" in str(error) else "its bytes are not all there"
        raise Unsound(f"the array {shorten(name)} is damaged ({why})") from error
