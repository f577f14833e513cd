"""`./test.py --mutants`: which changes it makes, and that it finds out whether they are noticed."""

import ast
import inspect
import math

import numpy as np
import pytest

from numpygpt import nn
from numpygpt.models import GPT
from numpygpt.verify.mutation import verdicts
from numpygpt.verify.mutation.changes import changes
from numpygpt.verify.mutation.equivalent import EQUIVALENT, entry, nameless
from numpygpt.verify.mutation.mutants import in_place, mutants
from numpygpt.verify.mutation.targets import Target, targets


def changed_lines(source):
    function = ast.parse(source).body[0]
    return {(change.kind, ast.unparse(ast.fix_missing_locations(ast.copy_location(change.instead, change.node))))
            for change in changes(function, {"mean_of"}, {"row_slices"})}


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
    ("for block in reversed(self.blocks): pass", "order left out", "self.blocks"),
    ("self.dW[ids] += A", "index left out", "self.dW"),
    ("self.dW[ids] += A", "index shifted", "ids - 1"),
    ("return mean_of(A, B)", "another operand", "B"),
    ("if self.bias: pass", "condition inverted", "not self.bias"),
])
def test_each_way_to_be_wrong(line, kind, instead):
    assert (kind, instead) in changed_lines(f"def backward(self, dY):\n    {line}")


@pytest.mark.parametrize("line", ["self.state = 'done'", "self.P = None", "x = self.X", "return x, 1", "check(dY)",
                                  "for s in row_slices(2 * N, -C): pass"])
def test_what_is_not_arithmetic_is_left_alone(line):
    assert not changed_lines(f"def backward(self, dY):\n    {line}")


def test_every_backward_and_what_it_calls_is_changed():
    found = {target.function: target for target in targets()}
    layers = [value for value in vars(nn).values() if isinstance(value, type) and "backward" in vars(value)]
    for layer in {*layers, GPT} - {nn.Module}:
        assert found[inspect.unwrap(layer.backward)].layer == layer.__name__
    formulas = {inspect.unwrap(value) for name, value in vars(nn.functional).items() if name.endswith("_backward")}
    assert formulas <= found.keys()
    assert not {inspect.unwrap(f) for f in (GPT.loss, nn.Linear.forward, nn.functional.softmax)} & found.keys()
    assert not {f for f in found if f.__qualname__.startswith("Module.")}


def test_a_backward_without_a_case_has_no_layer_and_every_change_of_it_survives(monkeypatch):
    monkeypatch.setattr(verdicts.gradient_cases, "gradient_cases", lambda: iter([]))
    (target,) = (target for target in targets("SinusoidalEncoding.backward"))
    assert target.layer == ""
    (verdict,) = (verdicts.Judge(1e-6).verdict(mutant) for mutant in mutants(target))
    assert verdict == verdicts.SURVIVED


def test_a_mutant_names_its_line_and_is_in_place_only_for_a_while():
    (target,) = targets("Linear.backward")
    dropped = next(m for m in mutants(target) if (m.kind, m.after) == ("line dropped", "pass") and "sum" in m.before)
    lines, first = inspect.getsourcelines(target.function)
    assert "sum" in lines[dropped.line - first] and target.name in str(dropped)
    layer = nn.Linear(2, 3)

    def db():
        layer.zero_grad()
        layer(np.ones((4, 2), np.float32))
        layer.backward(np.ones((4, 3), np.float32))
        return layer.db.tolist()

    correct = target.function.__code__
    with pytest.raises(KeyError), in_place(dropped):
        assert db() == [0, 0, 0]
        raise KeyError
    assert target.function.__code__ is correct and db() == [4, 4, 4]


@pytest.mark.parametrize("name", ["Linear", "LayerNorm", "Embedding", "dropout"])
def test_nothing_survives(name):
    """Layers whose checks are fast; `./test.py --mutants` does all."""
    counts = []
    for _, found in verdicts.judged(targets(name), 1e-6):
        counts += [verdict for _, verdict in found]
        assert found and verdicts.SURVIVED not in counts
    assert counts.count(verdicts.WRONG) > 0.75 * len(counts), "noticed by the numbers, not because NumPy raises"


def test_in_a_forward_pass_only_changes_that_keep_the_output_count():
    judge, forward = verdicts.Judge(1e-6), nn.functional.gelu.__wrapped__
    found = {mutant.before: judge.verdict(mutant) for mutant in mutants(Target("GELU", forward, forward=True))
             if mutant.kind == "line dropped"}
    assert set(found.values()) == {verdicts.OUTPUT, verdicts.WRONG}


def test_equivalent_mutants_are_known_whatever_their_names():
    assert nameless("a.b = c - a", "a.b = c") == nameless("x.y = d - x", "x.y = d")
    assert nameless("a.b = c - a", "a.b = c") != nameless("a.b = c - a", "a.b = a")
    for layer, before, after in EQUIVALENT:
        renamed = [line.replace("dY2", "upstream").replace("rows", "r").replace("P", "Q") for line in (before, after)]
        assert entry(layer, *renamed) == (layer, before, after) and entry("Other", before, after) is None


def test_an_equivalent_mutant_is_not_a_survivor():
    ((_, found),) = verdicts.judged(targets("functional.leaky_relu_backward"), 1e-6)
    assert [verdict for _, verdict in found].count(verdicts.SAME) == 1


def printed(name, tolerance):
    lines = []
    left = verdicts.table(name, tolerance, lines.append)
    return left, "\n".join(lines)


def test_a_check_that_accepts_everything_is_found_out():
    left, text = printed("Linear.backward", math.inf)
    survivors = [line for line in text.splitlines() if line.startswith("SURVIVED Linear.backward")]
    assert left == len(survivors) > 5
    assert any("= for +=" in line for line in survivors)


def test_a_line_that_no_case_runs_is_found_out(monkeypatch):
    def no_bias():
        yield "Linear", "no bias", lambda: nn.Linear(3, 4, bias=False), (np.random.default_rng(0).normal(size=(5, 3)),)

    monkeypatch.setattr(verdicts.gradient_cases, "gradient_cases", no_bias)
    _, text = printed("Linear", 1e-6)
    survivors = [line for line in text.splitlines() if line.startswith("SURVIVED Linear.backward")]
    assert any("sum" in line for line in survivors), "the gradient of the bias"
    assert not any("= for +=" in line and "@" in line for line in survivors), "the gradient of W is still noticed"


def test_an_entry_without_its_mutant_is_found_out(monkeypatch):
    key = ("Dropout", "nothing = 1", "nothing = 2")
    monkeypatch.setitem(EQUIVALENT, key, "no such line")
    assert verdicts.stale(used=set()) == list(EQUIVALENT) and key not in verdicts.stale(used={key})


def test_an_unknown_name_is_an_error():
    with pytest.raises(ValueError, match="'Linaer'.*GPT"):
        targets("Linaer")
