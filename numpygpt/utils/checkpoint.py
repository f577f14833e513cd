"""Checkpoints: one `.npz` with a JSON header, whole or not there at all, and no pickle."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from numpygpt.utils.cli import command, shown

FORMAT, VERSION = "numpygpt-checkpoint", 1


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
    """Write to a temporary file beside `path`, wait for the disk, then rename: at no moment is `path` half a file."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    text = json.dumps({"format": FORMAT, "version": VERSION, **header}, allow_nan=False)
    try:
        with open(temporary, "wb") as file:
            np.savez(file, allow_pickle=False, header=np.frombuffer(text.encode(), np.uint8), **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


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

    Raises FileNotFoundError, or ValueError for a file that is cut off, damaged, or of another format or version.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {shown(path)}; train a model first: "
                                f"{command('train.py', 'quick')}")
    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            header = json.loads(file["header"].tobytes().decode())
            arrays = {name: file[name] for name in file.files if name != "header" and name.startswith(only)}
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError, AttributeError, MemoryError, OSError) as error:
        raise ValueError(f"{shown(path)} is damaged or no checkpoint of this program; a run folder holds two, best.npz "
                         "and ckpt.npz: try the other one") from error
    found = (header.get("format"), header.get("version")) if isinstance(header, dict) else (None, None)
    if found != (FORMAT, VERSION):
        raise ValueError(f"{shown(path)} has format {found[0]!r} version {found[1]!r}, and this program reads {FORMAT} "
                         f"version {VERSION}")
    missing = [name for name in needs if name not in header]
    if missing:
        raise ValueError(f"{shown(path)} lacks {', '.join(missing)}: it does not hold a whole model")
    return Checkpoint(path, header, arrays)


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
