"""What each script does first. A script may be started by any python3, before anything is installed, so this file uses
only the standard library and can be read by Python 3.8."""

import os
import sys

backend = ""  # MPLBACKEND as it was at the start, for a script that opens a window


def begin(*packages):
    """Let Ctrl-C end the script without a traceback during its imports. Then check the version of Python, the packages
    of the library and the `packages` of this script. If one is missing, print one line and exit with status 2.
    """
    import _signal as signal  # built in: importing `signal` takes time, and Ctrl-C may come during it

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not in a background job, which ignores it
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # until `cli.run`
    # Jupyter and Colab set this variable for their child processes. If that backend is not installed, matplotlib does
    # not start, although writing a file needs no backend.
    global backend
    backend = os.environ.pop("MPLBACKEND", "")
    trouble = fault(("numpy", "threadpoolctl", "tqdm", *packages))
    if trouble:
        script = sys.argv[0].replace("\\", "/").split("/")[-1]
        sys.stderr.write(f"{script}: error: {trouble}\n")
        sys.exit(2)


def fault(packages):
    """The reason, in one line, why a script cannot import what it needs; empty if it can."""
    from importlib.util import find_spec

    if sys.version_info < (3, 11):  # noqa: UP036
        return f"NumpyGPT needs Python 3.11 or later; this is {sys.version.split()[0]}"
    missing = ", ".join(package for package in packages if find_spec(package) is None)
    return missing and (
        f"not installed: {missing}. In the project's folder: python3 -m venv .venv && . .venv/bin/activate && "
        "pip install -r requirements.txt (the second of these in each new terminal)"
    )
