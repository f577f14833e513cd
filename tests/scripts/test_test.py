"""./test.py: the table of gradients, the table of mutants, which tests it runs, and its status."""

import re
import runpy

import pytest
from running import script

from numpygpt.nn import Linear
from numpygpt.utils.paths import ROOT
from numpygpt.verify import cases as gradient_cases


class Wrong(Linear):
    def backward(self, dY):
        dX = super().backward(dY)
        self.db += 0.1
        return dX


@pytest.mark.parametrize("wrong", [False, True])
def test_the_table_and_what_is_wrong(monkeypatch, wrong):
    (_, configuration, _, inputs), *_ = cases = list(gradient_cases.gradient_cases())[:2]
    if wrong:
        cases.append(("Linear", "wrong", lambda: Wrong(inputs[0].shape[-1], 2, rng=0), inputs))
    monkeypatch.setattr(gradient_cases, "gradient_cases", lambda: iter(cases))
    done = script("test.py", "--gradients")
    _, *rows, sums = done.stdout.split("\n\n")[0].splitlines()
    assert rows[0].startswith("Linear") and configuration in rows[0]
    assert [row.split()[-1] for row in rows] == ["pass", "pass", "FAIL"][: len(cases)]
    entries = sum(int(re.search(r"(\d+) +[\d.e-]+  \w+$", row)[1]) for row in rows)
    assert f"{entries:,} entries in {len(cases)} cases" in sums and ("1 FAIL" in sums) == wrong
    assert ("Wrong: WRONG" in done.stdout) == wrong
    assert (done.returncode, done.stderr) == (int(wrong), "")


def test_the_table_of_mutants():
    done = script("test.py", "--mutants", "PositionalEmbedding.backward")
    _, row, sums = done.stdout.splitlines()
    name, total, *counts = row.split()
    assert name == "PositionalEmbedding.backward" and int(total) == sum(map(int, counts)) > 10
    assert counts[2:] == ["0", "0"] and sums.split() == ["all", total, *counts]
    assert (done.returncode, done.stderr) == (0, "")


def test_a_mutant_that_goes_unnoticed_is_status_1(monkeypatch):
    monkeypatch.setattr(gradient_cases, "gradient_cases", lambda: iter([]))  # nothing is checked
    done = script("test.py", "--mutants", "SinusoidalEncoding.backward")
    assert done.returncode == 1 and done.stderr == ""
    assert done.stdout.splitlines()[-1].startswith("SURVIVED SinusoidalEncoding.backward")


def test_mutants_of_an_unknown_layer():
    done = script("test.py", "--mutants", "nothing")
    assert done.returncode == 2 and done.stdout == ""
    assert "'nothing'" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("flags", [["--gradients", "--mutants"], ["--gradients", "--slow"]])
def test_one_mode_at_a_time(flags):
    assert script("test.py", *flags).returncode == 2


@pytest.mark.parametrize(("flags", "wrong", "status"), [([], 0, 3), ([], 1, 1), (["--slow"], 1, 3)])
def test_two_processes_share_the_tests_and_a_failure_of_one_is_the_status(flags, wrong, status, monkeypatch, capsys):
    """Together they get every folder once, with one mark. No test runs after a wrong gradient."""
    started, killed = [], []

    class Process:
        def __init__(self, arguments, output=None):
            started.append(arguments)
            if output:
                output.write(b"2 passed\n")

        def wait(self):
            return 3 if len(started) == 2 else 0

        def kill(self):
            killed.append(self)

    namespace = runpy.run_path(str(ROOT / "test.py"))
    for name, value in (("pytest", Process), ("table", lambda: wrong)):
        monkeypatch.setitem(namespace["tests"].__globals__, name, value)
    assert namespace["main"](flags) == status
    assert all(arguments[:2] == ["-m", "slow" if flags else "not slow"] for arguments in started)
    assert len(killed) == 1 and len(started) == (1 if status == 1 else 2)
    ignored = [word.removeprefix("--ignore=") for word in started[0][2:]]
    assert all((ROOT / folder).is_dir() for folder in ignored)
    if status == 3:
        assert started[1][2:] == ignored and "2 passed" in capsys.readouterr().out


@pytest.mark.parametrize("words", [
    ["attention"], ["tests/nn", "attention"], ["--gradients", "tests/nowhere.py::test_x"], [""], ["x" * 300], ["a\nb"],
    ["attention", "--", "-k", "x"],
], ids=lambda words: repr(" ".join(words))[:20])  # fmt: skip
def test_a_word_that_names_no_test_is_refused_before_the_table(words):
    done = script("test.py", *words)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
    assert "./test.py -- -k " in done.stderr


def test_an_argument_of_pytest_before_the_two_dashes_names_the_command():
    done = script("test.py", "-k", "attention")
    assert done.returncode == 2 and "./test.py -- -k attention" in done.stderr


@pytest.mark.parametrize(("words", "passed"), [
    (["tests/nn"], ["tests/nn"]), (["tests/scripts/test_test.py::test_x[a::b]"],) * 2, (["--", "-k", "attention"],
    ["-k", "attention"]), (["tests", "--", "attention", "--", "-x"], ["tests", "attention", "--", "-x"]), ([], []),
], ids=lambda words: " ".join(words))  # fmt: skip
def test_what_goes_to_pytest(words, passed, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # paths are relative to the project's folder
    parse = runpy.run_path(str(ROOT / "test.py"))["parse"]
    assert parse(words).pytest == passed
    monkeypatch.setattr("sys.argv", ["test.py", *words])
    assert parse().pytest == passed
