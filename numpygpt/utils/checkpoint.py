"""Checkpoints: one `.npz` with a JSON header, whole or not there at all, and no pickle."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from numpygpt.utils import strict_json
from numpygpt.utils.archive import Archive, Unsound, brief, write_array
from numpygpt.utils.cli import command, shown

FORMAT, VERSION = "numpygpt-checkpoint", 2
HEADER = "header"  # the member that holds the JSON
MOST_HEADER = 64 << 20  # bytes: a vocabulary of a million words fits


class OtherFormat(Unsound):
    """A sound file of another format or version."""


@dataclass(frozen=True)
class Checkpoint:
    """What a file held: `header`, a dict of JSON values, and `arrays` by name."""

    path: Path
    header: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def group(self, prefix: str) -> dict[str, np.ndarray]:
        """The arrays whose names begin with `prefix/`, without it."""
        return {name.removeprefix(prefix + "/"): array for name, array in self.arrays.items()
                if name.startswith(prefix + "/")}


def save_checkpoint(path: str | Path, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write the file, whole or not at all."""
    path = Path(path)
    with replacing(path) as file:
        write(file, header, arrays)
    sync_folder(path.parent)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A temporary file beside `path`, which takes its place once the disk has it: at no moment is `path` half a file,
    and where the block fails it stays what it was."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write(file: BinaryIO, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """The arrays, then the header, which lists them with their checksums. `np.load` reads what is written here."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        listed = {name: write_array(archive, name, array) for name, array in arrays.items()}
        text = json.dumps({**header, "format": FORMAT, "version": VERSION, "arrays": listed}, allow_nan=False)
        write_array(archive, HEADER, np.frombuffer(text.encode(), np.uint8))


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the folder's new names. Windows neither needs nor has this."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


MODEL_KEYS = ("step", "last", "best", "config", "model", "tokenizer", "data")
RUN_KEYS = (*MODEL_KEYS, "tokens", "seconds", "generators", "loader", "optimizer")


def load_checkpoint(path: str | Path, only: str = "", needs: tuple[str, ...] = ()) -> Checkpoint:
    """Read a checkpoint; with `only`, of the arrays just those whose names begin with it. `needs` names what must stand
    in its header: MODEL_KEYS to sample or begin with, RUN_KEYS to go on.

    The file may come from a stranger: nothing in it is run, and no size in it is believed (see `archive.py`).
    Raises FileNotFoundError, or ValueError for a file that is cut off, damaged, or of another format or version.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {shown(path)}; train a model first: "
                                f"{command('train.py', 'quick')}")
    with open(path, "rb") as file:
        try:
            header, arrays = read(file, only)
        except OtherFormat as error:
            raise ValueError(f"{shown(path)} has {error}") from error
        except Unsound as error:
            raise ValueError(f"{shown(path)} is damaged or no checkpoint of this program: {error}; a run folder holds "
                             "two, best.npz and ckpt.npz: try the other one") from error
        except MemoryError as error:
            raise ValueError(f"{shown(path)} does not fit into this machine's memory") from error
    missing = [name for name in needs if name not in header]
    if missing:
        raise ValueError(f"{shown(path)} lacks {', '.join(missing)}: it does not hold a whole model")
    return Checkpoint(path, header, arrays)


def read(file: BinaryIO, only: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(header, arrays), checked against each other. Unsound for anything else."""
    archive = Archive(file)
    header = read_header(archive)
    names = [name for name in archive.stored if name != HEADER]
    listed = header.pop("arrays", None)
    if header["version"] > 1:  # version 1 had no list, and the zip's own checksums alone
        check_listed(archive, names, listed)
    return header, {name: archive.read(name) for name in names if name.startswith(only)}


