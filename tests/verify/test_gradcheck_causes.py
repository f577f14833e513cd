"""gradcheck names the cause of a wrong gradient if the numbers show it, and no cause otherwise.

A cause is known by the guess that found it and by the values in its sentence.
"""

from unittest import mock

import numpy as np
import pytest
from parts import PRODUCT

from numpygpt.nn import (
    CrossEntropyLoss,
    Dropout,
    Embedding,
    LayerNorm,
    Linear,
    Module,
    MultiHeadAttention,
    ReLU,
    RMSNorm,
    Softmax,
    TransformerBlock,
)
from numpygpt.verify import check, explain, gradcheck
from numpygpt.verify.wrappers import block


def cause(layer, *inputs, tensor=None):
    """(name of the guess that found the cause or None, the sentence) of the only wrong tensor, or of `tensor`."""
    found = {}

    def recorded(fault):
        guesses = [guess.__name__ for guess in explain.GUESSES if next(guess(fault), "")]
        sentence = explain.likely_cause(fault)
        found[sentence] = guesses[0] if guesses and ";" in sentence else None
        return sentence

    with mock.patch.object(check, "likely_cause", recorded):
        failures = gradcheck(layer, *inputs).failures
    assert len(failures) == 1 if tensor is None else tensor in {failure.name for failure in failures}
    sentence = next(failure for failure in failures if tensor in (None, failure.name)).cause
    return found[sentence], sentence


class Wrong(Linear):
    """Linear with one fault in its backward."""

    def __init__(self, fault, d_in=4, d_out=3):
        super().__init__(d_in, d_out, rng=0)
        self.fault = fault

    def backward(self, dY):
        X2, dY2 = self.X.reshape(-1, self.d_in), dY.reshape(-1, self.d_out)
        dW, db, dX = X2.T @ dY2, dY2.sum(axis=0), dY2 @ self.W.T
        match self.fault:
            case "= for += in dW":
                self.dW = 0 * dW
            case "= for += in db":
                self.db = 0 * db
            case "= for += in a row":
                self.dW[1] = 0
            case "no dW":
                dW = 0
            case "no dX":
                dX = 0 * dX
            case "dX is dY":
                dX = dY
            case "half of dX":
                dX[:4] = 0
            case "mean over all":
                db = dY2.mean(axis=0)
            case "mean over the batch":
                db = dY.mean(axis=0).sum(axis=0)
            case "sign of dW":
                dW = -dW
            case "dW twice":
                dW = 2 * dW
            case "last row":
                db = dY2[-1]
            case "one sequence":
                dW = self.X[0].T @ dY[0]
            case "one position":
                db = dY[:, 2].sum(axis=0)
            case "transposed gradient":
                dW = dW.T
            case "W not transposed":
                dX = dY2 @ self.W
            case "residual missing":
                dX = dX - dY2
            case "residual twice":
                dX = dX + dY2
            case "NaN":
                dW[1, 2] = np.nan
            case "one entry":
                dW[1, 2] += 1
            case "one column":
                dW[:, 1] += [1, 2, -1, 3]
            case "noise":
                dW = dW + np.random.default_rng(0).standard_normal(dW.shape)
        self.dW += dW
        self.db += db
        return dX.reshape(self.X.shape)


@pytest.mark.parametrize(("fault", "guess", "values"), [
    ("= for += in dW", "overwritten", ["12 of 12", "`+=`"]),
    ("= for += in db", "overwritten", ["3 of 3", "`+=`"]),
    ("= for += in a row", "overwritten", ["3 of 12", "index 1 on axis 0", "`+=`"]),
    ("no dW", "never_written", ["12 of 12"]),
    ("no dX", "never_written", ["40 of 40"]),
    ("half of dX", "never_written", ["16 of 40"]),
    ("mean over all", "off_by_a_factor", ["3 of 3", "1/10", "10 rows"]),
    ("mean over the batch", "off_by_a_factor", ["3 of 3", "1/2"]),
    ("sign of dW", "off_by_a_factor", ["12 of 12", "sign"]),
    ("dW twice", "off_by_a_factor", ["12 of 12", " 2 times"]),
    ("last row", "rows_missing", ["row 9", "10 rows"]),
    ("one sequence", "rows_missing", ["index 0 of axis 0"]),
    ("one position", "rows_missing", ["index 2 of axis 1"]),
    ("NaN", None, ["1 of 12"]),
    ("one entry", None, ["1 of 12"]),
    ("one column", None, ["4 of 12", "index 1 on axis 1"]),
    ("noise", None, ["12 of 12"]),
], ids=lambda value: value if isinstance(value, str) else None)  # fmt: skip
def test_the_cause_of_a_fault(fault, guess, values, normal):
    found, sentence = cause(Wrong(fault), normal(2, 5, 4))
    assert found == guess and all(value in sentence for value in values)


