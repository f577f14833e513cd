"""Atomic writes, only to plain files, and messages for errors of the disk."""

from __future__ import annotations

import errno
import glob
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from numpygpt.utils.paths import display_path

FULL = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT") if hasattr(errno, name)}
REMEDIES = {**dict.fromkeys(FULL, "make room"), errno.EFBIG: "raise the limit on the size of files"}

UNUSED_SECONDS = 24 * 3600  # a temporary file that nobody has written to for so long was left by a kill


class NotSaved(RuntimeError):
    """A file could not be written."""


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Yield a temporary file next to `path`, which replaces it once it is on disk. `path` is never half a file, and it
    stays unchanged if the block fails. A link under one of the names is replaced, not followed."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)  # left by a kill
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
    """Write the text. An existing file stays until the new one is complete."""
    with replacing(path) as file:
        file.write(text.encode())


def remove_unused(folder: Path, name: str, ends: str = ".*") -> None:
    """Remove the temporary files and folders `.name` with such an end that programs left when they were killed."""
    for left in folder.glob(f".{glob.escape(name)}{ends}"):
        with suppress(FileNotFoundError):  # another program removes it, too
            if time.time() - left.stat().st_mtime <= UNUSED_SECONDS:
                continue
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink()


def append(file: FileIO, content: bytes) -> None:
    """Append to an unbuffered file and sync it. A failed write leaves nothing of `content` behind."""
    before, rest = file.seek(0, os.SEEK_END), memoryview(content)
    try:
        while rest:
            rest = rest[file.write(rest):]
        os.fsync(file.fileno())
    except OSError:
        file.truncate(before)
        raise


def sync_folder(folder: Path) -> None:
    """Wait until the folder's new names are on disk. Windows neither needs nor has this."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def check_plain(path: Path) -> None:
    """Raise ValueError if `path` exists and is not a plain file: a link points elsewhere, and opening a pipe waits."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return  # it does not exist, or opening it reports what is wrong
    if not stat.S_ISREG(mode):
        what = "a link" if stat.S_ISLNK(mode) else "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        name = Path(display_path(path.parent)) / path.name  # `shown` would follow the link
        raise ValueError(f"{name} is {what}, not a file: remove it, or use another folder")


@contextmanager
def writing(path: Path, state: str, retry: str = "", size: int = 0) -> Iterator[None]:
    """Turn an OSError in this block into NotSaved: the file, the reason, how many bytes it needs, the `state` that is
    left, and what to do after mending it (`retry`)."""
    try:
        yield
    except OSError as error:
        facts = [f"it needs about {amount(size)}"] if size and error.errno in REMEDIES else []
        if error.errno in FULL:
            facts.append(f"{amount(shutil.disk_usage(path.parent).free)} are free on its disk")
        mend = REMEDIES.get(error.errno or 0, "mend that")
        raise NotSaved(f"{display_path(path)} could not be written: {error.strerror or error}"
                       + (f" ({', and '.join(facts)})" if facts else "") + f". {state}: {mend}"
                       + (f", and {retry}" if retry else "")) from error


def amount(size: float) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"
