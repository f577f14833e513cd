"""Files that are written whole or not at all, into plain files alone, and with a sentence where the disk refuses."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from numpygpt.utils.paths import display_path

FULL = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT") if hasattr(errno, name)}
REMEDIES = {**dict.fromkeys(FULL, "make room"), errno.EFBIG: "raise the limit on the size of files"}


class NotSaved(RuntimeError):
    """A file could not be written."""


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A temporary file beside `path`, which takes its place once the disk has it: at no moment is `path` half a file,
    and where the block fails it stays what it was. A link under one of the names is replaced and not followed."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)  # what a kill has left
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_whole(path: Path, text: str) -> None:
    """Write the text; what was there stays until the new file is complete."""
    with replacing(path) as file:
        file.write(text.encode())


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the folder's new names. Windows neither needs nor has this."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def check_plain(path: Path) -> None:
    """ValueError where something stands at `path` that is no plain file: what is written to a link goes elsewhere, and
    a pipe makes whoever opens it wait."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return  # nothing is there; what else is wrong with it, opening it will tell
    if not stat.S_ISREG(mode):
        what = "a link" if stat.S_ISLNK(mode) else "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        name = Path(display_path(path.parent)) / path.name  # `shown` would follow the link
        raise ValueError(f"{name} is {what} and no file: remove it, or take another folder")


@contextmanager
def writing(path: Path, kept: str, how: str = "", size: int = 0) -> Iterator[None]:
    """NotSaved for an OSError in this block: the file, the reason, how many bytes it needs, what is `kept`, and `how`
    to go on once that is mended."""
    try:
        yield
    except OSError as error:
        facts = [f"it needs about {amount(size)}"] if size and error.errno in REMEDIES else []
        if error.errno in FULL:
            facts.append(f"{amount(shutil.disk_usage(path.parent).free)} are free on its disk")
        mend = REMEDIES.get(error.errno or 0, "mend that")
        raise NotSaved(f"{display_path(path)} could not be written: {error.strerror or error}"
                       + (f" ({', and '.join(facts)})" if facts else "") + f". {kept}: {mend}"
                       + (f", and {how}" if how else "")) from error


def amount(size: float) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"
