"""docs/exercises: blanks say what they want, solutions are correct, usual mistakes are refused and get their cause."""

import pickle
import subprocess
import sys
import tomllib

import numpy as np
import pytest
from exercise_files import BLANKS, FOLDER, MARKER, NAMES, NUMBER, SOLVED, body, functions, source

from numpygpt.verify.check import Comparison

HINTS, MISTAKES = (tomllib.loads((SOLVED / f"{name}.toml").read_text(encoding="utf-8"))
                   for name in ("hints", "mistakes"))
CASES = {f"{name[:2]}-{function}-{i}": (name, function, mistake) for name in NAMES
         for function, mistakes in MISTAKES[name.removesuffix(".py")].items() for i, mistake in enumerate(mistakes)}


@pytest.fixture(scope="module", autouse=True)
def computed_once():
    """The finite differences of equal outputs (most answers differ in backward alone), and each known mistake."""
    plain, known, make, mistakes = Comparison.expected.func, {}, MARKER.made, {}

    def expected(self):
        key = pickle.dumps((self.name, self.arrays, self.tensors, self.G, self.run()))
        if key not in known:
            known[key] = plain(self)
        return known[key]

    def made(name, function, mistake, number):
        key = name, function, mistake["old"], mistake["new"], number
        if key not in mistakes:
            mistakes[key] = make(name, function, mistake, number)
        return mistakes[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Comparison, "expected", property(expected))
        patch.setattr(MARKER, "made", made)
        yield


@pytest.fixture
def beside(tmp_path, capsys):
    """beside(file, sources) marks a file of a folder of solutions in which some have another source."""

    def mark(name, sources):
        for other in NAMES:
            (tmp_path / other).write_text(sources.get(other) or source(SOLVED, other), encoding="utf-8")
        status = MARKER.mark(MARKER.step(tmp_path / "x", NUMBER[name]).checks)
        return status, " ".join(capsys.readouterr().out.split())

    return mark


@pytest.fixture
def marked(beside, monkeypatch):
    """marked(file, source) marks an answer beside the solutions of all other steps: (status, what was printed)."""
    monkeypatch.setattr(MARKER, "earlier", lambda checks: "")
    return lambda name, text: beside(name, {name: text})


@pytest.fixture
def attempt(marked):
    """attempt(file, {function: body}) marks the solution of a file with other bodies in it."""

    def mark(name, bodies):
        lines, nodes = source(SOLVED, name).splitlines(), functions(source(SOLVED, name))
        for function in sorted(bodies, key=lambda function: -nodes[function].lineno):
            first, last = body(nodes[function])
            lines[first:last] = [" " * 8 + line for line in bodies[function].splitlines()]
        return marked(name, "\n".join(lines) + "\n")

    return mark


@pytest.fixture
def altered(marked):
    """altered(file, old, new, ...) marks the solution of a file with other pieces of text in it."""

    def mark(name, *pairs):
        text = source(SOLVED, name)
        for old, new in zip(pairs[::2], pairs[1::2], strict=True):
            assert old in text
            text = text.replace(old, new)
        return marked(name, text)

    return mark


def test_the_same_files_are_in_both_folders():
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
def test_a_blank_is_one_line_and_fails_with_what_it_wants(name, function, attempt):
    text = BLANKS[name, function]
    first, last = body(functions(source(FOLDER, name))[function])
    assert last == first + 1
    status, printed = attempt(name, {function: f"raise NotImplementedError({text!r})"})
    assert status == 1 and name in printed and function in printed and " ".join(text.split()) in printed


@pytest.mark.parametrize("name", NAMES)
def test_in_the_folder_of_blanks_each_file_asks_for_its_own_first_blank_or_for_an_earlier_step(name, capsys):
    first = next(function for blank, function in BLANKS if blank == name)
    assert MARKER.mark(MARKER.step(FOLDER / "x", NUMBER[name]).checks) == 1
    assert BLANKS[name, first] in capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_a_solution_passes_every_check(name, capsys):
    assert MARKER.mark(MARKER.step(SOLVED / "x", NUMBER[name]).checks) == 0
    assert len(capsys.readouterr().out.splitlines()) >= 3


