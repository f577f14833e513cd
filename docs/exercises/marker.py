"""Marks the exercises: `main` runs a file's checks, or prints a hint.

A check is a title and a verdict: that of `gradcheck`, True, or a sentence that says what is wrong.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import re
import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository: the exercises run without installing it
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
from intermediates import recorded, told
from stopped import explained, place, shapes
from verdict import Verdict, compared, raw

from numpygpt.nn import Module

__all__ = ["Module", "close", "equal", "gradcheck", "main", "mark", "single", "step"]

SOLUTIONS = Path(__file__).resolve().parent / "solutions"
Checks = Callable[[], Iterator[tuple[str, Verdict | bool | str]]]


def main(checks: Checks) -> NoReturn:
    """The command of an exercise: `--hint 1`, `2` or `3` prints a hint for the first blank, otherwise mark the file."""
    parser = argparse.ArgumentParser(description="Mark this exercise.")
    parser.add_argument("--hint", type=int, choices=(1, 2, 3), help="print a hint instead; 3 says the most")
    if grade := parser.parse_args().hint:
        hints = notes("hints", checks)
        if not hints:
            parser.exit(1, f"{SOLUTIONS} has no hints for this file\n")
        left = next((function for function in hints if blank(checks, function)), None)  # all if none is left
        for function in [left] if left else hints:
            print(f"{function}: {textwrap.fill(hints[function][grade - 1], 110, subsequent_indent='  ')}")
        raise SystemExit(0)
    raise SystemExit(mark(checks))


def mark(checks: Checks) -> int:
    """Run the checks until one fails. Return 0 if all are correct, 1 if one is not or a blank is left."""
    try:
        for number, (title, verdict) in enumerate(checks()):
            if not correct(verdict):
                print(f"{title}: incorrect\n{textwrap.indent(earlier(checks) or why(checks, number, verdict), '  ')}")
                return 1
            print(f"{title}: correct")
    except NotImplementedError as blank:
        print(f"still blank, {place(blank)}:\n  {blank}\n  (more with --hint 1, 2 or 3)")
        return 1
    except Exception as error:  # any error of a first attempt
        print(f"stopped, {place(error)}:\n  {type(error).__name__}: {error}{explained(error)}{shapes(error)}")
        if lines := [*filter(None, [earlier(checks)]), *getattr(error, "arrays", [])]:
            print(textwrap.indent("\n".join(lines), "  "))
        return 1
    print("All correct.")
    return 0


def correct(verdict: Verdict | bool | str) -> bool:
    return bool(verdict) and not isinstance(verdict, str)


def why(checks: Checks, number: int, verdict: Verdict | bool | str) -> str:
    """The cause of an incorrect check if it is a known mistake, and what was found."""
    cause = known_mistake(checks, number, verdict)
    found = verdict.describe(not cause) if isinstance(verdict, Verdict) else verdict or "it should be"
    return (textwrap.fill(f"the cause: {cause}", 110, subsequent_indent="  ") + "\n" if cause else "") + str(found)


def gradcheck(module: Module, *inputs: Any) -> Verdict | str:
    """Compare every gradient with finite differences and, if one is wrong, the arrays that lead to it."""
    try:
        return compared(module, *inputs)
    except NotImplementedError:
        raise
    except Exception as error:
        error.arrays = told(*recorded(module, inputs))  # type: ignore[attr-defined]
        raise


# -- earlier steps -----------------------------------------------------------------------------------------------------


def earlier(checks: Checks) -> str:
    """Name the first of the files whose layers this one uses in which a check fails; or nothing."""
    for name, others in sorted(used(checks).items()):
        try:
            fine = all(correct(verdict) for _, verdict in others())
        except NotImplementedError:  # a blank that this file does not need
            fine = True
        except Exception:  # any error of a first attempt
            fine = False
        if not fine:
            return f"{name}, whose layers this file uses, is incorrect: run that file first"
    return ""


def used(checks: Checks) -> dict[str, Checks]:
    """The checks of the files whose layers this file uses, directly or through others, by file name."""
    layers = [value for value in checks.__globals__.values() if isinstance(value, type) and issubclass(value, Module)]
    found = {layer.backward.__globals__.get("checks", checks) for layer in layers} - {checks}
    return {Path(other.__code__.co_filename).name: other for other in found} | {
        name: other for direct in found for name, other in used(direct).items()}


# -- known mistakes and hints ------------------------------------------------------------------------------------------


def notes(name: str, checks: Checks) -> dict[str, Any]:
    """What solutions/NAME.toml holds for the file of these checks: {"Class.function": ...}."""
    return table(SOLUTIONS / f"{name}.toml").get(Path(checks.__code__.co_filename).stem, {})


@functools.cache
def table(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}  # a teacher may have deleted it


def blank(checks: Checks, function: str) -> bool:
    """Whether "Class.function" of the file of these checks is still a blank."""
    kind, name = function.split(".")
    return "NotImplementedError" in getattr(checks.__globals__.get(kind), name).__code__.co_names


def known_mistake(checks: Checks, number: int, verdict: Verdict | bool | str) -> str:
    """The cause of the first known mistake that, made in the solution, gives exactly these numbers; or nothing."""
    for function, mistakes in notes("mistakes", checks).items():
        for mistake in mistakes:
            try:
                other = made(Path(checks.__code__.co_filename).name, function, mistake, number)
            except Exception:  # NumPy refuses it
                continue
            same = verdict.same(other) if isinstance(verdict, Verdict) else other == verdict
            if same:
                return f"{function}: {mistake['cause']}"
    return ""


def made(name: str, function: str, mistake: dict[str, str], number: int) -> Any:
    """The verdict of check `number` on a solution with a mistake in it; of `gradcheck` only the gradients."""
    path = SOLUTIONS / name
    module = ModuleType(f"mistaken_{path.stem}")
    module.__file__ = str(path)
    exec(compile(mistaken(path.read_text(encoding="utf-8"), function, mistake), str(path), "exec"), vars(module))
    vars(module)["gradcheck"] = raw
    return next(verdict for i, (_, verdict) in enumerate(module.checks()) if i == number)


def mistaken(source: str, function: str, mistake: dict[str, str]) -> str:
    """The source of a solution in which `new` replaces `old` in one function."""
    kind, name = function.split(".")
    start = source.index(f"    def {name}(", source.index(f"class {kind}"))
    end = re.search(r"\n\n|\Z", source[start:])
    assert end
    body = source[start : start + end.start()]
    if mistake["old"] not in body:
        raise ValueError(f"{function} does not contain {mistake['old']!r}")
    return source[:start] + body.replace(mistake["old"], mistake["new"]) + source[start + end.start() :]


# -- what the exercises use --------------------------------------------------------------------------------------------


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
        return f"{name} has shape {np.shape(got)}, expected {np.shape(expected)}"
    if np.allclose(got, expected, rtol=tolerance, atol=tolerance):
        return True
    return f"{name} is\n{np.round(got, 6)}\nexpected\n{np.round(expected, 6)}"


def equal(name: str, got: Any, expected: Any) -> bool | str:
    """Compare lists or dicts: return True, or a sentence that says what is wrong."""
    if not isinstance(got, type(expected)):
        return f"{name} should be a {type(expected).__name__} and is a {type(got).__name__}: {got}"
    return got == expected or f"{name}: got {got}, expected {expected}"


def single(got: np.ndarray) -> bool | str:
    """Is this result of float32 arrays in float32? Return True, or a sentence that says what is wrong."""
    return got.dtype == np.float32 or (
        f"float32 went in and {got.dtype} came out: an array or NumPy number in float64 (np.ones(n), np.sqrt(2)) turns "
        "the result into float64; Python's own numbers do not")