@pytest.mark.parametrize(("fault", "guess", "values"), [
    ("transposed gradient", "transposed", []), ("W not transposed", "transposed", ["dY @ W ", "dY @ W.T"]),
    ("dX is dY", "a_path_missing", ["dY"]), ("residual missing", "a_path_missing", ["dY"]),
    ("residual twice", "a_path_missing", ["dY"]),
], ids=lambda value: value if isinstance(value, str) else None)  # fmt: skip
def test_causes_that_need_a_square_layer(fault, guess, values, normal):
    found, sentence = cause(Wrong(fault, 3, 3), normal(2, 5, 3))
    assert found == guess and all(value in sentence for value in values)


def test_one_or_two_entries_show_no_common_factor(normal):
    assert cause(Wrong("dW twice", 1, 2), normal(5, 1))[0] is None


class LastOneWins(Embedding):
    def backward(self, dY):
        self.dW[self.ids] += dY


class Overwriting(Embedding):
    """The last of the repeated ids wins, and the gradient from before is lost."""

    def backward(self, dY):
        self.dW[self.ids] = dY


@pytest.mark.parametrize(("layer", "ids", "guess", "values"), [
    (LastOneWins(4, 3), [[2, 0, 2], [1, 2, 2]], "rows_missing", ["3 of 12", "index 2 on axis 0", "np.add.at"]),
    (Overwriting(5, 3), [[2, 0], [1, 4]], "overwritten", ["12 of 15", "0, 1, 2, 4 on axis 0", "np.add.at"]),
    (Overwriting(4, 3), [[2, 0, 2], [1, 2, 2]], "rows_missing", ["9 of 12", "0 to 2 on axis 0", "np.add.at"]),
], ids=["added", "assigned", "assigned, repeated"])  # fmt: skip
def test_ids_that_overwrite_each_other(layer, ids, guess, values):
    found, sentence = cause(layer, np.array(ids))
    assert found == guess and all(value in sentence for value in values)


def wrong(layer, backward):
    """A layer of this kind with another backward."""
    return type("Other", (layer,), {"backward": backward})


def test_a_missing_upstream_gradient(normal):
    for layer in (wrong(ReLU, lambda self, dY: self.Y > 0)(), wrong(Dropout, lambda self, dY: self.mask)(0.4, rng=0)):
        assert cause(layer, normal(2, 6))[0] == "upstream_missing"
    unscaled = wrong(CrossEntropyLoss, lambda self, scale=1.0: CrossEntropyLoss.backward(self))
    assert cause(unscaled(), normal(3, 4), np.array([1, 0, 3]))[0] == "upstream_missing"
    assert cause(wrong(ReLU, lambda self, dY: 1.0 * (self.Y == 0))(), normal(2, 6))[0] != "upstream_missing"


def test_a_factor_of_an_input_is_not_called_a_mean(normal):
    """A factor of 1/2 for two rows: each row of an input has a gradient of its own, so nothing is averaged."""
    guess, sentence = cause(wrong(Dropout, lambda self, dY: dY * self.mask / 2)(0.5, rng=0), normal(2, 6))
    assert guess == "off_by_a_factor" and " 0.5 times" in sentence and "1/2" not in sentence


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 4, 4)])
def test_the_diagonal_of_a_jacobian(shape, normal):
    assert cause(wrong(Softmax, lambda self, dY: dY * self.Y * (1 - self.Y))(), normal(*shape))[0] == "own_entry_alone"


class OneMean(LayerNorm):
    """LayerNorm whose backward subtracts one of its two means, or none."""

    def __init__(self, size, subtracted):
        super().__init__(size)
        self.subtracted = subtracted

    def backward(self, dY):
        super().backward(dY)
        dXhat = dY * self.gamma
        if self.subtracted == "mean of dXhat":
            dXhat -= dXhat.mean(axis=-1, keepdims=True)
        if self.subtracted == "mean of dXhat Xhat":
            dXhat -= self.Xhat * (dXhat * self.Xhat).mean(axis=-1, keepdims=True)
        return dXhat * self.rstd


@pytest.mark.parametrize(("subtracted", "guess"), [
    ("", "rows_unbalanced"), ("mean of dXhat Xhat", "rows_unbalanced"), ("mean of dXhat", "rows_not_orthogonal")])
def test_rows_of_layer_norm_sum_to_zero_and_are_orthogonal_to_the_input(subtracted, guess, normal):
    found, sentence = cause(OneMean(5, subtracted), normal(2, 3, 5))
    assert found == guess and "30 of 30" in sentence and ("6 of 6" in sentence) == (guess == "rows_unbalanced")


def test_without_a_direction_that_changes_nothing_there_is_no_cause(normal):
    """A large eps: LayerNorm's gradient is not orthogonal to the input any more."""
    layer = OneMean(5, "mean of dXhat")
    layer.eps = 0.5
    assert cause(layer, normal(2, 3, 5))[0] is None


def rms(dX):
    """An RMSNorm whose dX is dX(self, dY, dX)."""
    return wrong(RMSNorm, lambda self, dY: dX(self, dY, RMSNorm.backward(self, dY)))(5)


