"""gradcheck leaves the module alone, is repeatable, and names the entry that is wrong."""

import numpy as np
import pytest

from numpygpt.nn import Dropout, FeedForward, Linear, Module, ReLU
from numpygpt.verify import gradcheck


class OneWrongEntry(Linear):
    def backward(self, dY):
        dX = super().backward(dY)
        self.dW[2, 1] += 1.0
        return dX


class InfiniteGradient(Linear):
    def backward(self, dY):
        dX = super().backward(dY)
        self.dW[2, 1] = np.inf
        return dX


class Difference(Module):
    """Two inputs: Y = A - B."""

    def forward(self, A, B):
        return A - B

    def backward(self, dY):
        return dY, -dY


class Exchanged(Difference):
    def backward(self, dY):
        return -dY, dY


def test_the_failing_tensor_and_entry_are_named(normal):
    report = gradcheck(OneWrongEntry(3, 2, rng=0), normal(4, 3))
    assert not report
    assert [failure.name for failure in report.failures] == ["W"]
    failure = report.failures[0]
    assert failure.kind == "parameter" and failure.index == (2, 1) and failure.entries == 6
    assert failure.got == pytest.approx(failure.expected + 1)
    assert "OneWrongEntry: WRONG" in str(report)
    assert "WRONG at [2, 1]: expected" in str(report)


def test_a_wrong_entry_deep_inside_has_its_dotted_name(normal):
    network = FeedForward(3, 4)
    network.proj = OneWrongEntry(4, 3)
    assert [failure.name for failure in gradcheck(network, normal(2, 3)).failures] == ["proj.W"]


def test_an_infinite_gradient_fails_without_a_warning(normal):
    assert not gradcheck(InfiniteGradient(3, 2, rng=0), normal(4, 3))


def test_a_right_module_says_so(normal):
    report = gradcheck(Linear(3, 2, rng=0), normal(4, 3))
    assert report and report.ok and report.failures == ()
    assert str(report).startswith("Linear: all right (20 entries)")
    assert 0 < report.error < 1e-9, "far below the tolerance of 1e-6, or a fault could hide there"


def test_each_of_two_inputs_is_checked(normal):
    report = gradcheck(Difference(), normal(2, 3), normal(2, 3))
    assert report and [check.name for check in report.checks] == ["X0", "X1"]
    assert [check.name for check in gradcheck(Exchanged(), normal(2, 3), normal(2, 3)).failures] == ["X0", "X1"]


def test_the_module_is_left_as_it_was(normal):
    network = FeedForward(3, 4, dropout=0.5, rng=0)
    network(normal(2, 3, dtype="float32"))
    network.fc.dW += 1
    params, grads = network.state_dict(), {name: grad.copy() for name, grad in network.grads().items()}
    arrays, state = network.params(), network.dropout.rng.bit_generator.state
    mask = network.dropout.mask
    assert gradcheck(network, normal(2, 3))
    assert network.dropout.rng.bit_generator.state == state
    assert network.dropout.mask is mask
    assert all(network.params()[name] is array for name, array in arrays.items())
    for name, array in network.params().items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, params[name])
        np.testing.assert_array_equal(network.grads()[name], grads[name])


def test_the_inputs_are_left_as_they_were():
    X = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    before = X.copy()
    assert gradcheck(Linear(3, 2), X)
    assert X.flags.writeable and X.dtype == np.float32
    np.testing.assert_array_equal(X, before)


def test_the_same_seed_gives_the_same_report_and_another_one_another(normal):
    layer, X = Linear(3, 2, rng=0), normal(4, 3)
    assert gradcheck(layer, X) == gradcheck(layer, X)
    assert gradcheck(layer, X) != gradcheck(layer, X, seed=1)


def test_weights_are_kept_on_request(normal):
    """With W = 0 the gradient of the input is 0, and only randomize=False sees that."""
    layer = Linear(3, 2, std=0.0)
    kept, drawn = gradcheck(layer, normal(4, 3), randomize=False), gradcheck(layer, normal(4, 3))
    assert kept and drawn
    assert kept.checks[0].name == drawn.checks[0].name == "X0"
    assert kept.checks[0].expected == 0 != drawn.checks[0].expected


def test_a_tolerance_below_rounding_fails(normal):
    assert not gradcheck(Linear(3, 2), normal(4, 3), tolerance=1e-17)


def test_dropout_keeps_its_mask_through_the_check(normal):
    assert gradcheck(Dropout(0.5), normal(6, 6)), "a mask drawn anew at each call would make noise of the differences"


def test_a_gradient_for_integer_inputs_is_an_error():
    with pytest.raises(ValueError, match="^ReLU.backward returned 1 gradients for 0 float inputs: ids have "
                                         "no gradient: return nothing$"):
        gradcheck(ReLU(), np.array([1, -2]))


class InPlace(Linear):
    """Linear that writes into what it was given."""

    def __init__(self, where):
        super().__init__(3, 3)
        self.where = where

    def forward(self, X):
        if self.where == "X in forward":
            X *= 2
        return super().forward(X)

    def backward(self, dY):
        if self.where == "dY":
            dY[...] = 0
        if self.where == "X in backward":
            self.X += 1
        return super().backward(dY)


@pytest.mark.parametrize(("where", "call"), [("dY", "backward"), ("X in backward", "backward"),
                                             ("X in forward", "forward")])
def test_what_was_given_may_not_be_changed(normal, where, call):
    with pytest.raises(ValueError) as said:
        gradcheck(InPlace(where), normal(2, 3))
    assert str(said.value) == (
        f"InPlace.{call} changes an array that it was given: dY and inputs may not be changed in place, as others use "
        "them too (they are read-only here); make a new array")
    assert "read-only" in str(said.value.__cause__)
    assert gradcheck(InPlace(""), normal(2, 3))


@pytest.mark.parametrize("seed", [0, 1])
def test_the_upstream_gradient_is_not_the_input_that_was_drawn_with_the_same_seed(seed):
    """With G = X a mask of the signs of dY passes for one of the signs of X."""

    class WrongMask(ReLU):
        def backward(self, dY):
            return dY * (dY > 0)

    X = np.random.default_rng(seed).standard_normal((3, 4))
    report = gradcheck(WrongMask(), X, seed=seed)
    assert not report.ok and gradcheck(ReLU(), X, seed=seed).ok
