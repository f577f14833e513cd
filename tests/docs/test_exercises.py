"""docs/exercises: blanks say what they want, solutions are right, and wrong bodies are refused."""

import subprocess
import sys

import pytest
from exercise_files import BLANKS, FOLDER, MARKER, NAMES, NUMBER, SOLVED, body, functions, source
from exercise_wrong import ATTENTION, BACK, GATED, LOSS, MOMENTS, SMOOTH, WRONG


@pytest.fixture
def attempt(tmp_path):
    """attempt(file, {function: body}) marks the solution of a file with other bodies in it: (status, what it said)."""

    def mark(name, bodies, capsys):
        for other in NAMES:
            (tmp_path / other).write_text(source(SOLVED, other), encoding="utf-8")
        lines, nodes = source(SOLVED, name).splitlines(), functions(source(SOLVED, name))
        for function in sorted(bodies, key=lambda function: -nodes[function].lineno):
            first, last = body(nodes[function])
            lines[first:last] = [" " * 8 + line for line in bodies[function].splitlines()]
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        status = MARKER.mark(MARKER.step(tmp_path / "x", NUMBER[name]).checks)
        return status, capsys.readouterr().out

    return mark


def test_the_same_files_stand_in_both_folders():
    assert NAMES == sorted(path.name for path in FOLDER.glob("[0-9]*.py"))
    assert {name for name, _ in BLANKS} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_blanks_differs_from_its_solution_in_the_bodies_of_the_blanks_alone(name):
    rest = []
    for folder in (FOLDER, SOLVED):
        text = source(folder, name)
        lines, nodes = text.splitlines(), functions(text)
        for function in sorted(nodes, key=lambda function: -nodes[function].lineno):
            if (name, function) in BLANKS:
                first, last = body(nodes[function])
                lines[first:last] = []
        rest.append(lines)
    assert rest[0] == rest[1]
    assert "NotImplementedError" not in source(SOLVED, name)
    assert source(FOLDER, name).count("NotImplementedError") == sum(blank == name for blank, _ in BLANKS)


@pytest.mark.parametrize(("name", "function"), BLANKS, ids=lambda part: part)
def test_a_blank_is_one_line_and_fails_with_its_hint(name, function, attempt, capsys):
    text = BLANKS[name, function]
    first, last = body(functions(source(FOLDER, name))[function])
    assert last == first + 1
    status, said = attempt(name, {function: f"raise NotImplementedError({text!r})"}, capsys)
    assert status == 1 and name in said and function in said and text in said and "WRONG" not in said


@pytest.mark.parametrize("name", NAMES)
def test_in_the_folder_of_blanks_each_file_asks_for_its_own_first_blank(name, capsys):
    first = next(function for blank, function in BLANKS if blank == name)
    assert MARKER.mark(MARKER.step(FOLDER / "x", NUMBER[name]).checks) == 1
    assert BLANKS[name, first] in capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_a_solution_passes_every_check(name, capsys):
    assert MARKER.mark(MARKER.step(SOLVED / "x", NUMBER[name]).checks) == 0
    said = capsys.readouterr().out
    assert said.count(": right") >= 2 and "WRONG" not in said


@pytest.mark.parametrize(("folder", "status"), [(FOLDER, 1), (SOLVED, 0)])
def test_as_a_command_it_leaves_with_the_status(folder, status, tmp_path):
    done = subprocess.run([sys.executable, "-W", "error", folder / "03_embedding.py"], capture_output=True, text=True,
                          cwd=tmp_path)
    assert (done.returncode, done.stderr) == (status, "") and done.stdout


@pytest.mark.parametrize(("name", "function", "wrong"), [
    (*place, wrong) for place, bodies in WRONG.items() for wrong in bodies])
def test_a_wrong_body_is_refused(name, function, wrong, attempt, capsys):
    first, last = body(functions(source(SOLVED, name))[function])
    solved = [line.strip() for line in source(SOLVED, name).splitlines()[first:last]]
    assert [line.strip() for line in wrong.splitlines()] != solved, "it is the solution"
    status, said = attempt(name, {function: wrong}, capsys)
    assert status == 1 and ("WRONG" in said or "stopped" in said)


@pytest.mark.parametrize(("text", "wrong"), [(ATTENTION, "09_attention.py"), (LOSS, "06_cross_entropy.py"),
                                            (BACK, "11_gpt.py"), (MOMENTS, "12_optimizers.py"),
                                            (GATED, "14_swiglu.py"), (SMOOTH, "15_label_smoothing.py")])
def test_what_the_wrong_bodies_are_made_of_is_right(text, wrong, attempt, capsys):
    function = [function for name, function in BLANKS if name == wrong][
        0 if wrong == "15_label_smoothing.py" else -1]
    assert attempt(wrong, {function: text}, capsys)[0] == 0


def test_every_blank_has_two_wrong_bodies():
    assert set(WRONG) == set(BLANKS) and min(len(set(bodies)) for bodies in WRONG.values()) >= 2


@pytest.mark.parametrize(("name", "function", "wrong", "shapes"), [
    ("01_linear.py", "Linear.backward", "return dY @ self.W", "dY (4, 2), self.W (3, 2), self.X (4, 3)"),
    ("01_linear.py", "Linear.backward", "G = dY.T\nself.dW += G @ self.X\nreturn G",
     "dY (4, 2), G (2, 4), self.W (3, 2), self.X (4, 3)"),
    ("02_bias.py", "Bias.backward", "return dY @ self.b[1:]", "dY (4, 3), self.b (3,)"),
])
def test_what_numpy_refuses_is_shown_with_the_shapes_at_hand(name, function, wrong, shapes, attempt, capsys):
    _, said = attempt(name, {function: wrong}, capsys)
    assert function in said and "ValueError" in said and shapes in said


@pytest.mark.parametrize(("name", "function", "wrong"), [
    ("01_linear.py", "Linear.backward", "X = self.X\nreturn dY"),
    ("01_linear.py", "Linear.backward", "X = self.X\ndY[...] = 0"),
    ("02_bias.py", "Bias.backward", "X = 0\nself.db += dY"),
    ("03_embedding.py", "Embedding.backward", "return dY"),
    ("13_rmsnorm.py", "RMSNorm.backward", "return dY[0]")])
def test_what_is_refused_after_a_call_is_placed_in_the_function_that_was_called(name, function, wrong, attempt, capsys):
    status, said = attempt(name, {function: wrong}, capsys)
    assert status == 1 and function in said and name in said
