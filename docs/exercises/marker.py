"""What marks the exercises: `mark` runs a file's checks, prints one line for each, and gives the exit status.

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

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository: the exercises run without an install

import numpy as np

from numpygpt import gradcheck
from numpygpt.nn import Module
from numpygpt.verify.check import Report

__all__ = ["Module", "close", "gradcheck", "mark", "step"]

Checks = Callable[[], Iterator[tuple[str, Report | bool | str]]]


def mark(checks: Checks) -> int:
    """Run the checks up to the first that fails. 0 where all are right, 1 where one is wrong or a blank is left."""
    try:
        for title, verdict in checks():
            if verdict is not True and (isinstance(verdict, str) or not verdict):
                print(f"{title}: WRONG\n{textwrap.indent(told(verdict), '  ')}")
                return 1
            print(f"{title}: right")
    except NotImplementedError as blank:
        print(f"still blank, {place(blank)}:\n  {blank}")
        return 1
    except Exception as error:  # whatever a first attempt runs into
        print(f"stopped, {place(error)}:\n  {type(error).__name__}: {error}{shapes(error)}")
        return 1
    print("All right.")
    return 0


def told(verdict: Report | bool | str) -> str:
    """What is wrong: of a report the tensors that failed, each with its worst entry and, where it shows, the cause."""
    if not isinstance(verdict, Report):
        return str(verdict)
    lines = []
    for check in verdict.failures:
        lines.append(f"{check.name} at {list(check.index)}: expected {check.expected:.6f}, got {check.got:.6f}")
        lines.append(textwrap.indent(textwrap.fill(check.cause, 100), "  "))
    return "\n".join(lines)


def place(error: Exception) -> str:
    """The file, line and function of an exercise in which the error was raised, or last called what raised it; where a
    layer's call had ended and what came of it was refused, the function that made it."""
    frame, line = innermost(error)
    code = frame.f_code
    if code.co_name == "checks" and (named := re.match(r"(\w+)\.(forward|backward)\b", str(error))):
        function = getattr(frame.f_globals.get(named[1]), named[2], None)
        if function is not None and function.__code__.co_filename == code.co_filename:
            code, line = function.__code__, function.__code__.co_firstlineno
    return f"{Path(code.co_filename).name} line {line}, {code.co_qualname}"


def innermost(error: Exception) -> tuple[FrameType, int]:
    """The last frame of an exercise on the way to the error, and its line; the last of all where none is there."""
    raised = [one for one in (error, error.__cause__) if one]  # gradcheck says in its own words what NumPy had raised
    frames = [frame for one in raised for frame in traceback.walk_tb(one.__traceback__)]
    ours = [frame for frame in frames if Path(frame[0].f_code.co_filename).name[:2].isdigit()]
    return (ours or frames)[-1]


def shapes(error: Exception) -> str:
    """A line with the shapes of the arrays at hand, where NumPy refused some in a layer's function; else nothing."""
    names = innermost(error)[0].f_locals
    layer = names.get("self")
    if not isinstance(error, (ValueError, IndexError)) or error.__cause__ or not isinstance(layer, Module):
        return ""
    gradients = {f"d{name}" for name in layer._params}  # each of its parameter's shape
    arrays = names | {f"self.{name}": value for name, value in vars(layer).items() if name not in gradients}
    found = [f"{name} {value.shape}" for name, value in arrays.items() if isinstance(value, np.ndarray)]
    return f"\n  shapes: {', '.join(found)}" if found else ""


def step(beside: str, number: int) -> ModuleType:
    """The exercise of this number in the folder of the file `beside`: what you wrote there is used here."""
    (path,) = Path(beside).resolve().parent.glob(f"{number:02}_*.py")
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def close(name: str, got: np.ndarray | float, expected: np.ndarray | float, tolerance: float = 1e-6) -> bool | str:
    """True, or a sentence, for numbers that are known without a gradient check."""
    if np.shape(got) != np.shape(expected):
        return f"{name} has shape {np.shape(got)} and should have {np.shape(expected)}"
    if np.allclose(got, expected, rtol=tolerance, atol=tolerance):
        return True
    return f"{name} is\n{np.round(got, 6)}\nand should be\n{np.round(expected, 6)}"