@pytest.mark.parametrize(("folder", "status"), [(FOLDER, 1), (SOLVED, 0)])
def test_as_a_command_it_leaves_with_the_status(folder, status, tmp_path):
    command = [sys.executable, "-W", "error", folder / "03_embedding.py"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (status, "") and done.stdout


# -- hints -------------------------------------------------------------------------------------------------------------


def test_every_blank_has_three_hints_and_two_mistakes():
    blanks = {(name.removesuffix(".py"), function) for name, function in BLANKS}
    assert {(name, function) for name, table in HINTS.items() for function in table} == blanks
    assert all(len(set(hints)) == 3 for table in HINTS.values() for hints in table.values())
    assert {(name, function) for name, table in MISTAKES.items() for function in table} == blanks
    assert all(len(mistakes) >= 2 for table in MISTAKES.values() for mistakes in table.values())


@pytest.mark.parametrize("folder", [FOLDER, SOLVED])
def test_a_hint_of_each_grade_is_printed_for_the_first_blank_that_is_left(folder, monkeypatch, capsys):
    for grade in (1, 2, 3):
        monkeypatch.setattr(sys, "argv", ["10_block.py", "--hint", str(grade)])
        with pytest.raises(SystemExit) as done:
            MARKER.main(MARKER.step(folder / "x", 10).checks)
        printed = " ".join(capsys.readouterr().out.split())
        assert done.value.code == 0
        shown = [function for function, hints in HINTS["10_block"].items()
                 if f"{function}: {hints[grade - 1]}" in printed]
        assert shown == ([*HINTS["10_block"]] if folder == SOLVED else ["FeedForward.backward"])


# -- mistakes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_refused_and_gets_its_cause_unless_numpy_refuses_it(case, marked):
    name, function, mistake = CASES[case]
    text = MARKER.mistaken(source(SOLVED, name), function, mistake)
    assert text != source(SOLVED, name)
    status, printed = marked(name, text)
    assert status == 1
    assert "stopped" in printed or f"{function}: {mistake['cause']}" in printed


def test_what_is_not_known_gets_no_cause(altered):
    for name, old, new in (("09_attention.py", "dV = ", "dV = 1.1 * "), ("07_layernorm.py", "size)", "size**2)"),
                           ("12_optimizers.py", "self.lr * self.v", "1.5 * self.lr * self.v")):
        status, printed = altered(name, old, new)
        assert status == 1 and "the cause" not in printed


# -- the arrays of backward --------------------------------------------------------------------------------------------


def report(printed):
    """The names in the report: (correct arrays, the first incorrect one and what is said of it, the other ones)."""
    correct, first, others = [], "", []
    for part in printed.replace(" the first ", "\n the first ").replace(" also ", "\n also ").replace(
            " correct arrays", "\n correct arrays").replace(" gradient of", "\n gradient of").splitlines():
        head, _, rest = part.partition(": ")
        if "correct arrays" in head:
            correct += rest.replace(",", "").split()
        elif "first incorrect" in head:
            first = rest
        elif "also incorrect" in head:
            others += rest.replace(",", "").split()
    return correct, first, others


SCORES = "dS = self.softmax.backward(dP)"


@pytest.mark.parametrize(("name", "pairs", "correct", "first", "others"), [
    ("09_attention.py", (SCORES, "dS = dP * 1"), ["dO", "dV", "dP"], ["dS", "dP"], ["dQ", "dK"]),
    ("09_attention.py", ("dV = self.P.swapaxes(-1, -2) @ dO", "dV = self.P @ dO"), ["dO", "dP", "dS", "dQ", "dK"],
     ["dV", "self.P @ dO", "self.P.T @ dO"], []),
    ("09_attention.py", ("self.Q * self.scale", "self.Q"), ["dO", "dV", "dP", "dS", "dQ"], ["dK", "sqrt(3)"], []),
    ("09_attention.py", ("dQ = dS @ self.K", "dQ = dS @ self.V"), ["dO", "dV", "dP", "dS", "dK"],
     ["dQ", "dS @ self.V", "dS @ self.K"], []),
    ("10_block.py", ("self.attn.backward(dH)", "self.attn.backward(dY)"), ["dH"], ["dX"], []),
    ("10_block.py", ("dH = dY + ", "dH = "), [], ["dH", "dY is missing"], ["dX"]),
    ("11_gpt.py", ("reversed(self.blocks)", "self.blocks"), ["dlogits"], ["dX", "assignment 2"], []),
    ("07_layernorm.py", (" - Xhat * size", ""), ["dXhat"], [], []),
    ("13_rmsnorm.py", ("dXhat = dY * self.gamma", "dXhat = -dY * self.gamma"), [], ["dXhat", "-1"], []),
    ("14_swiglu.py", ("dG = dA * self.U", "dG = dA * self.G"), ["dA", "dU"], ["dG"], []),
    ("17_grouped_queries.py", (".sum(axis=2)", ".mean(axis=2)"), ["dO", "dV", "dP", "dS", "dQ", "dK"],
     ["dK_shared", "1/2"], ["dV_shared"]),
    ("18_lora.py", ("dXA = self.s * ", "dXA = "), [], ["dXA"], []),
])
def test_the_arrays_of_backward_are_compared_with_those_of_the_solution(name, pairs, correct, first, others, altered):
    status, printed = altered(name, *pairs)
    found = report(printed)
    assert status == 1 and (found[0], found[2]) == (correct, others)
    assert found[1].startswith(first[0] if first else "") and all(word in found[1] for word in first)


def test_an_array_that_is_changed_in_place_later_is_correct(altered):
    status, printed = altered("07_layernorm.py", "        return self.r * (dXhat - mean - Xhat * size)",
                              "        dXhat -= mean\n        dXhat *= self.r\n        return dXhat")
    assert status == 1 and report(printed)[:2] == (["dXhat"], "")


def test_an_array_that_the_solution_returns_is_compared_only_if_it_is_returned(altered):
    scaled = ("dX[~self.counted] = 0\n        dX *= scale / self.count\n        return dX.reshape(self.shape)",
              "return (dX * scale / self.count).reshape(self.shape)")
    status, printed = altered("06_cross_entropy.py", *scaled)
    assert status == 1 and report(printed) == ([], "", [])
    assert "CrossEntropy.backward: rows whose target is -1" in printed
    status, printed = altered("06_cross_entropy.py", "dX[~self.counted] = 0\n", "\n")
    assert status == 1 and report(printed)[1].startswith("dX")


def test_an_array_that_is_not_finite_is_named(altered):
    status, printed = altered("13_rmsnorm.py", "dXhat = dY * self.gamma", "dXhat = dY * self.gamma * np.inf")
    assert status == 1 and report(printed)[1].startswith("dXhat, 15 of 15 entries are not finite")


def test_a_class_of_your_own_does_not_disturb_the_comparison(altered):
    helper = "class Times(Module):\n    def forward(self, X):\n        return X\n\n    def backward(self, dY):\n"
    status, printed = altered("13_rmsnorm.py", "class RMSNorm", helper + "        return 2 * dY\n\n\nclass RMSNorm",
                              "        self.eps = eps\n", "        self.eps, self.times = eps, Times()\n",
                              "dXhat = dY * self.gamma", "dXhat = self.times.backward(dY) * self.gamma")
    assert status == 1 and "stopped" not in printed and report(printed)[1].startswith("dXhat")


def test_names_that_the_solution_does_not_have_are_not_compared(altered):
    status, printed = altered("09_attention.py", "dQ", "dqueries", "@ self.K * self.scale", "@ self.K")
    assert status == 1 and report(printed)[0] == ["dO", "dV", "dP", "dS", "dK"] and "dqueries" not in printed


def test_an_answer_that_stops_shows_the_arrays_up_to_there(altered):
    status, printed = altered("09_attention.py", "dO @ self.V.swapaxes(-1, -2)", "dO @ self.V")
    assert status == 1 and "stopped" in printed and report(printed)[0] == ["dO", "dV"]


def test_the_parts_of_a_parameter_are_named(altered):
    _, printed = altered("09_attention.py", "dS.swapaxes(-1, -2) @ self.Q", "dS @ self.Q")
    assert "columns 0 to 2 of qkv.W, the queries: correct" in printed
    assert "columns 3 to 5 of qkv.W, the keys: incorrect" in printed
    _, printed = altered("09_attention.py", "self.Q * self.scale", "self.Q")
    assert "the keys: incorrect" in printed and "1.73205 = sqrt(3)" in printed


def test_gradients_are_shown_in_the_order_of_backward_the_first_incorrect_one_alone_if_they_are_many(altered):
    _, printed = altered("11_gpt.py", "reversed(self.blocks)", "self.blocks")
    assert printed.count("gradient of") == 1 and "gradient of blocks.1.ffn.proj_bias.b" in printed
    assert "correct gradients: norm_f.beta, norm_f.gamma" in printed
    _, printed = altered("11_gpt.py", "self.wpe.backward(dX)", "dX")
    assert printed.count("gradient of") == 1 and "gradient of wpe.W" in printed


def test_without_the_solutions_the_gradients_are_still_marked(altered, tmp_path, monkeypatch):
    for module in (MARKER, sys.modules["intermediates"]):
        monkeypatch.setattr(module, "SOLUTIONS", tmp_path / "none")
    status, printed = altered("09_attention.py", "dS.swapaxes(-1, -2) @ self.Q", "dS @ self.Q")
    assert status == 1 and "the keys: incorrect" in printed and "the cause" not in printed
    assert report(printed)[:2] == ([], "")
    assert altered("09_attention.py")[0] == 0


# -- what backward must leave as it is, and earlier steps ------------------------------------------------------------


@pytest.mark.parametrize(("name", "pairs", "changed"), [
    ("05_softmax.py", ("return self.Y * (dY - (dY * self.Y).sum(axis=-1, keepdims=True))",
                       "self.Y *= dY - (dY * self.Y).sum(axis=-1, keepdims=True)\n        return self.Y"), "self.Y"),
    ("06_cross_entropy.py", ("self.P.copy()", "self.P"), "self.P"),
    ("07_layernorm.py", ("dXhat = dY", "self.Xhat = 2 * Xhat\n        dXhat = dY"), "self.Xhat"),
    ("09_attention.py", ("dQ = dS @ self.K", "self.P *= 2\n        dQ = dS @ self.K"), "self.P, self.softmax.Y"),
])
def test_a_correct_backward_that_changes_what_forward_cached_is_refused(name, pairs, changed, altered):
    status, printed = altered(name, *pairs)
    assert status == 1 and f"backward changes {changed}:" in printed and "gradient of" not in printed


@pytest.mark.parametrize(("name", "others", "named"), [
    ("06_cross_entropy.py", {"05_softmax.py": ("self.Y * (dY - ", "dY * (self.Y - ")}, "05_softmax.py"),
    ("10_block.py", {"01_linear.py": ("self.W.T", "self.W"), "09_attention.py": ("dQ, dK, dV", "dK, dQ, dV")},
     "01_linear.py"),
    ("18_lora.py", {"01_linear.py": ("self.W.T", "self.W"), "18_lora.py": ("self.dB += self.s * ", "self.dB += ")}, ""),
    ("09_attention.py", {"09_attention.py": ("dQ, dK, dV", "dK, dQ, dV")}, ""),
])
def test_an_earlier_step_that_is_incorrect_is_named_instead(name, others, named, beside):
    status, printed = beside(name, {other: source(SOLVED, other).replace(*pair) for other, pair in others.items()})
    assert status == 1 and ("run that file first" in printed) == bool(named) and named in printed
    assert ("the cause" in printed) == (not named)


# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "function", "wrong", "shapes"), [
    ("01_linear.py", "Linear.backward", "return dY @ self.W", "dY (4, 2), self.W (3, 2), self.X (4, 3)"),
    ("01_linear.py", "Linear.backward", "G = dY.T\nself.dW += G @ self.X\nreturn G",
     "dY (4, 2), G (2, 4), self.W (3, 2), self.X (4, 3)"),
    ("02_bias.py", "Bias.backward", "return dY @ self.b[1:]", "dY (4, 3), self.b (3,)"),
])
def test_what_numpy_refuses_is_shown_with_the_shapes_at_hand(name, function, wrong, shapes, attempt):
    _, printed = attempt(name, {function: wrong})
    assert function in printed and "ValueError" in printed and shapes in printed