def read_header(archive: Archive) -> dict[str, Any]:
    stored = archive.stored.get(HEADER)
    if stored is None or stored.dtype != np.uint8 or stored.member.file_size > MOST_HEADER:
        raise Unsound("it has no header, or one that no checkpoint has")
    try:
        header = strict_json.loads(archive.read(HEADER).tobytes().decode())
    except (ValueError, RecursionError) as error:
        raise Unsound("its header cannot be read" if not isinstance(error, Unsound) else str(error)) from error
    found = (header.get("format"), header.get("version")) if isinstance(header, dict) else (None, None)
    if found[0] != FORMAT or type(found[1]) is not int or not 1 <= found[1] <= VERSION:
        raise OtherFormat(f"format {brief(found[0])} version {brief(found[1])}, and this program reads {FORMAT} "
                          f"up to version {VERSION}")
    check_header(header)
    return header


def check_listed(archive: Archive, names: list[str], listed: Any) -> None:
    """Unsound unless the arrays in the file are those that the header lists, as it describes them."""
    listed = listed if isinstance(listed, dict) else {}
    other = sorted(set(names) ^ set(listed))
    if other:
        raise Unsound(f"the array {brief(other[0])} is {'missing' if other[0] in listed else 'not in its list'}")
    for name in names:
        stored, says = archive.stored[name], listed[name]
        is_ = {"dtype": stored.dtype.name, "shape": list(stored.shape), "crc32": stored.member.CRC}
        if not isinstance(says, dict) or says != is_:
            same = isinstance(says, dict) and all(says.get(key) == is_[key] for key in ("dtype", "shape"))
            what = "its checksum is another" if same else "its header describes another"
            raise Unsound(f"the array {brief(name)} is damaged ({what})")


def check_header(header: dict[str, Any]) -> None:
    """Unsound where a value is of a kind that no run writes there."""
    for name, (fits, expected) in VALUES.items():
        if name in header and not fits(header[name]):
            raise Unsound(f"its {name} should be {expected}")
    for state in header.get("generators", {}).values():
        try:
            np.random.PCG64().state = state
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise Unsound("it holds a random generator's state that is none") from error


def is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def is_number(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < 1e300


def is_object(value: Any) -> bool:
    return isinstance(value, dict)


def is_evaluation(value: Any) -> bool:
    if value is None or value == {}:
        return True  # there was none yet
    return is_object(value) and is_number(value.get("val_loss")) and is_count(value.get("step"))


def is_place(value: Any) -> bool:
    return is_object(value) and set(value) == {"epoch", "position"} and all(map(is_count, value.values()))


def is_optimizer(value: Any) -> bool:
    return is_object(value) and isinstance(value.get("name"), str) and is_count(value.get("steps"))


VALUES: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(("step", "tokens"), (is_count, "a whole number from 0 on")),
    "seconds": (is_number, "a number from 0 on"),
    **dict.fromkeys(("last", "best"), (is_evaluation, "null, or an object with a val_loss and a step")),
    "data": (lambda value: value is None or is_object(value), "an object or null"),
    "loader": (is_place, "an object with an epoch and a position"),
    "optimizer": (is_optimizer, "an object with a name and steps"),
    **dict.fromkeys(("config", "model", "tokenizer", "generators"), (is_object, "an object")),
}


def newest_run(runs: Path, name: str) -> Path | None:
    """The run folder below `runs` whose file `name` was written last, or None."""
    files = sorted(runs.glob(f"*/{name}"), key=lambda file: file.stat().st_mtime)
    return files[-1].parent if files else None


def find_checkpoint(run: str | Path, prefer: tuple[str, ...] = ("best.npz", "ckpt.npz")) -> Path:
    """The checkpoint that `run` means: the file itself, or the first of `prefer` in that folder."""
    run = Path(run)
    if not run.is_dir():
        return run
    for name in prefer:
        if (run / name).is_file():
            return run / name
    raise FileNotFoundError(f"{shown(run)} holds no checkpoint ({' or '.join(prefer)}); train a model first: "
                            f"{command('train.py', 'quick')}")
