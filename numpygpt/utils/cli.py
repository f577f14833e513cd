"""What the scripts share: the argument parser, errors in one line, and flags in messages."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from numpygpt import __version__
from numpygpt.utils import arguments
from numpygpt.utils.colour import printable
from numpygpt.utils.hints import hint
from numpygpt.utils.paths import command, display_path, quoted
from numpygpt.utils.text import suggestion

name, number = arguments.name, arguments.number
TOO_LARGE = ("Maximum allowed dimension exceeded", "array is too big")  # NumPy's ValueErrors
MISTAKES = (ValueError, RuntimeError, OSError, MemoryError)  # of the user; any other error is our bug
MAX_WORD = 300  # characters without a space in a message


class HelpFormatter(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Keeps descriptions as they are written, and adds the default to the help of each flag that has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        none = action.default in (None, "") or action.default is False
        return action.help if none else super()._get_help_string(action)


class ArgumentParser(argparse.ArgumentParser):
    """argparse without abbreviated flags, with defaults in `--help`, and with a suggestion for an unknown flag.

    Numbers and paths (`type=int`, `float`, `Path`) are checked by `arguments`.
    """

    def __init__(self, **kwargs):
        super().__init__(allow_abbrev=False, formatter_class=HelpFormatter, **kwargs)
        for kind, read in ((None, arguments.text), (str, arguments.text), (int, arguments.integer),
                           (float, arguments.number), (Path, arguments.path)):
            self.register("type", kind, read)
        self.add_argument("--version", action="version", version=f"NumpyGPT {__version__}",
                          help="show the version and exit")

    def error(self, message: str) -> NoReturn:
        if unknown := re.search("unrecognized arguments: (.*)", message, re.DOTALL):
            words = unknown.group(1).split()
            flags = [word.split("=")[0] for word in words if re.match("-+[A-Za-z]", word)] or words[:1]
            hints = [f"{flag}{self._hint(flag)}" for flag in dict.fromkeys(flags)]
            message = f"unknown argument{'s' * (len(hints) > 1)} {' '.join(hints)} (see --help)"
        elif given := re.search("argument (--[^ /]+)/--no-.*: ignored explicit argument", message):
            name = given.group(1)
            message = f"{name} takes no value: write {name} or --no-{name.removeprefix('--')}"
        end(2, f"{self.prog.split(' ')[0]}: error: {one_line(message)}\n")  # without plot.py's command

    def _hint(self, flag: str) -> str:
        script, *words = self.prog.split() or [""]
        names = [name for name in self._option_string_actions if name not in ("-h", "--help", "--version")]
        return hint(flag, self, command(script, *words)) or suggestion(flag, names)


def run(main: Callable[[], int | None]) -> NoReturn:
    """Run a script's `main` and exit: with status 2 and one line for a user's mistake, with 130 for Ctrl-C.

    `ValueError`, `RuntimeError`, `OSError` and `MemoryError` are a user's mistakes; any other error is our bug and
    keeps its traceback. `NUMPYGPT_TRACEBACK=1` shows the traceback in every case.
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
            sys.stdout.flush()  # here, where a reader that left or a full disk can still be reported
        sys.exit(status)
    except SystemExit:
        raise
    except BaseException as error:
        words = words_of(error)
        if words is None:
            raise
        if isinstance(error, KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C
        end(status_of(error), words)
    finally:
        if heeded:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while Python exits prints no traceback


def ready_streams() -> None:
    """Write UTF-8 in every locale, and to /dev/null if a stream is closed, as by `>&-`."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8", closefd=False))
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def check_here() -> None:
    """Raise FileNotFoundError if the current folder was deleted, because no path can be printed then."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise FileNotFoundError("the current folder no longer exists: change to another one") from None


def status_of(error: BaseException) -> int:
    """The exit status of a script that this error ends."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, BrokenPipeError):  # `./sample.py | head`: the reader left, which is not an error
        return 0
    return 2 if isinstance(error, MISTAKES) else 130 if isinstance(error, KeyboardInterrupt) else 1


def words_of(error: BaseException) -> str | None:
    """What a script writes to stderr when this error ends it. None if the traceback is to be shown."""
    if isinstance(error, SystemExit | BrokenPipeError):
        return ""
    if isinstance(error, KeyboardInterrupt):
        return "" if error.args else "\nstopped\n"  # with a reason, it has been reported
    known = isinstance(error, MISTAKES) and not os.environ.get("NUMPYGPT_TRACEBACK")
    return refusal(describe(error)) if known else None


def refusal(message: str) -> str:
    """A user's mistake in one line."""
    return f"{Path(sys.argv[0]).name}: error: {one_line(message)}\n"


def end(status: int, words: str = "") -> NoReturn:
    """Write `words` to stderr and exit."""
    write(sys.stdout, "")
    write(sys.stderr, words)
    sys.exit(status)


def write(stream: Any, text: str) -> None:
    """Write `text` and all that the stream has buffered."""
    try:
        stream.write(text)
        stream.flush()
    except OSError:  # the reader left, or the disk is full: do not try the buffer again
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def one_line(message: str) -> str:
    """Return `message` on one short line, without characters that control the terminal."""
    return re.sub(rf"\S{{{MAX_WORD},}}", lambda long: f"{long[0][:40]}...{long[0][-40:]}", printable(message))


@contextmanager
def clean_stop() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into an exception, as Ctrl-C is, so that half-written files are removed."""

    def stop(number: int, frame: object) -> NoReturn:
        sys.exit(128 + number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]  # nohup's choice stays
    for number in numbers:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def describe(error: BaseException) -> str:
    """Return the error's message; for an error from the operating system, its reason and the file."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {display_path(error.filename)}" if error.filename else error.strerror
    if isinstance(error, MemoryError) or str(error).startswith(TOO_LARGE):
        return f"this does not fit into memory ({error}): make the model, the batch or the context smaller"
    return with_flags(str(error))


def with_flags(message: str) -> str:
    """Return a message of the library as a script prints it: arguments in backquotes become flags.

    >>> with_flags('`vocab_size` needs `tokenizer="bpe"`; `force=True` replaces the folder')
    '--vocab-size needs --tokenizer bpe; --force replaces the folder'
    """

    def flag(found: re.Match[str]) -> str:
        name, value = found[1].replace("_", "-"), (found[2] or "").strip("\"'")
        return f"--{name} {quoted(value)}" if value not in ("", "True") else f"--{name}"

    return re.sub(r"`([a-z][a-z0-9_]*)(?:=([^`]*))?`", flag, message)


def stdin() -> BinaryIO:
    """Return standard input, as bytes. Raises ValueError if it is closed."""
    if sys.stdin is None:
        raise ValueError("standard input (-) is closed")
    return sys.stdin.buffer
