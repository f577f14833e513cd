"""Checkpoints: one `.npz` file with a JSON header, written atomically, without pickle."""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from numpygpt.nn.backend import to_host
from numpygpt.training.archive import Archive, Stored, Unsound, write_array
from numpygpt.training.checkpoint_header import check_header
from numpygpt.training.runs import run_suggestion
from numpygpt.utils import strict_json
from numpygpt.utils.files import replacing
from numpygpt.utils.paths import display_path
from numpygpt.utils.text import shorten

# The parts of a model that each version of the format renamed: old name -> new name. To rename a part, add a version.
RENAMED = {3: {"ln1": "norm1", "ln2": "norm2", "ln_f": "norm_f"}}
FORMAT, VERSION = "numpygpt-checkpoint", max(RENAMED)
HEADER = "header"  # the member that holds the JSON
MAX_HEADER = 16 << 20  # bytes: a vocabulary of a million words fits; read, they may take twenty times as many


class Incomplete(Unsound):
    """An undamaged file that lacks something; the message names it."""


class OtherFormat(Unsound):
    """An undamaged file of another format or version."""


@dataclass(frozen=True)
class Checkpoint:
    """The content of a file: `header`, a dict of JSON values, and `arrays` by name."""

    path: Path
    header: dict[str, Any]
    arrays: dict[str, np.ndarray]
    stamp: tuple[int, ...] = ()  # identifies the file that was read; empty if another rank has read it

    def check_unchanged(self) -> None:
        """Raise ValueError if the file was replaced or changed since it was read."""
        if self.stamp and stamp(os.stat(self.path)) != self.stamp:
            raise ValueError(f"{display_path(self.path)} has changed since it was read: another run resumed from it "
                             "in the meantime; start this command again")

    def group(self, prefix: str) -> dict[str, np.ndarray]:
        """The arrays whose names begin with `prefix/`, without it."""
        return {name.removeprefix(prefix + "/"): array for name, array in self.arrays.items()
                if name.startswith(prefix + "/")}


def stamp(found: os.stat_result) -> tuple[int, ...]:
    """Distinguishes a file from one that has replaced it since."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


Arrays = Mapping[str, np.ndarray] | Iterable[tuple[str, np.ndarray]]  # by name; pairs may be made one by one


def save_checkpoint(path: str | Path, header: Mapping[str, Any], arrays: Arrays) -> None:
    """Write the file atomically."""
    with replacing(Path(path)) as file:
        write(file, header, arrays)


def write(file: BinaryIO, header: Mapping[str, Any], arrays: Arrays) -> None:
    """The arrays, then the header, which lists them with their checksums. `np.load` reads what is written here."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        pairs = arrays.items() if isinstance(arrays, Mapping) else arrays
        listed = {name: write_array(archive, name, to_host(array)) for name, array in pairs}
        whole = {**header, "format": FORMAT, "version": VERSION, "arrays": listed}
        text = json.dumps(whole, allow_nan=False, default=json_value)
        write_array(archive, HEADER, np.frombuffer(text.encode(), np.uint8))


def json_value(value: Any) -> Any:
    """A NumPy scalar as a Python number, for the JSON writer. ValueError for anything else."""
    if isinstance(value, np.generic) and not isinstance(value.item(), np.generic):
        return value.item()
    raise ValueError(f"a checkpoint's header holds numbers, strings, lists and dicts, got {type(value).__name__} "
                     f"{value!r:.80}: convert it, or pass an array among the arrays")


MODEL_KEYS = ("step", "last", "best", "config", "model", "tokenizer", "data")
RUN_KEYS = (*MODEL_KEYS, "tokens", "seconds", "generators", "loader", "optimizer")


# Given a header, and the arrays in the file by name: arrays of the same shapes and dtypes to read some of them into.
Place = Callable[[dict[str, Any], Mapping[str, Stored]], Mapping[str, np.ndarray]]


