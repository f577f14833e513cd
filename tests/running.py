"""The scripts as a user calls them: in this process, where nothing has to be imported anew, or in one of their own.

Both return the same `CompletedProcess`. A process of its own is for what only that has: signals, pipes, packages and
variables that are looked at once, and for one whole run of each script.
"""

import contextlib
import io
import os
import runpy
import signal
import subprocess
import sys
import warnings
from unittest.mock import patch

import matplotlib
import numpy as np

from numpygpt.utils.paths import ROOT

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
# A terminal's wishes are left out, and variables whose value is None: no script has them.
NOTHING = dict.fromkeys(("FORCE_COLOR", "NO_COLOR", "NUMPYGPT_TRACEBACK", "MPLBACKEND", "DISPLAY", "WAYLAND_DISPLAY"))


def process(name, *arguments, text="", cwd=None, root=ROOT, stdout=subprocess.PIPE, **variables):
    """`./NAME ARGUMENTS` with `text` on its standard input, in a process of its own; warnings are errors."""
    words = [sys.executable, "-W", "error", root / name, *map(str, arguments)]
    return subprocess.run(words, input=text, cwd=cwd, env=environment(variables), stdout=stdout,
                          stderr=subprocess.PIPE, encoding="utf-8")


def script(name, *arguments, text="", cwd=None, **variables):
    """The same in this process, which is then as it was before. An error that is not the user's is raised."""
    words = [str(ROOT / name), *map(str, arguments)]
    streams = [io.TextIOWrapper(io.BytesIO(text), encoding="utf-8", newline="") for text in (text.encode(), b"", b"")]
    with contextlib.ExitStack() as stack:
        stack.enter_context(as_before())
        stack.enter_context(patch.dict(os.environ, environment(variables), clear=True))
        for stream, value in zip(("stdin", "stdout", "stderr"), streams, strict=True):
            stack.enter_context(patch.object(sys, stream, value))
        stack.enter_context(patch.object(sys, "argv", words))
        os.chdir(cwd or os.curdir)
        warnings.simplefilter("error")
        try:
            runpy.run_path(words[0], run_name="__main__")
            status = 0
        except SystemExit as stop:
            status = stop.code or 0
    if status == 130:
        raise KeyboardInterrupt  # of whoever runs the tests
    written = []
    for stream in streams[1:]:
        stream.flush()
        written.append(stream.buffer.getvalue().decode("utf-8"))
    return subprocess.CompletedProcess(words, status, *written)


def environment(variables):
    """The variables that a script is started with. It writes for 80 columns."""
    changed = {**os.environ, "COLUMNS": "80", **NOTHING, **variables}
    return {name: value for name, value in changed.items() if value is not None}


@contextlib.contextmanager
def as_before():
    """A block after which the process is as it was: what would have ended with a process of its own."""
    here, handlers = os.getcwd(), {number: signal.getsignal(number) for number in SIGNALS}
    with warnings.catch_warnings(), matplotlib.rc_context(), np.errstate():
        try:
            yield
        finally:
            os.chdir(here)
            for number, handler in handlers.items():
                signal.signal(number, handler)
