"""./test.py --gradients: a row for each case, the sums below them, and status 1 where a gradient is wrong. ./test.py
--mutants: a row for each function, and status 1 where a change to one goes unnoticed."""

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
    header, *rows, sums = done.stdout.split("\n\n")[0].splitlines()
    assert header.split() == ["layer", "configuration", "checked", "entries", "largest", "error"]
    assert rows[0].startswith("Linear") and configuration in rows[0]
    assert [row.split()[-1] for row in rows] == ["pass", "pass", "FAIL"][: len(cases)]
    entries = sum(int(re.search(r"(\d+) +[\d.e-]+  \w+$", row)[1]) for row in rows)
    assert sums.startswith(f"{entries:,} entries in {len(cases)} cases; the largest error allowed is 1e-06")
    assert sums.endswith("1 FAIL" if wrong else "all pass")
    assert ("Linear, wrong\nWrong: WRONG" in done.stdout) == wrong
    assert (done.returncode, done.stderr) == (int(wrong), "")


def test_the_table_of_mutants():
    done = script("test.py", "--mutants", "FeedForward")
    header, row, sums = done.stdout.splitlines()
    assert header.split() == ["function", "mutants", "wrong", "numbers", "crashed", "equivalent", "survived"]
    name, total, *counts = row.split()
    assert name == "FeedForward.backward" and int(total) == sum(map(int, counts)) > 10
    assert counts[2:] == ["0", "0"] and sums.split() == ["all", total, *counts]
    assert (done.returncode, done.stderr) == (0, "")


def test_a_mutant_that_goes_unnoticed_is_status_1(monkeypatch):
    monkeypatch.setattr(gradient_cases, "gradient_cases", lambda: iter([]))  # nothing is checked
    done = script("test.py", "--mutants", "SinusoidalEncoding")
    assert done.returncode == 1 and done.stderr == ""
    assert done.stdout.splitlines()[-1].endswith("sign flipped: return dY  ->  return -dY")


def test_mutants_of_a_layer_that_is_none():
    done = script("test.py", "--mutants", "nothing")
    assert done.returncode == 2 and done.stdout == ""
    assert "no layer or module 'nothing' with a backward pass" in done.stderr and done.stderr.count("\n") == 1


def test_the_two_tables_are_asked_for_one_at_a_time():
    assert script("test.py", "--gradients", "--mutants").returncode == 2


@pytest.mark.parametrize("words", [
    ["attention"], ["tests/nn", "attention"], ["--gradients", "tests/nowhere.py::test_x"], [""], ["x" * 300], ["a\nb"],
    ["attention", "--", "-k", "x"],
], ids=lambda words: repr(" ".join(words))[:20])  # fmt: skip
def test_a_word_that_names_no_test_is_refused_before_the_table(words):
    done = script("test.py", *words)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
    assert done.stderr.startswith("test.py: error: there is no test file or folder ")
    assert "./test.py -- -k " in done.stderr


@pytest.mark.parametrize(("words", "passed"), [
    (["tests/nn"], ["tests/nn"]), (["tests/scripts/test_test.py::test_x[a::b]"],) * 2, (["--", "-k", "attention"],
    ["-k", "attention"]), (["tests", "--", "attention", "--", "-x"], ["tests", "attention", "--", "-x"]), ([], []),
], ids=lambda words: " ".join(words))  # fmt: skip
def test_what_goes_to_pytest(words, passed, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # pytest runs in the project's folder, so that paths are told from there
    parse = runpy.run_path(str(ROOT / "test.py"))["parse"]
    assert parse(words).pytest == passed
    monkeypatch.setattr("sys.argv", ["test.py", *words])
    assert parse().pytest == passed
