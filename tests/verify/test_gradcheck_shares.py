"""gradcheck tells what is missing in a gradient by what parts of the input and output should have in it."""

import numpy as np
import pytest

from numpygpt.nn import CrossEntropyLoss, Dropout, LayerNorm, ReLU, Softmax
from numpygpt.verify import gradcheck


def cause(layer, *inputs):
    (failure,) = gradcheck(layer, *inputs).failures
    return failure.cause


def wrong(layer, backward):
    """A layer of this kind whose backward is the function."""
    return type("Other", (layer,), {"backward": backward})


def test_a_mean_is_said_of_parameters_alone(normal):
    """A factor of 1/2 in dX, for two rows, is no mean: each row has a gradient of its own."""
    halved = wrong(Dropout, lambda self, dY: dY * self.mask / 2)(0.5, rng=0)
    assert cause(halved, normal(2, 6)).endswith(
        "; all are 0.5 times what they should be: a factor is missing or stands there twice")


def test_a_slope_without_the_upstream_gradient(normal):
    said = "; dY is missing: it is the slope alone"
    assert cause(wrong(ReLU, lambda self, dY: self.Y > 0)(), normal(2, 6)).endswith(said)
    assert cause(wrong(Dropout, lambda self, dY: self.mask)(0.4, rng=0), normal(2, 6)).endswith(said)
    assert "dY is missing" not in cause(wrong(ReLU, lambda self, dY: 1.0 * (self.Y == 0))(), normal(2, 6))


def test_a_loss_that_does_not_know_what_is_done_with_it(normal):
    unscaled = wrong(CrossEntropyLoss, lambda self, scale=1.0: CrossEntropyLoss.backward(self))
    assert cause(unscaled(), normal(3, 4), np.array([1, 0, 3])) == (
        "12 of 12 entries are wrong; backward's argument, the upstream gradient, is missing: all are to be multiplied "
        "by it")


BALANCE = ("its rows should sum to 0, as one number added to a row changes nothing: {} do not, a term is missing or "
           "wrong")


def test_the_diagonal_of_a_jacobian(normal):
    diagonal = wrong(Softmax, lambda self, dY: dY * self.Y * (1 - self.Y))()
    for shape in ((3,), (2, 3), (2, 4, 4)):
        assert cause(diagonal, normal(*shape)).endswith(
            " entries are wrong; it is what each entry does to its own output: what it does to the others is missing")


class OneMean(LayerNorm):
    """LayerNorm whose backward takes off one of its two means, or none."""

    def __init__(self, size, kept):
        super().__init__(size)
        self.kept = kept

    def backward(self, dY):
        super().backward(dY)
        dXhat = dY * self.gamma
        if self.kept == "that of dXhat":
            dXhat -= dXhat.mean(axis=-1, keepdims=True)
        if self.kept == "that of dXhat Xhat":
            dXhat -= self.Xhat * (dXhat * self.Xhat).mean(axis=-1, keepdims=True)
        return dXhat * self.rstd


@pytest.mark.parametrize(("kept", "said"), [("none", True), ("that of dXhat Xhat", True), ("that of dXhat", False)])
def test_the_mean_that_layernorm_takes_off_balances_a_row(normal, kept, said):
    assert cause(OneMean(5, kept), normal(2, 3, 5)) == (
        "30 of 30 entries are wrong" + f"; {BALANCE.format('6 of 6')}" * said)


def test_rows_that_should_sum_to_zero(normal):
    whole = wrong(Softmax, lambda self, dY: self.Y * (dY - (dY * self.Y).sum()))()
    assert cause(whole, normal(2, 3)) == f"6 of 6 entries are wrong; {BALANCE.format('2 of 2')}"

    def second_row(self, dY):
        dX = Softmax.backward(self, dY)
        dX[1] += self.Y[1]
        return dX

    assert cause(wrong(Softmax, second_row)(), normal(3, 4)).endswith(f"axis 0; {BALANCE.format('1 of 3')}")


def test_nothing_is_said_of_rows_that_do_sum_to_zero_or_need_not(normal):
    """A wrong row that is balanced, a right one that is not, and rows that are all 0."""

    def unbalanced_or_not(self, dY):
        dX = Softmax.backward(self, dY)
        dX[0] += self.Y[0]
        dX[1] *= 2
        return dX

    def all_rows(self, scale=1.0):
        return CrossEntropyLoss.backward(self, scale) + (self.kept == -1)[:, None] * scale

    class Kept(CrossEntropyLoss):
        def forward(self, X, targets):
            self.kept = targets
            return super().forward(X, targets)

    assert cause(wrong(Softmax, unbalanced_or_not)(), normal(3, 4)).endswith("of index 0, 1 on axis 0")
    assert cause(wrong(Kept, all_rows)(), normal(3, 4), np.array([1, -1, 3])).endswith("of index 1 on axis 0")
    assert BALANCE[:20] not in cause(wrong(ReLU, lambda self, dY: dY * self.Y)(), normal(3, 4))
