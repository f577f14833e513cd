"""What a gradient check found in an exercise, with the arrays behind it, and how it is reported."""

from __future__ import annotations

import copy
import textwrap
from dataclasses import dataclass
from typing import Any

import numpy as np
from intermediates import factor_of, recorded, told

from numpygpt.nn import Module
from numpygpt.verify.check import Check, Comparison, Report

TOLERANCE = 1e-6
DETAILS = 3  # up to so many wrong tensors are all shown
PARTS = {"qkv.W": ("queries", "keys", "values")}  # what equal parts of the columns of a parameter make


@dataclass(frozen=True)
class Verdict:
    """True if every gradient is correct."""

    report: Report
    got: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]
    arrays: list[str]  # lines about the local arrays of backward

    def __bool__(self) -> bool:
        return self.report.ok

    def same(self, got: Any) -> bool:
        """Whether other gradients are the same numbers."""
        return isinstance(got, dict) and got.keys() == self.got.keys() and all(
            np.allclose(got[name], self.got[name], rtol=1e-7, atol=1e-9) for name in got)

    def describe(self, causes: bool) -> str:
        """The arrays of backward, then the gradients in the order in which backward makes them: parameters from the
        last layer to the first, then inputs."""
        order = sorted(reversed(self.report.checks), key=lambda check: check.kind == "input")
        wrong = [check for check in order if check in self.report.failures]
        shown = wrong if len(wrong) <= DETAILS else wrong[:1]
        lines = [*self.arrays, *(self.line(check, causes) for check in shown)]
        if len(wrong) > len(shown):
            lines.append(f"and {len(wrong) - len(shown)} more, from {self.label(wrong[1])} to {self.label(wrong[-1])}")
        correct = [self.label(check) for check in order if check not in wrong]
        if correct:
            more = f" and {len(correct) - 8} more" if len(correct) > 8 else ""
            lines.append(textwrap.fill(f"correct gradients: {', '.join(correct[:8])}{more}", 110))
        return "\n".join(lines)

    def label(self, check: Check) -> str:
        """A tensor's name; a single input is X."""
        single = sum(other.kind == "input" for other in self.report.checks) == 1
        return "X" if check.kind == "input" and single else check.name

    def line(self, check: Check, causes: bool) -> str:
        got, expected = self.got[check.name], self.expected[check.name]
        numbers = f"expected {check.expected:.6f}, got {check.got:.6f}"
        lines = [f"gradient of {self.label(check)} at {list(check.index)}: {numbers}"]
        parts = next((parts for name, parts in PARTS.items() if check.name.endswith(name)), None)
        if parts:
            lines += ["  " + line for line in part_lines(check.name, parts, got, expected)]
        elif check.cause:
            cause = check.cause if causes else check.cause.split(";")[0]
            lines.append(textwrap.indent(textwrap.fill(cause, 100), "  "))
        elif check.dtype != "float64":
            lines.append(f"  it is {check.dtype} and should be float64, like X")
        return "\n".join(lines)


def part_lines(name: str, parts: tuple[str, ...], got: np.ndarray, expected: np.ndarray) -> list[str]:
    """A line for each part of the columns of a parameter: which make the queries, and are they correct?"""
    width, lines = got.shape[-1] // len(parts), []
    for i, part in enumerate(parts):
        columns = slice(i * width, (i + 1) * width)
        g, e = got[:, columns], expected[:, columns]
        what = f"columns {columns.start} to {columns.stop - 1} of {name}, the {part}: "
        if np.allclose(g, e, rtol=TOLERANCE, atol=TOLERANCE * np.abs(expected).max()):
            lines.append(what + "correct")
        else:
            factor = factor_of(g, e, (got.shape[0], width))
            lines.append(what + "incorrect" + (f", all are {factor} times the expected values" if factor else ""))
    return lines


def compared(module: Module, *inputs: Any) -> Verdict | str:
    """Check a module; if a gradient is wrong, also compare the arrays that its backward makes with the solution's."""
    comparison = Comparison(module, *inputs)
    report = comparison.report(TOLERANCE)
    if report:
        return changed(comparison) or Verdict(report, {}, {}, [])
    return Verdict(report, comparison.got(), comparison.expected, told(*recorded(module, inputs)))


def changed(comparison: Comparison) -> str:
    """A sentence that names the arrays of forward that backward changes; or nothing."""
    twin = copy.deepcopy(comparison.fresh)
    twin(*comparison.arrays)
    before = arrays(twin)
    twin.backward(comparison.G)
    after = arrays(twin)
    names = [name for name, x in before.items() if not np.array_equal(x, after.get(name, ()), equal_nan=True)]
    return (f"all gradients are correct, but backward changes {', '.join(names)}: a second call would give other "
            "numbers.\nMake a new array, for instance with .copy()") if names else ""


def arrays(module: Module) -> dict[str, np.ndarray]:
    """Copies of the arrays of a module and of the layers in it, without the gradients of parameters."""
    return {f"self.{path}{'.' if path else ''}{name}": x.copy() for path, layer in module.named_modules()
            for name, x in vars(layer).items()
            if isinstance(x, np.ndarray) and name not in {f"d{param}" for param in layer._params}}


def raw(module: Module, *inputs: Any) -> dict[str, np.ndarray]:
    """The gradients that a module gives, unchecked."""
    return Comparison(module, *inputs).got()
