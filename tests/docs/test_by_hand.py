"""What the chapters of the textbook work out on paper is correct: sums hold, and their results are printed."""

import ast
import re
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from pages import ROOT, examples, formulas, prose, read, sections

MATRIX = re.compile(r"\\begin\{pmatrix\}(.*?)\\end\{pmatrix\}", re.DOTALL)
ROW = re.compile(r"(?<![\w}])\(([\d\s./+-]*,[\d\s./+,-]*)\)(/\d+)?")
LONG = re.compile(r"(?<![\w.])-?\d+\.\d{3,}(?!\w)")
LITERAL = re.compile(r"\[[\[\]\d\s.,e+-]*\]")
SUM = re.compile(r"[\d\s./+*()-]+")


def value(text):
    """The number that arithmetic such as `1/2 - 1` gives; None for what has letters in it."""
    text = re.sub(r"\\[,;]", "*", text.strip().strip(",.").replace(r"\cdot", "*").removesuffix(r"\quad"))
    if not SUM.fullmatch(text):
        return None
    exact = re.sub(r"\d+(?:\.\d+)?", lambda number: f"Fraction('{number.group()}')", text.strip())
    try:
        return float(eval(exact, {"Fraction": Fraction}))
    except (SyntaxError, TypeError):  # two numbers side by side
        return None


def unit(text):
    """One in the last decimal of the longest number; in the fourth, as is printed, where all are whole or fractions."""
    return 10.0 ** -max((len(decimals) for decimals in re.findall(r"\.(\d+)", text)), default=4)


def claimed(text):
    """The matrices and the rows of a text that have numbers alone: (array, how far off rounding may leave it)."""
    for body in MATRIX.findall(text):
        rows = [[value(entry) for entry in row.split("&")] for row in body.strip().removesuffix("\\\\").split("\\\\")]
        if all(entry is not None for row in rows for entry in row):
            yield np.array(rows), 0.51 * unit(body)
    for body, divisor in ROW.findall(text):
        yield np.array([value(entry) for entry in body.split(",")]) / float(divisor[1:] or 1), 0.51 * unit(body)


def arrays(text):
    """The arrays that a program or its output spells out, and their rows."""
    for found in LITERAL.findall(text):
        try:
            array = np.array(ast.literal_eval(found), float)
        except (SyntaxError, ValueError):  # an index, or rows of different lengths
            continue
        yield array
        yield from array if array.ndim == 2 else ()


def unproven(section):
    """The matrices, rows and long decimals of a section that neither its programs spell out nor their output."""
    blocks = examples(section)
    shown = "\n".join(output for _, output in blocks)
    known = [*arrays(shown), *(array for code, _ in blocks for array in arrays(code))]
    worked = formulas(section)
    lost = [array.tolist() for array, off in claimed("\n".join(worked))
            if not any(a.size == array.size and np.abs(a.ravel() - array.ravel()).max() < off for a in known)]
    printed = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", shown)]
    return lost + [number for number in LONG.findall("\n".join([prose(section), *worked]))
                   if not any(abs(float(number) - other) < 0.51 * unit(number) for other in printed)]


def untrue(section):
    """The equations between numbers alone in a section's formulas that do not hold, but for rounding."""
    found = []
    for formula in formulas(section):
        sides = formula.split("=")
        for left, right in pairwise(sides):
            if None not in (value(left), value(right)) and abs(value(left) - value(right)) > unit(right):
                found.append(f"{left.strip()} = {right.strip()}")
    return found


BY_HAND = {f"{page.stem}: {title}": text for page in sorted((ROOT / "docs" / "backprop").glob("*.md"))
           for title, text in sections(read(page), 3).items() if title.lower().endswith("by hand")}


@pytest.mark.parametrize("title", BY_HAND)
def test_what_is_worked_on_paper_is_true_and_printed(title):
    assert untrue(BY_HAND[title]) == [] and unproven(BY_HAND[title]) == []


SECTION = """
```math
X = \\begin{pmatrix} 1/2 - 1 & 2 \\\\ r & 3 \\end{pmatrix} \\begin{pmatrix} -1/2 & 2 \\\\ 1.25 & 3 \\end{pmatrix}
```

It is 1.2247 or so, at 0.5; $`X_1 = (5, 12)/4`$ and $`u = 0.5 \\, (1 - 1/4) = 0.38`$ of $`(N, 3)`$.

```python
print(...)
```

```text
[[-0.5, 2.0], [1.25, 3.0]] 1.22474
```
"""


def test_a_number_that_is_not_printed_is_found():
    assert unproven(SECTION) == []
    assert unproven(SECTION.replace("is 1.2247", "is 1.2248")) == ["1.2248"]
    assert unproven(SECTION.replace("-1/2 & 2", "1/2 & 2")) == [[[0.5, 2.0], [1.25, 3.0]]]
    assert unproven(SECTION.replace("(5, 12)/4", "(5, 12)/2")) == [[2.5, 6.0]]
    assert unproven(SECTION.replace("2.0]", "2.5]")) == [[[-0.5, 2.0], [1.25, 3.0]]]
    assert unproven(SECTION.replace(" 1.22474", "")) == ["1.2247"]


def test_a_sum_that_is_not_true_is_found():
    assert untrue(SECTION) == []
    assert untrue(SECTION.replace("0.38", "0.39")) == [r"0.5 \, (1 - 1/4) = 0.39"]
    assert untrue(SECTION.replace("1/4)", "1/3)")) == [r"0.5 \, (1 - 1/3) = 0.38"]
