"""gradcheck leaves the module as it was, is repeatable, names the wrong entry, and notices small faults."""

import numpy as np
import pytest
from parts import PRODUCT, product_of

from numpygpt.nn import Dropout, Embedding, FeedForward, LayerNorm, Linear, Module, MultiHeadAttention, ReLU
from numpygpt.verify import gradcheck


class OneWrongEntry(Linear):
    def backward(self, dY):
        dX = super().backward(dY)
        self.dW[2, 1] += 1.0
        return dX


class Difference(Module):
    """Two inputs: Y = A - B."""

    def forward(self, A, B):
        return A - B

    def backward(self, dY):
        return dY, -dY


class Swapped(Difference):
    def backward(self, dY):
        return -dY, dY


def test_the_wrong_tensor_and_entry_are_named(normal):
    report = gradcheck(OneWrongEntry(3, 2, rng=0), normal(4, 3))
    (failure,) = report.failures
    assert not report and (failure.name, failure.kind, failure.index, failure.entries) == ("W", "parameter", (2, 1), 6)
    assert failure.got == pytest.approx(failure.expected + 1)
    assert "OneWrongEntry: WRONG" in str(report) and "WRONG at [2, 1]" in str(report)
    network = FeedForward(3, 4)
    network.proj = OneWrongEntry(4, 3)
    assert [failure.name for failure in gradcheck(network, normal(2, 3)).failures] == ["proj.W"]


def test_a_correct_module(normal):
    report = gradcheck(Linear(3, 2, rng=0), normal(4, 3))
    assert report and report.ok and report.failures == () and report.entries == 20
    assert 0 < report.error < 1e-9, "far below the tolerance of 1e-6, or a fault could hide there"
    assert "WRONG" not in str(report)


def test_each_of_two_inputs_is_checked(normal):
    report = gradcheck(Difference(), normal(2, 3), normal(2, 3))
    assert report and [check.name for check in report.checks] == ["X0", "X1"]
    assert [check.name for check in gradcheck(Swapped(), normal(2, 3), normal(2, 3)).failures] == ["X0", "X1"]


def test_the_module_and_the_inputs_are_left_as_they_were(normal):
    network, X = FeedForward(3, 4, dropout=0.5, rng=0), np.ones((2, 3), np.float32)
    network(X)
    network.fc.dW += 1
    params, grads = network.state_dict(), {name: grad.copy() for name, grad in network.grads().items()}
    arrays, state, mask = network.params(), network.dropout.rng.bit_generator.state, network.dropout.mask
    assert gradcheck(network, X)
    assert network.dropout.rng.bit_generator.state == state and network.dropout.mask is mask
    for name, array in network.params().items():
        assert array is arrays[name] and array.dtype == np.float32
        np.testing.assert_array_equal(array, params[name])
        np.testing.assert_array_equal(network.grads()[name], grads[name])
    assert X.flags.writeable and X.dtype == np.float32 and (X == 1).all()


def test_equal_seeds_give_equal_reports(normal):
    layer, X = Linear(3, 2, rng=0), normal(4, 3)
    assert gradcheck(layer, X) == gradcheck(layer, X) != gradcheck(layer, X, seed=1)


def test_weights_are_drawn_again_unless_told_otherwise(normal):
    """With W = 0 the gradient of the input is 0."""
    layer = Linear(3, 2, std=0.0)
    same, drawn = gradcheck(layer, normal(4, 3), randomize=False), gradcheck(layer, normal(4, 3))
    assert same and drawn and same.checks[0].expected == 0 != drawn.checks[0].expected


def test_a_tolerance_below_rounding_fails(normal):
    assert not gradcheck(Linear(3, 2), normal(4, 3), tolerance=1e-17)


def test_dropout_keeps_its_mask_during_the_check(normal):
    assert gradcheck(Dropout(0.5), normal(6, 6))


