"""What each script does first. A clone is run by whichever python3 there is, and maybe before anything is installed:
so this file uses the standard library alone, and Python 3.8 can read it."""

import os
import sys

backend = ""  # matplotlib's, for a script that opens a window


def begin(*packages):
    """Let Ctrl-C end the script without a traceback during its imports. Then check Python's version, the library's
    packages and the `packages` of this script. If something is missing, say so in one line and exit with status 2.
    """
    import _signal as signal  # built in: `signal` itself imports others, and Ctrl-C may come meanwhile

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a background job has it ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # until `cli.run`
    # Jupyter and Colab set this variable for their child processes, and without that backend matplotlib does not start.
    # Writing a file needs none.
    global backend
    backend = os.environ.pop("MPLBACKEND", "")
    trouble = fault(("numpy", "threadpoolctl", "tqdm", *packages))
    if trouble:
        script = sys.argv[0].replace("\\", "/").split("/")[-1]
        sys.stderr.write(f"{script}: error: {trouble}\n")
        sys.exit(2)


def fault(packages):
    """What keeps a script from its imports, in one line. An empty string if nothing does."""
    from importlib.util import find_spec

    if sys.version_info < (3, 11):  # noqa: UP036
        return f"NumpyGPT needs Python 3.11 or later; this is {sys.version.split()[0]}"
    missing = ", ".join(package for package in packages if find_spec(package) is None)
    return missing and (
        f"not installed: {missing}. In the project's folder: python3 -m venv .venv && . .venv/bin/activate && "
        "pip install -r requirements.txt (the second of these in each new terminal)"
    )