def load_checkpoint(path: str | Path, only: str = "", needs: tuple[str, ...] = (), advice: str = "",
                    place: Place = lambda header, stored: {}) -> Checkpoint:
    """Read a checkpoint; with `only`, just the arrays whose names begin with it. `needs` lists the keys that its header
    must have: MODEL_KEYS to sample or start from, RUN_KEYS to resume. `advice` says what to do if the file is damaged.
    `place` can make the arrays to read into, so that a model is never held twice.

    The file may be untrusted: nothing in it is executed, and every size in it is checked (see `archive.py`).
    Raises FileNotFoundError, or ValueError for a file that is cut off, damaged, or of another format or version.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {display_path(path)}{run_suggestion(path)}")
    with open(path, "rb") as file:
        try:
            read_at = stamp(os.fstat(file.fileno()))
            header, arrays = read(file, only, needs, place)
        except Incomplete as error:
            raise ValueError(f"{display_path(path)} lacks {error}: it does not hold a whole model") from error
        except OtherFormat as error:
            raise ValueError(f"{display_path(path)} has {error}") from error
        except Unsound as error:
            raise ValueError(f"{display_path(path)} is damaged or not a checkpoint of this program: {error}"
                             f"{advice or instead(path)}") from error
        except MemoryError as error:
            raise ValueError(f"{display_path(path)} does not fit into this machine's memory") from error
    return Checkpoint(path, header, arrays, read_at)


def instead(path: Path) -> str:
    """The other checkpoint of the run folder, if it has one."""
    others = [path.with_name(name) for name in ("best.npz", "ckpt.npz") if name != path.name]
    there = [display_path(other) for other in others if other.is_file()]
    return f"; the run folder has another checkpoint: try {there[0]}" if there else ""


def read(file: BinaryIO, only: str, needs: tuple[str, ...],
         place: Place) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(header, arrays), checked against each other. Unsound for anything else."""
    archive = Archive(file)
    header = read_header(archive)
    names = [name for name in archive.stored if name != HEADER]
    listed = header.pop("arrays", None)
    if header["version"] > 1:  # version 1 had no list, and the zip's own checksums alone
        check_listed(archive, names, listed)
    if missing := [name for name in needs if name not in header]:
        raise Incomplete(", ".join(missing))
    now = {name: renamed(name, header["version"]) for name in names if name.startswith(only)}
    places = place(header, {now[name]: archive.stored[name] for name in now})
    arrays = {now[name]: archive.read(name, places.get(now[name])) for name in now}
    for name, array in arrays.items():
        if name.startswith("model/") and not np.isfinite(array).all():
            raise Unsound(f"the array {shorten(name)} is not finite, and runs never save such numbers")
    return header, arrays


def renamed(name: str, version: int) -> str:
    """The present name of an array in a file of that version: a parameter, or a moment of one."""
    parts = re.split("([./])", name)
    for later in range(version + 1, VERSION + 1):
        parts = [RENAMED.get(later, {}).get(part, part) for part in parts]
    return "".join(parts)


def read_header(archive: Archive) -> dict[str, Any]:
    stored = archive.stored.get(HEADER)
    if stored is None or stored.dtype != np.uint8 or stored.member.file_size > MAX_HEADER:
        raise Unsound("it has no valid header")
    try:
        header = strict_json.loads(archive.read(HEADER).tobytes().decode())
    except (ValueError, RecursionError) as error:
        raise Unsound("its header cannot be read" if not isinstance(error, Unsound) else str(error)) from error
    found = (header.get("format"), header.get("version")) if isinstance(header, dict) else (None, None)
    if found[0] != FORMAT or type(found[1]) is not int or not 1 <= found[1] <= VERSION:
        raise OtherFormat(f"format {shorten(found[0])} version {shorten(found[1])}, and this program reads {FORMAT} "
                          f"up to version {VERSION}")
    check_header(header)
    return header


def check_listed(archive: Archive, names: list[str], listed: Any) -> None:
    """Unsound unless the arrays in the file are those that the header lists, as it describes them."""
    listed = listed if isinstance(listed, dict) else {}
    other = sorted(set(names) ^ set(listed))
    if other:
        raise Unsound(f"the array {shorten(other[0])} is {'missing' if other[0] in listed else 'not in its list'}")
    for name in names:
        stored, says = archive.stored[name], listed[name]
        is_ = {"dtype": stored.dtype.name, "shape": list(stored.shape), "crc32": stored.member.CRC}
        if not isinstance(says, dict) or says != is_:
            same = isinstance(says, dict) and all(says.get(key) == is_[key] for key in ("dtype", "shape"))
            what = "its checksum is another" if same else "its header describes another"
            raise Unsound(f"the array {shorten(name)} is damaged ({what})")


def find_checkpoint(run: str | Path, prefer: tuple[str, ...] = ("best.npz", "ckpt.npz")) -> Path:
    """The checkpoint that `run` means: the file itself, or the first of `prefer` in that folder."""
    run = Path(run)
    if not run.is_dir():
        return run
    for name in prefer:
        if (run / name).is_file():
            return run / name
    raise FileNotFoundError(f"{display_path(run)} holds no checkpoint ({' or '.join(prefer)}){run_suggestion(run)}")
