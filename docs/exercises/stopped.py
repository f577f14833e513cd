"""Says where an exercise stopped with an error, and what the error means there."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from types import FrameType

import numpy as np

from numpygpt.nn import Module

EXPLAINED = {
    "'NoneType'": "something is None here: did forward set it to None, or is the return of a backward missing?",
    "read-only": "you changed dY, an input or another shared array in place: make a new array",
    "gufunc signature": "in A @ B the last size of A must be the last but one of B"}


def place(error: Exception) -> str:
    """Return the file, line and function of an exercise that raised the error, or that called the code that raised it.

    If a layer's function returned and gradcheck refused its result, return the place of that function.
    """
    frame, line = innermost(error)
    code = frame.f_code
    if code.co_name == "checks" and (named := re.match(r"(\w+)\.(forward|backward)\b", str(error))):
        function = getattr(frame.f_globals.get(named[1]), named[2], None)
        if function is not None and function.__code__.co_filename == code.co_filename:
            code, line = function.__code__, function.__code__.co_firstlineno
    return f"{Path(code.co_filename).name} line {line}, {code.co_qualname}"


def innermost(error: Exception) -> tuple[FrameType, int]:
    """Return the innermost frame that is in an exercise, and its line; without one, the innermost frame of all."""
    raised = [link for link in (error, error.__cause__) if link]  # gradcheck re-raises NumPy's errors
    frames = [frame for link in raised for frame in traceback.walk_tb(link.__traceback__)]
    ours = [frame for frame in frames if Path(frame[0].f_code.co_filename).name[:2].isdigit()]
    return (ours or frames)[-1]


def explained(error: Exception) -> str:
    """Return a line that says what one of NumPy's errors means here, or nothing."""
    return "".join(f"\n  {meaning}" for words, meaning in EXPLAINED.items() if words in str(error))


def shapes(error: Exception) -> str:
    """Return a line with the shapes of the local arrays if NumPy refused some in a layer's function, else nothing."""
    names = innermost(error)[0].f_locals
    layer = names.get("self")
    if not isinstance(error, (ValueError, IndexError)) or error.__cause__ or not isinstance(layer, Module):
        return ""
    gradients = {f"d{name}" for name in layer._params}  # they have the shapes of their parameters
    arrays = names | {f"self.{name}": value for name, value in vars(layer).items() if name not in gradients}
    found = [f"{name} {value.shape}" for name, value in arrays.items() if isinstance(value, np.ndarray)]
    return f"\n  shapes: {', '.join(found)}" if found else ""
