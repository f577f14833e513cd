"""What the textbook works out by hand in a formula is what the block under it was given, and what it prints."""

import ast
import math
import re

import pytest
from test_backprop_doc import OF_LAYERS, examples, fenced, name, parts, read, sections

MATRIX = re.compile(r"\\begin\{[pb]matrix\}(.*?)\\end\{[pb]matrix\}", re.DOTALL)
NAMED = re.compile(r"(\w+) *= *(\[.*\])$", re.MULTILINE)
INPUTS = {"X", "W", "b", "E", "dY"}
CLOSE = 5.1e-5  # outputs have four digits after the point


def number(entry):
    """The value of a matrix's entry, an arithmetic expression in LaTeX; None where it has letters."""
    text = re.sub(r"\\[dt]?frac(\d)(\d)", r"(\1/\2)", entry)
    text = re.sub(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}", r"((\1)/(\2))", text)
    text = re.sub(r"\\(ln|sqrt) ?\{?(\d+)\}?", r" \1(\2)", text).replace(r"\cdot", "*").replace(r"\,", "")
    text = re.sub(r"(?<=[\d)])\s*(?=ln|sqrt|\()", "*", text)
    if re.search(r"[A-Za-z_\\^]", re.sub(r"\b(ln|sqrt)\(", "(", text)):
        return None
    return eval(text, {"ln": math.log, "sqrt": math.sqrt})


def numbers(matrix):
    return [number(entry.strip()) for row in matrix.split(r"\\") if row.strip() for entry in row.split("&")]


def plain(symbol):
    r"""A symbol as the code has it: \mathrm{d}W_1 is dW1, Q^0 is Q0."""
    return re.sub(r"[\s{}_^\\;,]|quad|\\qquad", "", re.sub(r"\\(mathrm|hat)", "", symbol))


def worked(formula):
    """(name, numbers) of each matrix of numbers; a name holds for all matrices of its chain of equations."""
    found, symbol, at = [], "", 0
    for match in MATRIX.finditer(formula):
        before = re.split(r"\\q?quad|\\\\|\n\n", formula[at : match.start()])[-1].replace("&", "")
        sides = [side.strip() for side in before.split("=")]
        symbol = plain(sides[0]) or symbol
        if None not in (values := numbers(match[1])) and len(sides) > 1 and not sides[-1]:
            found.append((symbol, values))
        at = match.end()
    return found


def flat(value):
    return [entry for item in value for entry in flat(item)] if isinstance(value, list) else [value]


def shown(part):
    """name -> the numbers of each array that the examples of a part print under it."""
    found = {}
    for _, after in examples(part):
        for symbol, values in NAMED.findall(after.text if after.info == "text" else ""):
            found.setdefault(symbol, []).append(flat(eval(values, {"__builtins__": {}}, {"nan": math.nan})))
    return found


def given(part):
    """The numbers of each list that stands in the examples of a part."""
    nodes = (node for block, _ in examples(part) for node in ast.walk(ast.parse(block.text)))
    lists = [node for node in nodes if isinstance(node, ast.List)]
    kinds = (ast.Name, ast.Call, ast.comprehension)
    literal = [node for node in lists if not any(isinstance(inner, kinds) for inner in ast.walk(node))]
    return [flat(ast.literal_eval(node)) for node in literal]


def agree(values, others):
    return len(values) == len(others) and all(abs(a - b) <= CLOSE for a, b in zip(values, others, strict=True))


@pytest.mark.parametrize(("path", "title"), OF_LAYERS, ids=name)
def test_a_result_by_hand_is_the_one_that_is_printed(path, title):
    part = dict(parts(sections(read(path))[title], 3))["By hand"]
    printed = shown(part)
    by_hand = [pair for block in fenced(part) if block.info == "math" for pair in worked(block.text)]
    compared = [(symbol, values) for symbol, values in by_hand if symbol in printed]
    assert [pair for pair in compared if not any(agree(pair[1], values) for values in printed[pair[0]])] == []
    assert compared or not by_hand, f"{title}: no matrix has the name of an array that is printed"
    for symbol in {symbol for symbol, _ in by_hand if symbol in INPUTS}:
        matrices = [values for other, values in by_hand if other == symbol]
        assert any(agree(values, others) for values in matrices for others in given(part)), f"{symbol} is another one"


def test_entries_are_read_as_numbers():
    entries = {"3": 3, "-1/4": -0.25, r"\frac15 (1 - \frac15)": 0.16, r"-0.16 \ln 2": -0.16 * math.log(2),
               r"2 + \frac{1}{5}": 2.2, r"\frac14 \cdot 4": 1, r"2 \sqrt{2}": 2 * math.sqrt(2), "r_0": None, "x": None}
    for entry, value in entries.items():
        assert number(entry) == (pytest.approx(value) if value is not None else None), entry


def test_matrices_are_read_with_their_names():
    formula = r"""X = \begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix} \quad
        \mathrm{d}W_1 = X^\top A = \begin{pmatrix} 1/2 \\ 2 \end{pmatrix} = \begin{pmatrix} 0.5 & 2 \end{pmatrix}
        \qquad 2 \begin{pmatrix} 1 \end{pmatrix} \quad \hat{Y} &= \begin{pmatrix} r \end{pmatrix}"""
    assert worked(formula) == [("X", [1, 2, 3, 4]), ("dW1", [0.5, 2]), ("dW1", [0.5, 2])]
    assert not agree([1, 2], [1, 2.001]) and not agree([1], [1, 2]) and agree([0.3333333], [0.3333])
