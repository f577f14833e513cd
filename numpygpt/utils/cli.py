"""What the scripts share: errors in one line, flags that suggest the nearest name, commands and paths as printed."""

from __future__ import annotations

import argparse
import difflib
import math
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NoReturn

from numpygpt.utils.colour import printable

ROOT = Path(__file__).resolve().parents[2]  # the folder of the five scripts
TOO_LARGE = ("Maximum allowed dimension exceeded", "array is too big")  # NumPy's words for it in a ValueError
LONGEST = 300  # characters without a space that a message shows


class HelpFormatter(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Descriptions as they are written, and a default behind each flag that has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        none = action.default in (None, "") or action.default is False
        return action.help if none else super()._get_help_string(action)


class ArgumentParser(argparse.ArgumentParser):
    """argparse with whole flags only, defaults shown in `--help`, and the nearest name to an unknown flag.

    Numbers and paths (`type=int`, `float`, `Path`) are checked as they were typed.
    """

    def __init__(self, **kwargs):
        super().__init__(allow_abbrev=False, formatter_class=HelpFormatter, **kwargs)
        for kind, read in ((int, whole), (float, number), (Path, path)):
            self.register("type", kind, read)

    def error(self, message: str) -> NoReturn:
        unknown = re.search(r"unrecognized arguments: (\S+)", message)
        if unknown:
            flag = unknown.group(1).split("=")[0]
            message = f"unknown argument {flag}{nearest(flag, self._option_string_actions)} (see --help)"
        end(2, f"{self.prog}: error: {one_line(message)}\n")


def whole(text: str) -> int:
    """A flag's whole number. ArgumentTypeError for another, and for one that no array's size and no file could hold."""
    try:
        value = int(text)
    except ValueError:
        if not text.strip(" +-").isdecimal():  # thousands of digits are too many for `int`
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        value = 2**63
    if not -(2**63) <= value < 2**63:
        raise argparse.ArgumentTypeError(f"{text} is larger than a number of 64 bits can be")
    return value


def number(text: str) -> float:
    """A flag's number, which is finite, and 0 only where that was typed."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a finite number")
    if value == 0 and re.search("[1-9]", text.lower().split("e")[0]):
        raise argparse.ArgumentTypeError(f"{text} is nearer to 0 than a number can be: give 0, or a larger one")
    return value


def name(text: str) -> str:
    """A flag's file or folder. Python takes an empty name for the current folder, which nobody meant."""
    if not text:
        raise argparse.ArgumentTypeError("the name is empty, as where a shell's variable is not set")
    return text


def path(text: str) -> Path:
    return Path(name(text))


def nearest(name: str, names) -> str:
    """`; did you mean X?` for the closest of `names`, or nothing when none is close."""
    close = difflib.get_close_matches(name, [other for other in names if other != name], n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def meant(run: str | Path) -> str:
    """`; did you mean runs/try?` where `try` is no file but a run has that name, else nothing."""
    there = ROOT / "runs" / run
    return f"; did you mean {shown(there)}?" if not Path(run).is_absolute() and there.is_dir() else ""


def run(main: Callable[[], int | None]) -> NoReturn:
    """Run a script's `main` and exit: status 2 and one line for what a user got wrong, 130 for Ctrl-C.

    `ValueError`, `RuntimeError`, `OSError` and `MemoryError` are the user's errors; everything else is a bug of ours
    and keeps its traceback. `NUMPYGPT_TRACEBACK=1` shows the traceback in every case.
    """
    ready_streams()
    heeded = signal.getsignal(signal.SIGINT) == signal.SIG_DFL  # as `startup.begin` sets it during the imports
    try:
        try:
            if heeded:
                signal.signal(signal.SIGINT, signal.default_int_handler)
            check_here()
            status = main()
        finally:
            sys.stdout.flush()  # here, where a reader that left or a full disk can be said, and not at Python's end
        sys.exit(status)
    except BrokenPipeError:  # `./sample.py | head`: the reader left, which is no error
        end(0)
    except (ValueError, RuntimeError, OSError, MemoryError) as error:
        if os.environ.get("NUMPYGPT_TRACEBACK"):
            raise
        refuse(error)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C
        end(130, "\nstopped\n")
    finally:
        if heeded:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while Python ends prints no traceback either


def ready_streams() -> None:
    """UTF-8 whatever the locale says, and somewhere to write to where a stream is closed, as by `>&-`."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8", closefd=False))
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")


def check_here() -> None:
    """FileNotFoundError where the current folder was deleted: no path can be told then."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise FileNotFoundError("the current folder no longer exists: change to another one") from None


def refuse(error: Exception) -> NoReturn:
    """What a user got wrong, in one line."""
    end(2, f"{Path(sys.argv[0]).name}: error: {one_line(describe(error))}\n")


def end(status: int, words: str = "") -> NoReturn:
    """The last words, to stderr, and the script's end."""
    for stream, text in ((sys.stdout, ""), (sys.stderr, words)):
        try:
            stream.write(text)
            stream.flush()
        except OSError:  # the reader left, or the disk is full: what is left in the buffer is not tried again
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(status)


def one_line(message: str) -> str:
    """`message` so that what a name in it holds neither breaks the line nor rules the terminal nor fills it."""
    return re.sub(rf"\S{{{LONGEST},}}", lambda long: f"{long[0][:40]}...{long[0][-40:]}", printable(message))


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
    if isinstance(error, MemoryError) or str(error).startswith(TOO_LARGE):
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