@pytest.mark.parametrize(("name", "function", "wrong"), [
    ("01_linear.py", "Linear.backward", "X = self.X\nreturn dY"),
    ("01_linear.py", "Linear.backward", "X = self.X\ndY[...] = 0"),
    ("02_bias.py", "Bias.backward", "X = 0\nself.db += dY"),
    ("03_embedding.py", "Embedding.backward", "return dY"),
    ("13_rmsnorm.py", "RMSNorm.backward", "return dY[0]")])
def test_what_is_refused_after_a_call_is_placed_in_the_function_that_was_called(name, function, wrong, attempt):
    status, printed = attempt(name, {function: wrong})
    assert status == 1 and function in printed and name in printed


@pytest.mark.parametrize(("name", "function", "wrong", "words"), [
    ("05_softmax.py", "Softmax.backward", "dY *= self.Y\nreturn dY", "in place"),
    ("04_relu_gelu.py", "ReLU.backward", "self.X[self.X < 0] = 0\nreturn dY", "in place"),
    ("01_linear.py", "Linear.backward", "return dY @ self.W", "last size of A"),
    ("07_layernorm.py", "LayerNorm.backward", "dXhat = dY", "return missing"),
])
def test_an_error_of_numpy_is_explained(name, function, wrong, words, attempt):
    _, printed = attempt(name, {function: wrong})
    assert "stopped" in printed and words in printed


def test_a_result_of_another_type_is_named():
    assert "dict" in MARKER.equal("pairs", [(97, 104)], {(97, 104): 1}) and "list" in MARKER.equal("ids", (1,), [1])


def test_a_result_in_another_dtype_is_explained():
    assert MARKER.single(np.ones(2, np.float32)) is True
    assert "float64" in MARKER.single(np.ones(2))
