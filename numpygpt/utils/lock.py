"""One run at a time in a folder, and lock files that show whether their process is alive."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from numpygpt.utils.files import check_plain
from numpygpt.utils.paths import display_path

NAME = ".lock"
LOCKED_BYTE = 1 << 30  # Windows locks bytes, which nobody can read then: so one far beyond the content


@contextmanager
def locked(folder: Path) -> Iterator[str]:
    """Hold `folder` against every other run. It is made if it is missing, and removed if it is then still empty.

    Yields a note if the disk has no locks, else nothing. Raises ValueError if another run holds the folder.
    """
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with held(folder / NAME) as has_locks:
            yield "" if has_locks else f"the disk of {display_path(folder)} has no locks: start only one run in it"
    finally:
        if new:
            with suppress(OSError):
                folder.rmdir()  # only removes an empty folder


@contextmanager
def held(path: Path) -> Iterator[bool]:
    """Hold the lock file `path`, which is made and removed again. Yields whether the disk has locks.

    The system releases the lock when the process ends, however it ends; a file left by a kill does no harm. Raises
    ValueError if another process holds the lock.
    """
    handle, known = _take(path)
    with suppress(OSError):  # a full disk: the lock holds without its number
        os.ftruncate(handle, 0)
        os.write(handle, str(os.getpid()).encode())
    try:
        yield known
    finally:
        if os.name == "posix":
            path.unlink(missing_ok=True)  # while it is held; `_take` checks that its file still has the name
        os.close(handle)
        if os.name == "nt":
            with suppress(OSError):  # Windows removes no open file, and another run may have opened it by now
                path.unlink(missing_ok=True)


def check_unlocked(folder: Path) -> None:
    """Raise ValueError if a run is active in `folder`. Writes nothing."""
    with suppress(FileNotFoundError, NotADirectoryError):
        os.close(_take(folder / NAME, make=False)[0])


def _take(path: Path, make: bool = True) -> tuple[int, bool]:
    """Return the lock file, open and locked, and whether the disk has locks."""
    while True:
        check_plain(path)
        handle = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | (os.O_CREAT if make else 0), 0o644)
        try:
            _lock(handle)
        except (BlockingIOError, PermissionError):
            os.close(handle)
            raise ValueError(_busy(path)) from None
        except OSError:
            return handle, False
        with suppress(FileNotFoundError):  # the run that held it has ended in between and removed it
            if os.name == "nt" or os.path.samestat(os.fstat(handle), path.stat()):
                return handle, True
        os.close(handle)


def _lock(handle: int) -> None:
    """Raise OSError if it is locked: BlockingIOError, on Windows PermissionError."""
    if os.name == "nt":
        import msvcrt

        os.lseek(handle, LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        os.lseek(handle, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _busy(path: Path) -> str:
    number = ""
    with suppress(OSError):
        number = path.read_text(encoding="utf-8", errors="replace").strip()
    process = f" (process {number})" if number.isdecimal() else ""
    return (f"another run is active in {display_path(path.parent)}{process}: wait until it ends, stop it, or use "
            "another folder")
