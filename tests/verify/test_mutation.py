"""`./test.py --mutants`: the changes that it makes, that they are caught, and that it notices where they are not."""

import ast
import contextlib
import inspect
import io
import math
from pathlib import Path

import numpy as np
import pytest

from numpygpt import nn
from numpygpt.models import GPT
from numpygpt.verify.mutation import verdicts
from numpygpt.verify.mutation.changes import changes
from numpygpt.verify.mutation.equivalent import EQUIVALENT
from numpygpt.verify.mutation.mutants import in_place, mutants, targets


def changed_lines(source):
    function = ast.parse(source).body[0]
    return {(change.kind, ast.unparse(ast.fix_missing_locations(ast.copy_location(change.instead, change.node))))
            for change in changes(function)}


@pytest.mark.parametrize(("line", "kind", "instead"), [
    ("return -Y", "sign flipped", "Y"),
    ("return A - B", "term dropped", "B"),
    ("return A - B", "sign or scale inverted", "A + B"),
    ("return A * B", "factor dropped", "A"),
    ("return A / 2", "factor dropped", "A"),
    ("return 2 * A", "scale doubled", "4"),
    ("return A @ B.T", "transposed", "B"),
    ("return A @ B", "transposed", "A.swapaxes(-1, -2)"),
    ("return A @ B.swapaxes(-1, -2)", "transposed", "B"),
    ("return A @ B", "factors exchanged", "B @ A"),
    ("return A * B + C", "another operand", "C"),
    ("self.dW += A", "= for +=", "self.dW = A"),
    ("self.dW += A", "line dropped", "pass"),
    ("A -= B", "sign or scale inverted", "A += B"),
    ("np.matmul(A, B, out=C)", "line dropped", "pass"),
    ("return A.sum(axis=0)", "sum left out", "A"),
    ("return A.sum(axis=0)", "one row for the sum", "np.take(A, 0, axis=0)"),
    ("return A.sum(axis=0)", "mean for the sum", "A.mean"),
    ("return A.sum(axis=0)", "sum over another axis", "1"),
    ("return A.sum(axis=-1, keepdims=True)", "one row for the sum", "np.take(A, [0], axis=-1)"),
    ("return np.add.reduceat(A, starts, axis=0)", "sum left out", "A[starts]"),
    ("return np.einsum('nc,nc->c', A, B)", "transposed", "'cn,cn->c'"),
    ("return self.act.backward(dY)", "layer skipped", "dY"),
    ("return A[order]", "index left out", "A"),
    ("self.dW[ids] += A", "index left out", "self.dW"),
    ("if self.bias: pass", "condition inverted", "not self.bias"),
])
def test_each_way_to_be_wrong(line, kind, instead):
    assert (kind, instead) in changed_lines(f"def backward(self, dY):\n    {line}")


def test_what_is_no_arithmetic_is_left_alone():
    assert not changed_lines("def backward(self):\n    self.state = 'done'\n    x = self.kept\n    return x, 1")


def test_every_backward_there_is_gets_changed():
    layers = [value for value in vars(nn).values() if isinstance(value, type) and "backward" in vars(value)]
    found = {target.function for target in targets()}
    assert {inspect.unwrap(vars(layer)["backward"]) for layer in [*layers, GPT]} - {nn.Module.backward} <= found
    assert {inspect.unwrap(value) for name, value in vars(nn.functional).items() if name.endswith("_backward")} <= found


def test_a_mutant_says_its_line_and_is_in_place_only_for_a_while():
    (target,) = targets("Linear")
    dropped = next(m for m in mutants(target) if (m.kind, m.after) == ("line dropped", "pass") and ".db" in m.before)
    source = Path(target.function.__code__.co_filename).read_text(encoding="utf-8").splitlines()
    assert "self.db += dY2.sum(axis=0)" in source[dropped.line - 1]
    layer = nn.Linear(2, 3)

    def db():
        layer.zero_grad()
        layer(np.ones((4, 2), np.float32))
        layer.backward(np.ones((4, 3), np.float32))
        return layer.db.tolist()

    right = target.function.__code__
    with pytest.raises(KeyError), in_place(dropped):
        assert db() == [0, 0, 0]
        raise KeyError
    assert target.function.__code__ is right and db() == [4, 4, 4]


@pytest.mark.parametrize("name", ["Linear", "LayerNorm", "Embedding", "dropout"])
def test_nothing_survives(name):
    """Some layers here, whose checks are fast; `./test.py --mutants` does all."""
    for _, found in verdicts.judged(name, 1e-6):
        assert found and all(verdict in (verdicts.WRONG, verdicts.CRASHED) for _, verdict in found)
        assert sum(verdict == verdicts.WRONG for _, verdict in found) > 0.75 * len(found), "by numbers, not by accident"


def test_an_equivalent_mutant_is_known_as_such():
    ((_, found),) = [pair for pair in verdicts.judged("functional.cross_entropy_backward", 1e-6)]
    same = [verdicts.key(mutant) for mutant, verdict in found if verdict == verdicts.SAME]
    assert same == [entry for entry in EQUIVALENT if entry[0] == "functional.cross_entropy_backward"]


def printed(name, tolerance):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        left = verdicts.table(name, tolerance)
    return left, out.getvalue()


def test_a_check_that_lets_everything_pass_is_found_out():
    left, text = printed("Linear", math.inf)
    survivors = [line for line in text.splitlines() if line.startswith("SURVIVED")]
    assert left == len(survivors) > 5
    assert any("= for +=: self.dW += X2.T @ dY2  ->  self.dW = X2.T @ dY2" in line for line in survivors)


def test_cases_that_do_not_run_a_line_are_found_out(monkeypatch):
    def no_bias():
        yield "Linear", "no bias", lambda: nn.Linear(3, 4, bias=False), (np.random.default_rng(0).normal(size=(5, 3)),)

    monkeypatch.setattr(verdicts.gradient_cases, "gradient_cases", no_bias)
    _, text = printed("Linear", 1e-6)
    assert "SURVIVED Linear.backward" in text and "self.db += dY2.sum(axis=0)  ->  pass" in text
    assert "self.dW +=" not in text, "the lines that are run are caught still"


def test_a_reason_without_its_mutant_is_found_out(monkeypatch):
    monkeypatch.setitem(EQUIVALENT, ("Linear.backward", "self.dW += X2.T @ dY2", "pass"), "caught in truth")
    left, text = printed("Linear", 1e-6)
    assert left == 1 and "STALE ('Linear.backward'" in text


def test_a_name_that_is_none_is_an_error():
    with pytest.raises(ValueError, match="'Linaer'.*GPT"):
        targets("Linaer")
