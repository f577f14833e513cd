"""The formulas against numbers worked out by hand, and where floating point could go wrong."""

import math

import numpy as np
import pytest

from numpygpt.nn import functional as F


def test_softmax_of_logarithms_is_their_shares():
    X = np.log([[1.0, 2.0, 5.0], [3.0, 3.0, 2.0]])
    np.testing.assert_allclose(F.softmax(X), [[0.125, 0.25, 0.625], [0.375, 0.375, 0.25]], rtol=1e-15)


def test_softmax_of_huge_and_masked_scores_is_finite():
    X = np.array([[1e30, 0, -1e30], [-1e30, -1e30, -1e30], [0, -np.inf, 0]], np.float32)
    np.testing.assert_array_equal(F.softmax(X)[[0, 2]], [[1, 0, 0], [0.5, 0, 0.5]])
    np.testing.assert_allclose(F.softmax(X)[1], 1 / 3, rtol=1e-6)


def test_softmax_lse_overwrites_its_argument_and_gives_the_log_of_the_sum():
    X = np.log([[1.0, 3.0], [5e8, 15e8]])
    P, lse = F.softmax_lse(X)
    assert P is X
    np.testing.assert_allclose(P, [[0.25, 0.75]] * 2, rtol=1e-14)
    np.testing.assert_allclose(lse, [[math.log(4)], [math.log(2e9)]], rtol=1e-15)


def test_rows_of_the_softmax_gradient_sum_to_zero(normal):
    """Adding a constant to a row of X changes no output, so dX along (1, 1, ..) is 0."""
    Y = F.softmax(normal(4, 6))
    dX = F.softmax_backward(normal(4, 6), Y)
    assert np.abs(dX).max() > 0.05
    np.testing.assert_allclose(dX.sum(axis=-1), 0, atol=1e-15)


def test_cross_entropy_by_hand():
    logits = np.log([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [0.2, 0.2, 0.6]])
    total, P = F.cross_entropy(logits.copy(), np.array([1, 2, -1]))
    assert total == pytest.approx(math.log(4) + math.log(1.25))
    np.testing.assert_allclose(P, np.exp(logits), rtol=1e-14)
    dlogits = F.cross_entropy_backward(P, np.array([1, 2, -1]))
    np.testing.assert_allclose(dlogits, [[0.5, -0.75, 0.25], [0.1, 0.1, -0.2], [0, 0, 0]], atol=1e-15)


def test_an_infinite_loss_of_an_ignored_target_counts_for_nothing():
    """An ignored row reads index 0, whose logit may be forbidden."""
    logits = np.array([[-np.inf, 1.0, 2.0], [0.0, 1.0, 2.0]])
    total, P = F.cross_entropy(logits, np.array([-1, 1]))
    assert total == pytest.approx(np.log(np.exp([0, 1, 2]).sum()) - 1)
    assert np.isfinite(F.cross_entropy_backward(P, np.array([-1, 1]))).all()


def test_rows_of_the_cross_entropy_gradient_sum_to_zero(normal):
    targets = np.array([0, 5, -1, 2])
    _, P = F.cross_entropy(normal(4, 6).copy(), targets)
    np.testing.assert_allclose(F.cross_entropy_backward(P, targets).sum(axis=-1), 0, atol=1e-15)


def test_cross_entropy_of_a_hopeless_and_of_a_certain_target():
    total, _ = F.cross_entropy(np.array([[1000.0, 0.0]]), np.array([1]))
    assert total == 1000.0
    total, _ = F.cross_entropy(np.array([[1000.0, 0.0]]), np.array([0]))
    assert total == 0.0


@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 4), (700, 500), (2, 300_000)])
def test_gelu_is_its_formula_in_pieces_of_any_size(shape, normal):
    X = 3 * normal(*shape)
    Y, slope = F.gelu(X)
    s, c = math.sqrt(2 / math.pi), 0.044715
    tanh = np.tanh(s * (X + c * X**3))
    np.testing.assert_allclose(Y, 0.5 * X * (1 + tanh), rtol=1e-12, atol=1e-15)
    expected = 0.5 * (1 + tanh) + 0.5 * X * (1 - tanh**2) * s * (1 + 3 * c * X**2)
    np.testing.assert_allclose(slope, expected, rtol=1e-12, atol=1e-14)


def test_gelu_takes_arrays_in_any_memory_order(normal):
    X, dY = normal(4, 6), normal(4, 6)
    Y, slope = F.gelu(X)
    dX = F.gelu_backward(dY, slope)
    Yt, slope_t = F.gelu(np.asfortranarray(X))
    np.testing.assert_array_equal(Yt, Y)
    np.testing.assert_array_equal(F.gelu_backward(np.asfortranarray(dY), slope_t), dX)
    Ys, slope_s = F.gelu(X[:, ::2])
    np.testing.assert_array_equal(Ys, Y[:, ::2])
    np.testing.assert_array_equal(F.gelu_backward(dY[:, ::2], slope_s), dX[:, ::2])


def test_gelu_far_from_zero_is_the_identity_or_nothing():
    X = np.array([-1e4, -50, 50, 1e4], np.float32)
    Y, slope = F.gelu(X)
    np.testing.assert_array_equal(Y, [0, 0, 50, 1e4])
    np.testing.assert_array_equal(F.gelu_backward(np.ones_like(X), slope), [0, 0, 1, 1])


def test_relu_and_its_gradient_by_hand():
    Y = F.relu(np.array([-1.0, 0.0, 2.0]))
    assert Y.tolist() == [0, 0, 2]
    assert F.relu_backward(np.array([5.0, 6.0, 7.0]), Y).tolist() == [0, 0, 7], "the slope at 0 is taken as 0"


def test_leaky_relu_and_its_gradient_by_hand():
    Y = F.leaky_relu(np.array([-1.0, 0.0, 2.0]), 0.25)
    assert Y.tolist() == [-0.25, 0, 2]
    assert F.leaky_relu_backward(np.array([4.0, 8.0, 7.0]), Y, 0.25).tolist() == [1, 2, 7], "the slope at 0 is a"


def test_silu_and_its_slope_by_hand():
    """At log 3 the logistic function is 3/4, at -log 3 it is 1/4."""
    Y, slope = F.silu(np.array([0.0, np.log(3), -np.log(3)]))
    np.testing.assert_allclose(Y, [0, 0.75 * np.log(3), -0.25 * np.log(3)], rtol=1e-14)
    np.testing.assert_allclose(slope, [0.5, 0.75 * (1 + 0.25 * np.log(3)), 0.25 * (1 - 0.75 * np.log(3))], rtol=1e-14)


@pytest.mark.parametrize(("n", "width", "entries", "expected"), [
    (10, 3, 12, [(0, 4), (4, 8), (8, 10)]), (4, 100, 10, [(0, 1), (1, 2), (2, 3), (3, 4)]), (0, 3, 12, []),
    (3, 0, 2, [(0, 2), (2, 3)]), (5, 1, 100, [(0, 5)]),
])
def test_pieces_cover_every_row_once(n, width, entries, expected):
    rows = np.arange(n)
    cut = [rows[s].tolist() for s in F.row_slices(n, width, entries)]
    assert cut == [list(range(a, b)) for a, b in expected]


def test_rows_merges_the_axes_before_the_last_without_a_copy(normal):
    X = normal(2, 3, 4)
    assert F.rows(X).shape == (6, 4) and np.shares_memory(F.rows(X), X)
    assert F.rows(X[0, 0]).shape == (1, 4)
