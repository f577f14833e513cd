"""What the student notebooks share: finite differences, and a check that says what is wrong with an answer.

What is computed from a `blank` is blank, and a check reports it, so a notebook runs from top to bottom at any time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository: it runs without installing it
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "backprop"))

import numpy as np
import wrong
from book import STORY, swap

from numpygpt import gradcheck
from numpygpt.nn import GELU, Linear, Module, MultiHeadAttention, TransformerBlock
from numpygpt.verify.check import Check, Report
from numpygpt.verify.wrappers import block

__all__ = ["STORY", "blank", "block", "bug_reports", "check", "check_answer", "check_layer", "filled", "slopes",
           "softmax", "swap"]

ANSWERS = {  # of the questions, by notebook and number
    "1.1": "C", "1.2": "A",
    "2.1": "B", "2.2": "C",
    "3.1": "A", "3.2": "B",
    "4.1": "B", "4.2": "DBAC",
}  # fmt: skip


BUGS = {  # of the hunt in session 4, by the letter of the report
    "A": (Linear, wrong.Averaged), "B": (MultiHeadAttention, wrong.KeyTransposed),
    "C": (TransformerBlock, wrong.NoWayAround), "D": (GELU, wrong.HalfSlope),
}  # fmt: skip


class Blank(np.lib.mixins.NDArrayOperatorsMixin):
    """An answer that is missing. Its products, sums, attributes and calls are blank too."""

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Blank:
        if "out" in kwargs:  # `array += blank`
            raise NotImplementedError("still blank")
        return self

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        raise NotImplementedError("still blank")

    def __len__(self) -> int:
        raise NotImplementedError("still blank")

    def __getattr__(self, name: str) -> Blank:
        if name.startswith("__"):  # such as `__array_interface__`: NumPy asks for it
            raise AttributeError(name)
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Blank:
        return self

    def __getitem__(self, place: Any) -> Blank:
        return self

    def __repr__(self) -> str:
        return "blank"


blank = Blank()


def softmax(X: np.ndarray) -> np.ndarray:
    powers = np.exp(X - X.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def slopes(f: Callable[[Any], float], A: np.ndarray | float, h: float = 1e-5) -> np.ndarray:
    """Return df/dA: move each entry a little up and a little down, and see how f moves."""
    A = np.asarray(A, float)
    found = np.zeros_like(A)
    for place in np.ndindex(A.shape):
        up, down = A.copy(), A.copy()
        up[place] += h
        down[place] -= h
        found[place] = (f(up) - f(down)) / (2 * h)
    return found


def filled(*answers: Any) -> bool:
    """Whether no answer is a blank."""
    return not any(isinstance(answer, Blank) for answer in answers)


def check(name: str, got: Any, expected: np.ndarray | float) -> None:
    """Print whether an answer is correct, and if not, what is known about the mistake."""
    print(f"{name + ':':<16} {verdict(np.asarray(got), np.asarray(expected)) if filled(got) else 'still blank'}")


def verdict(got: np.ndarray, expected: np.ndarray) -> str:
    if got.shape != expected.shape:
        return f"the shape is {got.shape}, but it should be {expected.shape}{shape_hint(got.shape, expected.shape)}"
    size = max(1.0, float(np.abs(expected).max()))
    incorrect = np.abs(got - expected) > 1e-6 * size
    if not incorrect.any():
        return "correct"
    text = f"{np.count_nonzero(incorrect)} of {incorrect.size} entries are incorrect" if got.ndim else "incorrect"
    if got.ndim == 2 and len(set(got.shape)) == 1 and np.allclose(got.T, expected, atol=1e-6 * size):
        return text + ": this is the transpose"
    used = np.abs(expected) > 1e-6 * size
    ratios = got[used] / expected[used]
    if np.count_nonzero(used) > 1 and np.ptp(ratios) < 1e-4 * np.abs(ratios).max():
        return text + f": all are {ratios.mean():.4g} times the correct ones"
    place = np.unravel_index(np.abs(got - expected).argmax(), got.shape)
    where = f" at {tuple(map(int, place))}" if place else ""
    return text + f": {float(got[place]):.4f} instead of {float(expected[place]):.4f}{where}"


def shape_hint(got: tuple[int, ...], expected: tuple[int, ...]) -> str:
    """A guess why an answer has another shape, or nothing."""
    if got == expected[::-1]:
        return "; is a transpose missing?"
    if [size for size in got if size > 1] == [size for size in expected if size > 1]:
        return "; drop keepdims" if len(got) > len(expected) else "; keepdims=True is missing"
    if np.prod(got) == np.prod(expected):
        return "; the number of entries is correct: are the heads still apart?"
    if len(got) == len(expected) == 1:
        return "; is that the sum over the other axis?"
    if len(got) > len(expected) and got[-1:] == expected[-1:]:
        return "; is a sum missing?"
    if len(got) == len(expected) and all(size in (1, other) for other, size in zip(got, expected, strict=True)):
        return "; is a sum missing, or keepdims=True?"
    return ""


def check_answer(number: str, answer: Any) -> None:
    """Print whether an answer to a question is correct."""
    correct = str(answer).strip().upper() == ANSWERS[number]
    text = "still blank" if not filled(answer) else "correct" if correct else "not that one"
    print(f"{'question ' + number + ':':<16} {text}")


def check_layer(layer: Module, *inputs: np.ndarray) -> bool:
    """Print what `gradcheck` finds in a layer, and return whether it is correct."""
    name = type(layer).__name__
    try:
        report = gradcheck(layer, *inputs)
    except NotImplementedError:
        print(f"{name + ':':<16} still blank")
        return False
    print(f"{name + ':':<16} {'correct' if report else 'INCORRECT'}")
    for check in backward_order(report):
        if check in report.failures:
            print(f"    {check.name}: {check.cause}")
    return report.ok


def backward_order(report: Report) -> list[Check]:
    """The checks of a report in the order in which backward reaches their tensors: the input comes last."""
    return sorted(reversed(report.checks), key=lambda check: check.kind == "input")


def bug_reports() -> None:
    """Print the tensors of a block in backward order, and for each bug an x at those that are incorrect."""
    columns = []
    for correct, incorrect in BUGS.values():
        layer = block(4, 2, 5)
        swap(layer, correct, incorrect)
        report = gradcheck(layer, np.random.default_rng(0).standard_normal((2, 3, 4)))
        order = backward_order(report)
        columns.append(["x" if check in report.failures else "." for check in order])
    print(f"{'':<12}", *BUGS)
    for check, *marks in zip(order, *columns, strict=True):
        print(f"{check.name:<12}", *marks)
