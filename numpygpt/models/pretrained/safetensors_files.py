"""The tensors of a model folder: model.safetensors, or the shards that its index lists. Files are memory-mapped.

A file is 8 bytes N, N bytes of JSON {name: {dtype, shape, data_offsets}}, and the tensors, row-major and
little-endian.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from numpygpt.models.pretrained.needed import MAX_JSON_BYTES, json_object, package, read_object
from numpygpt.utils.files import replacing
from numpygpt.utils.paths import display_path
from numpygpt.utils.text import shorten

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "bfloat16", "I8": "i1"}  # those that weights may have
MAX_NAME = 255  # bytes of the name of a file
NAMES = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int8": "I8"}


@dataclass(frozen=True)
class Stored:
    """A tensor in a file: what its header says, and where its bytes are."""

    dtype: str
    shape: tuple[int, ...]
    path: Path
    offset: int

    def numpy_dtype(self) -> np.dtype:
        """Its dtype in NumPy. ValueError if it is not one of floating point."""
        if self.dtype not in DTYPES:
            raise ValueError(f"has the dtype {self.dtype:.20}, and weights are {', '.join(DTYPES)}")
        return numpy_dtype(DTYPES[self.dtype])

    def array(self) -> np.ndarray:
        """The tensor itself, read-only and mapped from the file. Until the array is dropped, what was read of it is in
        memory, and the file is open: a process may have some hundred files open, and a model has thousands of tensors.
        """
        dtype = self.numpy_dtype()
        if 0 in self.shape:
            return np.empty(self.shape, dtype)
        return np.memmap(self.path, dtype, "r", self.offset, self.shape or 1).view(np.ndarray).reshape(self.shape)


def numpy_dtype(name: str) -> np.dtype:
    """NumPy's dtype; bfloat16 is that of the package ml_dtypes."""
    return np.dtype(package("ml_dtypes").bfloat16 if name == "bfloat16" else name)


def has_weights(folder: Path) -> bool:
    return (folder / SINGLE).is_file() or (folder / INDEX).is_file()


def read_tensors(folder: Path) -> dict[str, Stored]:
    """Return name -> tensor of all the folder's weights. FileNotFoundError or ValueError that names the file."""
    if (folder / SINGLE).is_file() or not (folder / INDEX).is_file():
        return read_file(folder / SINGLE)
    found: dict[str, Stored] = {}
    places = shards(folder / INDEX)
    for name in dict.fromkeys(places.values()):
        for tensor, stored in read_file(folder / name).items():
            if places.get(tensor) != name:
                raise ValueError(f"{display_path(folder / name)} holds {shorten(tensor)}, which {INDEX} does not list "
                                 "there")
            found[tensor] = stored
    if missing := sorted(set(places) - set(found)):
        raise ValueError(f"{display_path(folder / places[missing[0]])} does not hold {shorten(missing[0])}, which "
                         f"{INDEX} lists there")
    return found


def shards(index: Path) -> dict[str, str]:
    """Return tensor -> file in the same folder. ValueError for a path: an index must not reach other folders."""
    places = read_object(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise ValueError(f"{display_path(index)} has no weight_map from tensors to files")
    for file in places.values():
        if not isinstance(file, str) or not is_plain(file) or not file.endswith(".safetensors"):
            raise ValueError(f"{display_path(index)} names the file {shorten(file)}, expected the plain name of a "
                             ".safetensors file next to it")
    return places


def is_plain(name: str) -> bool:
    """Whether this is the name of a file, not a path, that every system can have and every terminal can show."""
    return name == Path(name).name and "\\" not in name and name.isprintable() and len(name.encode()) <= MAX_NAME


def read_file(path: Path) -> dict[str, Stored]:
    """Return the tensors of one file. The package checks the header: sizes, overlaps, gaps, the length of the file."""
    safetensors, shown = package("safetensors"), display_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no {shown}")
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if size > MAX_JSON_BYTES:
                raise ValueError(f"a header of {size:,} bytes")
            with safetensors.safe_open(path, framework="np"):
                header = json_object(file.read(size))
    except (safetensors.SafetensorError, ValueError) as error:
        raise ValueError(f"{shown} is damaged or only a part of a file ({one_line(error)}): fetch or copy it "
                         "again") from error
    header.pop("__metadata__", None)
    return {name: Stored(entry["dtype"], tuple(entry["shape"]), path, 8 + size + entry["data_offsets"][0])
            for name, entry in header.items()}


def write_file(path: Path, tensors: Mapping[str, tuple[str, tuple[int, ...]]], arrays: Iterable[np.ndarray],
               wrote: Callable[[int], object] = lambda size: None) -> None:
    """Write tensors, given as name -> (dtype, shape). `arrays` makes them one by one in the same order, so that they
    are never in memory all at once. `wrote` is called with the size of each. ValueError that names a tensor which is
    not finite in its dtype.
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}  # some readers refuse a file without it
    end = 0
    for name, (dtype, shape) in tensors.items():
        begin, end = end, end + numpy_dtype(dtype).itemsize * int(np.prod(shape))
        header[name] = {"dtype": NAMES[dtype], "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with replacing(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for (name, (dtype, shape)), array in zip(tensors.items(), arrays, strict=True):
            kind = numpy_dtype(dtype)
            with np.errstate(over="ignore"):
                stored = np.ascontiguousarray(array, kind)  # to nearest, ties to even (bfloat16: of float32)
            if stored.shape != shape or not np.isfinite(stored).all():
                raise ValueError(f"{name} is not finite in {dtype}: the model diverged, or its numbers need float32")
            file.write(stored.data if kind.kind in "fi" else stored.view(np.uint16).data)
            wrote(stored.nbytes)


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