@pytest.mark.parametrize("seed", [0, 1])
def test_the_upstream_gradient_differs_from_an_input_drawn_with_the_same_seed(seed):
    """If G equalled X, a mask made from the signs of dY would pass for one made from the signs of X."""

    class WrongMask(ReLU):
        def backward(self, dY):
            return dY * (dY > 0)

    X = np.random.default_rng(seed).standard_normal((3, 4))
    assert not gradcheck(WrongMask(), X, seed=seed) and gradcheck(ReLU(), X, seed=seed)


class After(Module):
    """A layer whose correct backward is followed by `change(layer, dX, dY, added)`, which returns dX.

    `added` holds, by name of the parameter, what backward has just added to the gradient.
    """

    def __init__(self, layer, change):
        self.layer, self.change = layer, change

    def forward(self, X):
        return self.layer(X)

    def backward(self, dY):
        before = {name: grad.copy() for name, grad in self.layer.grads().items()}
        dX = self.layer.backward(dY)
        added = {name: grad - before[name] for name, grad in self.layer.grads().items()}
        return self.change(self.layer, dX, dY, added)


def in_gradient(name, index, factor=1, term=0):
    """A change of a part of one gradient: `factor` times what was added, plus `term`."""

    def change(layer, dX, dY, added):
        layer.grads()[name][index] += (factor - 1) * added[name][index] + term
        return dX

    return change


def in_dX(index, factor):
    def change(layer, dX, dY, added):
        dX[index] *= factor
        return dX

    return change


def redrawn(layer, dX, dY, added):
    layer.forward(dY)
    return dY * layer.mask


def later_token(layer, dX, dY, added):
    return dX + 0.01 * np.pad(dY, ((0, 0), (1, 0), (0, 0)))[:, :-1]


def averaged(layer, dX, dY, added):
    for token, count in zip(*np.unique(layer.ids, return_counts=True), strict=True):
        layer.dW[token] += (1 / count - 1) * added["W"][token]


SMALL = {  # faults that no change of a single operation makes: in a part of a tensor, or small
    "an entry off by 1e-5": (lambda: Linear(4, 3), in_gradient("W", (1, 2), 1 + 1e-5)),
    "the sign of an entry": (lambda: Linear(4, 3), in_gradient("W", (1, 2), -1)),
    "NaN": (lambda: Linear(4, 3), in_gradient("W", (1, 2), term=np.nan)),
    "infinity": (lambda: Linear(4, 3), in_gradient("W", (1, 2), term=np.inf)),
    "NaN in dX": (lambda: Linear(4, 3), in_dX((0, 1, 1), np.nan)),
    "a sequence of dX": (ReLU, in_dX(1, 0)),
    "a gain": (lambda: LayerNorm(4), in_gradient("gamma", 0, 0)),
    "no scale in dropout": (lambda: Dropout(0.4, rng=0), lambda layer, dX, dY, _: dY * (layer.mask > 0)),
    "another mask of dropout": (lambda: Dropout(0.4, rng=0), redrawn),
    "a head": (lambda: MultiHeadAttention(4, 2, rng=0), in_gradient(f"{PRODUCT}.W", (slice(None), slice(2, 4)), 0)),
    "a later token": (lambda: MultiHeadAttention(4, 2, rng=0), later_token),
}


@pytest.mark.parametrize("name", SMALL)
def test_small_faults_are_noticed(name, normal):
    make, change = SMALL[name]
    assert gradcheck(After(make(), lambda layer, dX, *_: dX), normal(2, 5, 4))
    assert not gradcheck(After(make(), change), normal(2, 5, 4))


def test_gradients_of_a_repeated_id_that_are_averaged():
    ids = np.array([[4, 1, 1], [1, 4, 0]])
    assert gradcheck(Embedding(5, 3), ids) and not gradcheck(After(Embedding(5, 3), averaged), ids)


def test_a_fault_that_the_small_weights_of_a_new_model_would_hide(normal):
    """gradcheck draws weights of order one; with small ones the gradient of the keys is 0.001 of the others."""
    layer = MultiHeadAttention(6, 2)
    product_of(layer).W *= 1e-3
    assert not gradcheck(After(layer, in_gradient(f"{PRODUCT}.W", (slice(None), slice(6, 12)), 0)), normal(2, 4, 6))


