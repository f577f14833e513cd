"""What the scripts share: errors in one line, flags that suggest the nearest name, commands and paths as printed."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NoReturn

ROOT = Path(__file__).resolve().parents[2]  # the folder of the five scripts


class HelpFormatter(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Descriptions as they are written, and a default behind each flag that has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        none = action.default in (None, "") or action.default is False
        return action.help if none else super()._get_help_string(action)


class ArgumentParser(argparse.ArgumentParser):
    """argparse with whole flags only, defaults shown in `--help`, and the nearest name to an unknown flag."""

    def __init__(self, **kwargs):
        super().__init__(allow_abbrev=False, formatter_class=HelpFormatter, **kwargs)

    def error(self, message: str) -> NoReturn:
        unknown = re.search(r"unrecognized arguments: (\S+)", message)
        if unknown:
            flag = unknown.group(1).split("=")[0]
            message = f"unknown argument {flag}{nearest(flag, self._option_string_actions)} (see --help)"
        self.exit(2, f"{self.prog}: error: {message}\n")


def nearest(name: str, names) -> str:
    """`; did you mean X?` for the closest of `names`, or nothing when none is close."""
    close = difflib.get_close_matches(name, [other for other in names if other != name], n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def run(main: Callable[[], int | None]) -> NoReturn:
    """Run a script's `main` and exit: status 2 and one line for what a user got wrong, 130 for Ctrl-C.

    `ValueError`, `RuntimeError`, `OSError` and `MemoryError` are the user's errors; everything else is a bug of ours
    and keeps its traceback. `NUMPYGPT_TRACEBACK=1` shows the traceback in every case.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    try:
        sys.exit(main())
    except BrokenPipeError:  # `./sample.py | head`: the reader left, which is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (ValueError, RuntimeError, OSError, MemoryError) as error:
        if os.environ.get("NUMPYGPT_TRACEBACK"):
            raise
        sys.stderr.write(f"{Path(sys.argv[0]).name}: error: {describe(error)}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped\n")
        sys.exit(130)


@contextmanager
def clean_stop() -> Iterator[None]:
    """What ends a program from outside comes as an exception, as Ctrl-C does: what is half written is removed."""

    def stop(number: int, frame: object) -> NoReturn:
        sys.exit(128 + number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]  # nohup's wish is respected
    for number in numbers:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def describe(error: Exception) -> str:
    """The error's message; for one from the operating system, the reason and the file instead of its number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {shown(error.filename)}" if error.filename else error.strerror
    if isinstance(error, MemoryError):
        return f"this does not fit into memory ({error}): make the model, the batch or the context smaller"
    return str(error)


def stdin() -> BinaryIO:
    """Standard input, as bytes. ValueError where it is closed."""
    if sys.stdin is None:
        raise ValueError("there is no standard input to read - from: it is closed")
    return sys.stdin.buffer


def shown(path: str | Path) -> str:
    """`path` as a user would type it: relative to the current folder where it lies below it, else absolute."""
    path = Path(path).resolve()
    here = Path.cwd().resolve()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def command(script: str, *args: object) -> str:
    """The command line that runs `script` from the current folder: `./train.py --resume` or `python train.py ...`."""
    path = shown(ROOT / script)
    if os.name == "nt":
        words = ["python", path]
    else:
        words = [path if os.sep in path else f"./{path}"]
    return shlex.join([*words, *map(str, args)])
