"""The student notebooks are their solutions with blanks; the solutions are correct, and a mistake in one is noticed."""

import io
import json
import re
import sys
from contextlib import redirect_stdout

import numpy as np
import pytest
from pages import ROOT, load

notebook = load(ROOT / "docs" / "notebook.py", "notebook")
lesson = load(ROOT / "docs" / "notebooks" / "lesson.py", "lesson")
SOLUTIONS = sorted((notebook.NOTEBOOKS / "solutions").glob("*.ipynb"))
VERDICT = re.compile(r"^[\w ,.]+: +(?:(?i:in)?correct|INCORRECT|still blank|not that one|\d+ of|the shape).*", re.M)


def sources(text):
    return ["".join(cell["source"]) for cell in json.loads(text)["cells"]]


def code(path):
    """The code cells of a notebook. The model of session 4 is trained for one step."""
    cells = notebook.code_cells(json.loads(path.read_text(encoding="utf-8")))
    return ["".join(cell["source"]).replace("range(301)", "range(1)") for cell in cells]


def run(cells, folder, monkeypatch):
    """What the verdicts say when the cells run in order."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(folder)
    names = {"__name__": "__main__"}
    with redirect_stdout(io.StringIO()) as printed:
        for cell in cells:
            exec(compile(cell, "<cell>", "exec"), names)
    return VERDICT.findall(printed.getvalue())


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_a_student_notebook_is_its_solution_with_blanks(path):
    student = (notebook.NOTEBOOKS / path.name).read_text(encoding="utf-8")
    assert sources(student) == sources(notebook.blanked(path.read_text(encoding="utf-8")))
    hints = len(re.findall("# fill in: ", path.read_text(encoding="utf-8")))
    assert student.count("= blank  # fill in: ") == hints >= 7


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_every_answer_of_a_solution_is_correct(path, monkeypatch):
    said = run(code(path), path.parent, monkeypatch)
    assert len(said) >= 5 and all(line.endswith(" correct") for line in said)


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_a_student_notebook_runs_with_its_blanks(path, monkeypatch):
    said = run(code(notebook.NOTEBOOKS / path.name), notebook.NOTEBOOKS, monkeypatch)
    assert said and all(line.endswith("still blank") for line in said)


def fillings():
    for path in SOLUTIONS:
        for number, cell in enumerate(code(path)):
            yield from ((path, number, found.start()) for found in notebook.FILL_IN.finditer(cell))


@pytest.mark.parametrize(("path", "number", "start"), list(fillings()),
                         ids=lambda value: value.stem if hasattr(value, "stem") else str(value))
def test_a_mistake_in_one_blank_is_noticed(path, number, start, monkeypatch):
    cells = code(path)
    found = notebook.FILL_IN.search(cells[number], start)
    line = re.sub(r" = (.*?)(  # fill in)", lambda m: f" = 2 * ({m[1]}){m[2]}", found[0])
    cells[number] = cells[number][:start] + line + cells[number][found.end():]
    assert not all(line.endswith(" correct") for line in run(cells[: number + 1], path.parent, monkeypatch))


ROWS = np.arange(6.0).reshape(2, 3) + 1


@pytest.mark.parametrize(("got", "expected", "word"), [
    (ROWS, ROWS, "correct"),
    (lesson.blank, ROWS, "still blank"),
    (ROWS.T, ROWS, "transpose"),
    (ROWS @ ROWS.T + np.eye(2)[[1, 0]] * [[0], [1]], (ROWS @ ROWS.T + np.eye(2)[[1, 0]] * [[0], [1]]).T, "transpose"),
    (ROWS, ROWS.sum(0), "a sum"),
    (ROWS.sum(1), ROWS.sum(0), "other axis"),
    (ROWS.sum(0, keepdims=True), ROWS.sum(0), "drop keepdims"),
    (ROWS.sum(1), ROWS.sum(1, keepdims=True), "keepdims=True is missing"),
    (ROWS[:, :2], ROWS.sum(1, keepdims=True), "a sum missing, or keepdims"),
    (np.ones((2, 2, 3)), np.ones((4, 3)), "still apart"),
    (ROWS / 4, ROWS, "0.25 times"),
    (ROWS + np.eye(2, 3), ROWS, "2 of 6"),
])
def test_the_check_names_the_mistake(got, expected, word, capsys):
    lesson.check("dX", got, expected)
    assert word in capsys.readouterr().out


def test_a_blank_spreads_and_is_not_added_to_an_array():
    blank = lesson.blank
    for value in (blank * 2, ROWS @ blank, blank.T, blank.sum(axis=0), blank[1], -blank, blank > 0, np.exp(blank)):
        assert not lesson.filled(1, value)
    with pytest.raises(NotImplementedError):
        ROWS.copy().__iadd__(blank)


def test_the_network_of_session_1_learns_xor(monkeypatch, capsys):
    path = next(path for path in SOLUTIONS if path.stem == "student_1_rules")
    monkeypatch.setattr(sys, "path", [str(path.parents[1]), *sys.path])
    names = {}
    for cell in code(path):
        exec(compile(cell, "<cell>", "exec"), names)
    assert np.round(names["Y"].ravel()).tolist() == [0, 1, 1, 0] and names["loss"] < 1e-3


def test_a_bug_is_in_no_report_of_another(capsys):
    lesson.bug_reports()
    header, *lines = (line.split() for line in capsys.readouterr().out.splitlines())
    reports = list(zip(*(line[1:] for line in lines), strict=True))
    assert header == list(lesson.BUGS) and len(set(reports)) == len(reports) and lines[-1][0] == "X0"


def test_the_page_says_what_a_bug_reaches():
    """docs/TEACHING.md gives the reasons of the answer: what the first incorrect tensor is, and what is correct."""
    def incorrect(letter):
        correct, wrong = lesson.BUGS[letter]
        layer = lesson.block(4, 2, 5)
        lesson.swap(layer, correct, wrong)
        report = lesson.gradcheck(layer, np.random.default_rng(0).standard_normal((2, 3, 4)))
        return [check.name for check in lesson.backward_order(report) if check in report.failures]

    assert incorrect("D")[0].startswith("ffn.fc") and incorrect("B")[0].startswith("attn.qkv")
    assert all(name[-2:] in (".W", ".b") for name in incorrect("A"))
    assert incorrect("C")[0].startswith("attn.proj")
