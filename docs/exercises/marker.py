"""Marks the exercises: `mark` runs a file's checks, prints one line for each, and returns the exit status.

A check is a title and a verdict: a gradcheck report, True, or a sentence that says what is wrong.
"""

from __future__ import annotations

import importlib.util
import re
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, ModuleType

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository: the exercises run without installing it

import numpy as np

from numpygpt import gradcheck
from numpygpt.nn import Module
from numpygpt.verify.check import Report

__all__ = ["Module", "close", "gradcheck", "mark", "step"]

Checks = Callable[[], Iterator[tuple[str, Report | bool | str]]]


def mark(checks: Checks) -> int:
    """Run the checks until one fails. Return 0 if all are right, 1 if one is wrong or a blank is left."""
    try:
        for title, verdict in checks():
            if verdict is not True and (isinstance(verdict, str) or not verdict):
                print(f"{title}: WRONG\n{textwrap.indent(describe(verdict), '  ')}")
                return 1
            print(f"{title}: right")
    except NotImplementedError as blank:
        print(f"still blank, {place(blank)}:\n  {blank}")
        return 1
    except Exception as error:  # any error of a first attempt
        print(f"stopped, {place(error)}:\n  {type(error).__name__}: {error}{shapes(error)}")
        return 1
    print("All right.")
    return 0


def describe(verdict: Report | bool | str) -> str:
    """Return what is wrong; for a report, each failed tensor with its worst entry and, if known, the cause."""
    if not isinstance(verdict, Report):
        return str(verdict)
    lines = []
    for check in verdict.failures:
        lines.append(f"{check.name} at {list(check.index)}: expected {check.expected:.6f}, got {check.got:.6f}")
        lines.append(textwrap.indent(textwrap.fill(check.cause, 100), "  "))
    return "\n".join(lines)


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


def step(beside: str, number: int) -> ModuleType:
    """Load the exercise with this number from the folder of the file `beside`, so that later steps use your code."""
    (path,) = Path(beside).resolve().parent.glob(f"{number:02}_*.py")
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def close(name: str, got: np.ndarray | float, expected: np.ndarray | float, tolerance: float = 1e-6) -> bool | str:
    """Compare with known numbers: return True, or a sentence that says what is wrong."""
    if np.shape(got) != np.shape(expected):
        return f"{name} has shape {np.shape(got)} and should have {np.shape(expected)}"
    if np.allclose(got, expected, rtol=tolerance, atol=tolerance):
        return True
    return f"{name} is\n{np.round(got, 6)}\nand should be\n{np.round(expected, 6)}"
