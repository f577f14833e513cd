"""A gradient of another shape or dtype than its array: gradcheck says so, and which sum is missing."""

import numpy as np
import pytest

from numpygpt.nn import FeedForward, Linear, Module
from numpygpt.verify import gradcheck


class Scaled(Module):
    """Y = X g, with a g of any shape that broadcasts to X's; its gradient is what `backward` is given to add."""

    def __init__(self, shape, add):
        self.param("g", np.ones(shape))
        self.param("h", np.ones((2, 2)))
        self.add = add

    def forward(self, X):
        self.X = X
        return X * self.g * self.h[0, 0]

    def backward(self, dY):
        self.add(self, dY * self.X)
        return dY * self.g * self.h[0, 0]


def in_place(layer, dg):
    layer.dg += dg


def anew(layer, dg):
    layer.dg = layer.dg + dg


@pytest.mark.parametrize("add", [in_place, anew])
@pytest.mark.parametrize(("shape", "x", "axes"), [
    ((4,), (3, 4), "axis 0"), ((4,), (2, 3, 4), "the axes 0 and 1"), ((3, 4), (2, 3, 4), "axis 0"),
    ((3, 1), (3, 4), "axis 1"), ((3, 1), (2, 3, 4), "the axes 0 and 2"), ((), (3, 4), "the axes 0 and 1"),
    ((1, 1, 1), (2, 3, 4), "the axes 0, 1 and 2"),
])  # fmt: skip
def test_a_sum_that_is_left_out_whole(normal, add, shape, x, axes):
    with pytest.raises(ValueError) as said:
        gradcheck(Scaled(shape, add), normal(*x))
    assert str(said.value) == (
        f"Scaled.backward puts an array of shape {x} into the gradient of g, of shape {shape}: a gradient has the "
        f"shape of its array, and the sum over {axes}, along which it was broadcast, is missing")


@pytest.mark.parametrize(("shape", "got"), [((4,), (4, 1)), ((4,), (5,)), ((4, 5), (4,)), ((2, 3), (2, 2, 2))])
def test_of_a_shape_that_no_broadcast_makes_the_rule_alone_is_said(normal, shape, got):
    def add(layer, dg):
        layer.dg = np.zeros(got)

    x = (2, 3) if shape == (2, 3) else (3, *shape)
    with pytest.raises(ValueError, match=r"of g, of shape \(.*\): a gradient has the shape of its array$"):
        gradcheck(Scaled(shape, add), normal(*x))


class WithoutSum(Linear):
    def backward(self, dY):
        self.db += dY
        return super().backward(dY)


def test_the_parameter_of_a_layer_inside_is_named_and_each_where_it_may_be_one_of_two(normal):
    network = FeedForward(3, 4)
    network.proj = WithoutSum(4, 3)
    with pytest.raises(ValueError, match=r"^FeedForward.backward puts .* \(2, 3\) into the gradient of proj.b, "):
        gradcheck(network, normal(2, 3))
    network.fc = Linear(3, 3)
    network.proj = WithoutSum(3, 3)
    with pytest.raises(ValueError, match=r"b.*b.*\(3,\)"):
        gradcheck(network, normal(2, 3))


def test_other_errors_of_a_backward_pass_are_left_as_they_are(normal):
    def own(layer, dg):
        total = np.zeros(7)
        total += np.zeros((2, 7))

    def ours(layer, dg):
        raise np.linalg.LinAlgError("ours")

    with pytest.raises(ValueError, match=r"^non-broadcastable output operand with shape \(7,\)"):
        gradcheck(Scaled((4,), own), normal(3, 4))
    with pytest.raises(np.linalg.LinAlgError, match="^ours$"):
        gradcheck(Scaled((4,), ours), normal(3, 4))


class Sum(Module):
    """Y = A + B, with B broadcast."""

    def forward(self, A, B):
        return A + B

    def backward(self, dY):
        return dY, dY


def test_an_input_that_was_broadcast(normal):
    with pytest.raises(ValueError) as said:
        gradcheck(Sum(), normal(2, 3, 4), normal(3, 1))
    assert str(said.value) == (
        "Sum.backward returned dX1 of shape (2, 3, 4), but X1 has shape (3, 1): a gradient has the shape of its "
        "tensor, and the sum over the axes 0 and 2, along which it was broadcast, is missing")


class Cast(Linear):
    """Linear whose dX is of another dtype, and wrong by `off` of it."""

    def __init__(self, dtype, off=0.0):
        super().__init__(4, 3, rng=0)
        self.dtype, self.off = dtype, off

    def backward(self, dY):
        return ((1 + self.off) * super().backward(dY)).astype(self.dtype)


def test_an_input_gradient_of_another_dtype_fails_though_its_numbers_are_right(normal):
    assert gradcheck(Cast("float64"), normal(5, 4))
    report = gradcheck(Cast("float32"), normal(5, 4))
    assert not report and report.error < report.tolerance
    (failure,) = report.failures
    assert (failure.name, failure.dtype) == ("X0", "float32")
    said = ("backward returned dX0 in float32 for a float64 X0: dtype in, dtype out (look for a cast, or an array that "
            "is made without the dtype of its operand)")
    assert failure.cause == said
    lines = str(report).splitlines()
    assert lines[1].startswith("  X0 ") and lines[1].endswith("   WRONG dtype: expected float64, got float32")
    assert lines[2] == "    " + said and "WRONG" not in "".join(lines[3:])


def test_wrong_numbers_are_said_before_a_wrong_dtype(normal):
    (failure,) = gradcheck(Cast("float32", off=1.0), normal(5, 4)).failures
    assert failure.dtype == "float32" and failure.cause.startswith("20 of 20 entries are wrong; all are 2 times")
