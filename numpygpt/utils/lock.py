"""One run at a time in a folder, and files that say whether their process still lives."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from numpygpt.utils.files import check_plain
from numpygpt.utils.paths import display_path

NAME = ".lock"
AT = 1 << 30  # Windows locks bytes, and nobody may read those: so one far behind what is written


@contextmanager
def locked(folder: Path) -> Iterator[str]:
    """Hold `folder` against every other run; it is made where it is missing, and removed if it is then still empty.

    Yields a note where the disk knows no locks, else nothing. ValueError where another run holds the folder.
    """
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with held(folder / NAME) as known:
            yield "" if known else (f"the disk of {display_path(folder)} knows no locks: see to it that no second run "
                                    "is started in this folder")
    finally:
        if new:
            with suppress(OSError):
                folder.rmdir()  # does so to an empty folder alone


@contextmanager
def held(path: Path) -> Iterator[bool]:
    """Hold the lock file `path`, which is made and removed again; yields whether the disk knows locks at all.

    The system lets go of the lock when the process ends, however it ends: what a kill leaves is a file that hinders
    nobody. ValueError if another process holds the lock.
    """
    handle, known = _take(path)
    with suppress(OSError):  # a full disk: the lock holds without its number
        os.ftruncate(handle, 0)
        os.write(handle, str(os.getpid()).encode())
    try:
        yield known
    finally:
        if os.name == "posix":
            path.unlink(missing_ok=True)  # while it is held; `_take` looks whether its file still has the name
        os.close(handle)
        if os.name == "nt":
            with suppress(OSError):  # Windows removes no open file, and another run may have opened it by now
                path.unlink(missing_ok=True)


def check_unlocked(folder: Path) -> None:
    """ValueError where a run is going on in `folder`. Writes nothing."""
    with suppress(FileNotFoundError, NotADirectoryError):
        os.close(_take(folder / NAME, make=False)[0])


def _take(path: Path, make: bool = True) -> tuple[int, bool]:
    """The lock file, open and locked; and whether the disk has locks at all."""
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
    """OSError where it is locked already: BlockingIOError, on Windows PermissionError."""
    if os.name == "nt":
        import msvcrt

        os.lseek(handle, AT, os.SEEK_SET)
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
    return (f"another run is going on in {display_path(path.parent)}{process}: wait until it ends, stop it, or give "
            "another folder with --out")
