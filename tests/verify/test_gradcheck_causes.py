"""gradcheck says why a gradient is wrong where the numbers show it, and nothing where they do not."""

import numpy as np
import pytest

from numpygpt.nn import Embedding, LayerNorm, Linear, Module, MultiHeadAttention, TransformerBlock
from numpygpt.verify import gradcheck


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
            case "NaN":
                dW[1, 2] = np.nan
            case "one entry":
                dW[1, 2] += 1
            case "one column":
                dW[:, 1] += [1, 2, -1, 3]
            case "three columns":
                dW[:, 1:4] += X2[:4].T[:, :3]
            case "noise":
                dW = dW + np.random.default_rng(0).standard_normal(dW.shape)
        self.dW += dW
        self.db += db
        return dX.reshape(self.X.shape)


def cause(layer, *inputs, tensor=None):
    failures = gradcheck(layer, *inputs).failures
    assert len(failures) == 1 if tensor is None else tensor in {failure.name for failure in failures}
    return next(failure for failure in failures if tensor in (None, failure.name)).cause


CAUSES = {
    "= for += in dW": "12 of 12 entries are wrong; the gradient that was there before is gone: `=` stands where `+=` "
                      "belongs",
    "= for += in db": "3 of 3 entries are wrong; the gradient that was there before is gone: `=` stands where `+=` "
                      "belongs",
    "no dW": "12 of 12 entries are wrong; backward gives 0 here: nothing is added to it",
    "no dX": "40 of 40 entries are wrong; backward gives 0 here: nothing is returned for it",
    "half of dX": "16 of 40 entries are wrong; the wrong ones are 0 in backward: nothing is added to them",
    "mean over all": "3 of 3 entries are wrong; all are 1/10 of what they should be: a mean over 10 rows in place of "
                     "a sum",
    "mean over the batch": "3 of 3 entries are wrong; all are 1/2 of what they should be: a mean over 2 rows in place "
                           "of a sum",
    "sign of dW": "12 of 12 entries are wrong; the sign is flipped",
    "dW twice": "12 of 12 entries are wrong; all are 2 times what they should be: a factor is missing or stands there "
                "twice",
    "last row": "3 of 3 entries are wrong; only row 9 of the 10 rows of dY is in it: the sum over the rows is missing",
    "one sequence": "12 of 12 entries are wrong; only index 0 of axis 0 of dY is in it: the sum over the 2 of that "
                    "axis is missing",
    "one position": "3 of 3 entries are wrong; only index 2 of axis 1 of dY is in it: the sum over the 5 of that axis "
                    "is missing",
    "NaN": "1 of 12 entries are not finite",
    "one entry": "1 of 12 entries are wrong",
    "one column": "4 of 12 entries are wrong, all those of index 1 on axis 1",
    "noise": "12 of 12 entries are wrong",
}


@pytest.mark.parametrize(("fault", "expected"), CAUSES.items(), ids=CAUSES)
def test_the_cause_of_a_fault(fault, expected, normal):
    assert cause(Wrong(fault), normal(2, 5, 4)) == expected


def test_a_run_of_columns_is_named_as_one(normal):
    assert cause(Wrong("three columns", d_out=6), normal(2, 5, 4)) == (
        "12 of 24 entries are wrong, all those of index 1 to 3 on axis 1")


def test_a_transposed_gradient_and_a_transposed_factor_of_it(normal):
    X = normal(2, 5, 3)
    assert cause(Wrong("transposed gradient", 3, 3), X).endswith("; it is the transpose of what it should be")
    assert cause(Wrong("dX is dY", 3, 3), X).endswith("; it is dY as it came: what the layer does to its input is "
                                                      "missing")
    assert cause(Wrong("W not transposed", 3, 3), X) == (
        "30 of 30 entries are wrong; it is dY @ W and should be dY @ W.T: a factor is transposed, or the two are "
        "exchanged")


class LastOneWins(Embedding):
    def backward(self, dY):
        self.dW[self.ids] += dY


def test_repeated_ids_that_overwrite_each_other():
    ids = np.array([[2, 0, 2], [1, 2, 2]])
    assert cause(LastOneWins(4, 3), ids) == (
        "3 of 12 entries are wrong, all those of index 2 on axis 0; of an id that occurs several times only the last "
        "place is in it: `dW[ids] += ..` keeps one, np.add.at sums them")


