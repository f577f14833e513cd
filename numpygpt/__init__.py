"""NumpyGPT: a GPT in NumPy in which every gradient is written by hand."""

import signal
import sys
from importlib.util import find_spec
from pathlib import Path

SCRIPTS = ("datagen.py", "train.py", "sample.py", "plot.py", "test.py")
script = Path(sys.argv[0]).name if sys.argv and Path(sys.argv[0]).name in SCRIPTS else ""
# The library needs the first three; whoever runs a script wants to hear of all that is missing at once.
needed = ("numpy", "threadpoolctl", "tqdm", *(("matplotlib", "pytest") if script else ()))
missing = [package for package in needed if find_spec(package) is None]
trouble = ""
if sys.version_info < (3, 11):  # noqa: UP036 - a clone is run by whichever python3 there is
    trouble = f"NumpyGPT needs Python 3.11 or later; this is {sys.version.split()[0]}"
elif missing:
    trouble = (f"not installed: {', '.join(missing)}. In the project's folder: python3 -m venv .venv && "
               ". .venv/bin/activate && pip install -r requirements.txt (the second of these in each new terminal)")
if trouble and script:
    sys.stderr.write(f"{script}: error: {trouble}\n")
    sys.exit(2)
if trouble:
    raise ImportError(trouble)
if (script and Path(sys.argv[0]).resolve().parent == Path(__file__).resolve().parents[1]
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler):
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C in one of our scripts' imports ends it without a traceback

from numpygpt.inspection import summary, trace  # noqa: E402
from numpygpt.models import GPT  # noqa: E402
from numpygpt.nn.gradcheck import gradcheck  # noqa: E402

__version__ = "0.1.0"
__all__ = ["GPT", "gradcheck", "summary", "trace"]
