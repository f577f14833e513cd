"""What the chapters of the textbook work out on paper is what the block under it prints: matrices and long decimals."""

import ast
import re
from fractions import Fraction

import numpy as np
import pytest
from test_backprop_doc import OF_LAYERS, examples, fenced, name, parts, prose, read, sections

MATRIX = re.compile(r"\\begin\{pmatrix\}(.*?)\\end\{pmatrix\}", re.DOTALL)
LONG = re.compile(r"(?<![\w.])-?\d+\.\d{3,}(?!\w)")
LITERAL = re.compile(r"\[[\[\]\d\s.,e+-]*\]")
ENTRY = re.compile(r"[\d\s./+*()-]+")

WITH_MATRICES = ("softmax", "normalize")  # the chapters that print the matrix of each step


def value(entry):
    """The number that an entry such as `1/2 - 1` stands for; None for one with letters."""
    entry = entry.replace(r"\cdot", "*").strip()
    if not ENTRY.fullmatch(entry):
        return None
    return float(eval(re.sub(r"\d+(?:\.\d+)?", lambda number: f"Fraction('{number.group()}')", entry),
                      {"Fraction": Fraction}))


def matrices(text):
    """The arrays of the matrices of a text that have numbers alone, each with its number of decimals."""
    for body in MATRIX.findall(text):
        rows = [[value(entry) for entry in row.split("&")] for row in body.strip().removesuffix("\\\\").split("\\\\")]
        if all(entry is not None for row in rows for entry in row):
            yield np.array(rows), max((len(d) for d in re.findall(r"\.(\d+)", body)), default=6)


def arrays(text):
    """The arrays that a program or its output spells out."""
    for found in LITERAL.findall(text):
        try:
            yield np.array(ast.literal_eval(found), float)
        except (SyntaxError, ValueError):  # an index, or rows of different lengths
            continue


def unproven(section):
    """What a section claims and neither its programs nor what they print have: matrices and long decimals."""
    blocks = examples(section)
    shown = "\n".join(after.text for _, after in blocks if after.info == "text")
    known = [*arrays(shown), *(a for block, _ in blocks for a in arrays(block.text))]
    claims = prose(section) + "\n".join(block.text for block in fenced(section) if block.info == "math")
    lost = []
    for matrix, decimals in matrices(claims):
        unit = 10.0**-decimals
        if not any(a.size == matrix.size and np.abs(a.ravel() - matrix.ravel()).max() < 0.51 * unit for a in known):
            lost.append(matrix.tolist())
    printed = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", shown)]
    for number in LONG.findall(claims):
        unit = 10.0 ** -len(number.partition(".")[2])
        if not any(abs(float(number) - other) < 0.51 * unit for other in printed):
            lost.append(number)
    return lost


@pytest.mark.parametrize(("path", "title"), OF_LAYERS, ids=name)
def test_what_is_worked_on_paper_is_printed(path, title):
    by_hand = dict(parts(sections(read(path))[title], 3))["By hand"]
    assert [claim for claim in unproven(by_hand) if path.stem in WITH_MATRICES or isinstance(claim, str)] == []


SECTION = """
```math
X = \\begin{pmatrix} 1/2 - 1 & 2 \\\\ r & 3 \\end{pmatrix} \\begin{pmatrix} -1/2 & 2 \\\\ 1.25 & 3 \\end{pmatrix}
```

It is 1.2247 or so, at 0.5.

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
    assert unproven(SECTION.replace("2.0]", "2.5]")) == [[[-0.5, 2.0], [1.25, 3.0]]]
    assert unproven(SECTION.replace(" 1.22474", "")) == ["1.2247"]