class Returning(Linear):
    """Linear whose backward returns something else."""

    def __init__(self, change):
        super().__init__(4, 3, rng=0)
        self.change = change

    def backward(self, dY):
        return self.change(super().backward(dY))


@pytest.mark.parametrize(("change", "values"), [
    (lambda dX: None, ["None", "1"]), (lambda dX: (dX, dX), ["2", "1"]),
    (lambda dX: dX[:1], ["(1, 5, 4)", "(2, 5, 4)"]),
    (lambda dX: dX.reshape(-1, 4), ["(10, 4)", "(2, 5, 4)"]),
], ids=["none", "two", "one sequence", "rows"])  # fmt: skip
def test_a_wrong_number_or_shape_of_input_gradients_is_an_error(change, values, normal):
    with pytest.raises(ValueError, match=r"Returning\.backward") as raised:
        gradcheck(Returning(change), normal(2, 5, 4))
    assert all(value in str(raised.value) for value in values)


def test_a_gradient_for_integer_inputs_is_an_error():
    with pytest.raises(ValueError, match=r"ReLU\.backward.*1.*0"):
        gradcheck(ReLU(), np.array([1, -2]))


class Sum(Module):
    """Y = A + B, with B broadcast."""

    def forward(self, A, B):
        return A + B

    def backward(self, dY):
        return dY, dY


@pytest.mark.parametrize(("shape", "axes"), [((3, 1), "0 and 2"), ((4,), "0 and 1"), ((2, 1, 4), "1")])
def test_the_missing_sum_of_an_input_that_was_broadcast(shape, axes, normal):
    with pytest.raises(ValueError) as raised:
        gradcheck(Sum(), normal(2, 3, 4), normal(*shape))
    assert all(value in str(raised.value) for value in ("X1", "(2, 3, 4)", str(shape), f"axis {axes},"))


class Writing(Linear):
    """Linear that writes into what it was given, or adds an array of a wrong shape to a gradient."""

    def __init__(self, where):
        super().__init__(3, 3)
        self.where = where

    def forward(self, X):
        if self.where == "X in forward":
            X *= 2
        return super().forward(X)

    def backward(self, dY):
        match self.where:
            case "dY":
                dY *= 1.0
            case "X in backward":
                self.X += 1
            case "gradient":
                self.db += dY
            case "new gradient":
                self.db = self.db + dY
        return super().backward(dY)


@pytest.mark.parametrize("where", ["dY", "X in backward", "X in forward", "gradient", "new gradient"])
def test_writing_into_arguments_or_a_wrong_shape_is_an_error_with_a_note(where, normal):
    with pytest.raises(ValueError) as raised:
        gradcheck(Writing(where), normal(2, 3))
    assert [note for note in raised.value.__notes__ if "read-only" in note and "shape" in note]
    assert gradcheck(Writing(""), normal(2, 3))


class Cast(Linear):
    """Linear whose dX has another dtype, and is `factor` times the correct one."""

    def __init__(self, dtype, factor=1):
        super().__init__(4, 3, rng=0)
        self.dtype, self.factor = dtype, factor

    def backward(self, dY):
        return (self.factor * super().backward(dY)).astype(self.dtype)


def test_an_input_gradient_of_another_dtype_fails(normal):
    assert gradcheck(Cast("float64"), normal(5, 4))
    report = gradcheck(Cast("float32"), normal(5, 4))
    (failure,) = report.failures
    assert not report and report.error < report.tolerance and (failure.name, failure.dtype) == ("X0", "float32")
    (line,) = [line for line in str(report).splitlines() if "float32" in line]
    assert line.split()[0] == "X0" and "float64" in line
    (failure,) = gradcheck(Cast("float32", factor=2), normal(5, 4)).failures
    assert failure.dtype == "float32" and " 2 times" in failure.cause