class Overwriting(Embedding):
    """Of repeated ids the last wins, and of all the gradient from before is lost."""

    def backward(self, dY):
        self.dW[self.ids] = dY


def test_a_part_that_is_overwritten():
    """The rows of ids that did not occur keep what was there, and are right."""
    assert cause(Overwriting(5, 3), np.array([[2, 0], [1, 4]])) == (
        "12 of 15 entries are wrong, all those of index 0, 1, 2, 4 on axis 0; the gradient that was there before is "
        "gone in these: `=` stands where `+=` belongs, or np.add.at where ids may repeat")
    assert cause(Overwriting(4, 3), np.array([[2, 0, 2], [1, 2, 2]])) == (
        "9 of 12 entries are wrong, all those of index 0 to 2 on axis 0; of an id that occurs several times only the "
        "last place is in it, and the gradient that was there before is gone: `dW[ids] = ..` overwrites, np.add.at "
        "adds and sums")


def test_rows_that_are_overwritten_without_ids(normal):
    assert cause(Wrong("= for += in a row"), normal(2, 5, 4)) == (
        "3 of 12 entries are wrong, all those of index 1 on axis 0; the gradient that was there before is gone in "
        "these: `=` stands where `+=` belongs")


class WithoutResidual(TransformerBlock):
    def backward(self, dY):
        return super().backward(dY) - dY


class ResidualTwice(TransformerBlock):
    def backward(self, dY):
        return super().backward(dY) + dY


def test_a_path_around_the_layer(normal):
    X = normal(2, 5, 6)
    assert "dY itself is missing from the sum" in cause(WithoutResidual(6, 2), X)
    assert "dY itself is in the sum once too often" in cause(ResidualTwice(6, 2), X)


class OffTheDiagonal(Module):
    """Y = X * W with a square W, whose gradient is written on the diagonal alone, and doubled elsewhere."""

    def __init__(self):
        self.param("W", np.ones((3, 3)))

    def forward(self, X):
        self.X = X
        return X * self.W

    def backward(self, dY):
        dW = (dY * self.X).sum(axis=0)
        self.dW += dW * np.where(np.eye(3, dtype=bool), 1, self.X[0])
        return dY * self.W


def test_entries_off_the_diagonal(normal):
    assert cause(OffTheDiagonal(), normal(2, 3, 3)) == "6 of 9 entries are wrong, all those off the diagonal"


class Unscaled(MultiHeadAttention):
    def backward(self, dY):
        self.scale, kept = 1.0, self.scale
        dX = super().backward(dY)
        self.scale = kept
        return dX


def test_a_part_of_a_tensor_that_belongs_to_the_queries(normal):
    """1/sqrt(d_k) is missing for Q alone: the first third of the columns of W."""
    assert cause(Unscaled(6, 2), normal(2, 5, 6), tensor="qkv.W") == (
        "36 of 108 entries are wrong, all those of index 0 to 5 on axis 1")


class Root(Module):
    """Y = sqrt(X), of which nothing is known below 0."""

    def forward(self, X):
        with np.errstate(invalid="ignore"):
            self.Y = np.sqrt(X)
        return self.Y

    def backward(self, dY):
        return np.nan_to_num(dY / (2 * self.Y))


def test_a_forward_that_is_not_finite_is_what_is_said(normal):
    assert cause(Root(), np.array([4.0, -1.0, 9.0])) == (
        "3 of 3 finite differences are not finite: look at what the forward pass gives for these inputs")


def test_right_layers_have_no_cause_and_the_report_no_line_for_it(normal):
    for layer in (Wrong(None), LayerNorm(4)):
        report = gradcheck(layer, normal(2, 5, 4))
        assert report and not any(check.cause for check in report.checks)
        assert len(str(report).splitlines()) == 1 + len(report.checks)


def test_the_report_prints_the_cause_below_its_tensor(normal):
    lines = str(gradcheck(Wrong("sign of dW"), normal(2, 5, 4))).splitlines()
    place = next(i for i, line in enumerate(lines) if "WRONG at" in line)
    assert lines[place].lstrip().startswith("W ") and lines[place + 1] == "    " + CAUSES["sign of dW"]


def test_a_single_entry_is_no_ratio(normal):
    """Of one or two numbers it cannot be said that all are off by one factor."""
    assert cause(Wrong("dW twice", 1, 2), normal(5, 1)) == "2 of 2 entries are wrong"
