"""NumpyGPT: a GPT in NumPy in which every gradient is written by hand."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - a clone is run by whichever python3 there is
    raise ImportError(f"NumpyGPT needs Python 3.11 or later; this is {sys.version.split()[0]}")
try:
    import numpy  # noqa: F401
    import threadpoolctl  # noqa: F401
    import tqdm  # noqa: F401
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        f"{missing.name} is not installed. In the project's folder: python3 -m venv .venv, then "
        ". .venv/bin/activate, then pip install -r requirements.txt", name=missing.name) from None

from numpygpt.models import GPT
from numpygpt.nn.gradcheck import gradcheck

__version__ = "0.1.0"
__all__ = ["GPT", "gradcheck"]