def test_rows_of_rms_norm_are_orthogonal_to_the_input_and_need_not_sum_to_zero(normal):
    X = normal(2, 3, 5)
    assert cause(rms(lambda self, dY, dX: dX - dX.mean(axis=-1, keepdims=True)), X)[0] == "rows_unbalanced"
    assert cause(rms(lambda self, dY, dX: dY * self.gamma * self.rstd), X)[0] == "rows_not_orthogonal"


def test_a_block_without_the_path_around_its_branch_has_rows_that_sum_to_zero(normal):
    class NoWayAround(TransformerBlock):
        def backward(self, dY):
            dH = self.norm2.backward(self.ffn.backward(dY))
            return dH + self.norm1.backward(self.attn.backward(dH))

    layer = block(4, 2, 5)
    object.__setattr__(layer, "__class__", NoWayAround)
    guess, sentence = cause(layer, normal(2, 3, 4), tensor="X0")
    assert guess == "rows_unbalanced" and "path" in sentence


def test_rows_whose_target_is_ignored(normal):
    def counts_all(self, scale=1.0):
        return (CrossEntropyLoss.backward(self, scale) + (self.targets == -1).reshape(3, 1)).reshape(3, 4)

    X, targets = normal(3, 4), np.array([1, -1, -1])
    guess, sentence = cause(wrong(CrossEntropyLoss, counts_all)(), X, targets)
    assert guess == "rows_that_do_not_count" and "8 of 12" in sentence and "-1" in sentence


def test_a_factor_on_a_part(normal):
    def half(self, dY):
        dX = ReLU.backward(self, dY).copy()
        dX[..., 3:] *= 3
        return dX

    guess, sentence = cause(wrong(ReLU, half)(), normal(4, 6))
    assert guess == "part_off_by_a_factor" and " 3 times" in sentence


def test_rows_that_do_sum_to_zero_or_need_not(normal):
    def one_balanced(self, dY):  # row 0 does not sum to 0; row 1 does, and is wrong too
        dX = Softmax.backward(self, dY)
        dX[0] += self.Y[0]
        dX[1] *= 2
        return dX

    assert cause(wrong(Softmax, lambda self, dY: self.Y * (dY - (dY * self.Y).sum()))(), normal(2, 3))[0] == (
        "rows_unbalanced")
    assert cause(wrong(Softmax, one_balanced)(), normal(3, 4))[0] is None
    assert cause(wrong(ReLU, lambda self, dY: dY * self.Y)(), normal(3, 4))[0] != "rows_unbalanced"


class OffTheDiagonal(Module):
    """Y = X * W with a square W, whose gradient is wrong off the diagonal."""

    def __init__(self):
        self.param("W", np.ones((3, 3)))

    def forward(self, X):
        self.X = X
        return X * self.W

    def backward(self, dY):
        self.dW += (dY * self.X).sum(axis=0) * np.where(np.eye(3, dtype=bool), 1, self.X[0])
        return dY * self.W


def test_entries_off_the_diagonal(normal):
    guess, sentence = cause(OffTheDiagonal(), normal(2, 3, 3))
    assert guess is None and "6 of 9" in sentence and "off" in sentence


class Unscaled(MultiHeadAttention):
    def backward(self, dY):
        self.scale, scale = 1.0, self.scale
        dX = super().backward(dY)
        self.scale = scale
        return dX


def test_a_fault_of_the_queries_alone(normal):
    """The factor 1/sqrt(d_k) is missing for Q: the first third of the columns of W."""
    assert "36 of 108 entries are wrong, all those of index 0 to 5 on axis 1" in (
        cause(Unscaled(6, 2), normal(2, 5, 6), tensor=f"{PRODUCT}.W")[1])


class Root(Module):
    """Y = sqrt(X), which has no value below 0."""

    def forward(self, X):
        with np.errstate(invalid="ignore"):
            self.Y = np.sqrt(X)
        return self.Y

    def backward(self, dY):
        return np.nan_to_num(dY / (2 * self.Y))


def test_a_forward_that_is_not_finite_is_the_cause():
    guess, sentence = cause(Root(), np.array([4.0, -1.0, 9.0]))
    assert guess is None and "3 of 3" in sentence and "forward" in sentence


def test_correct_layers_have_no_cause(normal):
    for layer in (Wrong(None), LayerNorm(4)):
        report = gradcheck(layer, normal(2, 5, 4))
        assert report and not any(check.cause for check in report.checks)
        assert len(str(report).splitlines()) == 1 + len(report.checks)


def test_the_report_prints_the_cause_below_its_tensor(normal):
    report = gradcheck(Wrong("sign of dW"), normal(2, 5, 4))
    lines = str(report).splitlines()
    line = next(i for i, line in enumerate(lines) if "WRONG at" in line)
    assert lines[line].split()[0] == "W" and lines[line + 1].strip() == report.failures[0].cause
