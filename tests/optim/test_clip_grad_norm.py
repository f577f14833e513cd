"""clip_grad_norm: the norm of all gradients together, scaled down and never up."""

import math

import numpy as np
import pytest

from numpygpt.nn import FeedForward, Linear
from numpygpt.optim import clip_grad_norm
from numpygpt.parallel.threads import DataParallel


def network(dtype="float64"):
    """3-4-12: gradients whose norm together is 13."""
    model = FeedForward(2, 3, rng=0, dtype=dtype)
    model.fc.dW[0, 1], model.proj.db[1], model.proj.dW[2, 0] = 3, -4, 12
    return model


@pytest.mark.parametrize("max_norm", [6.5, 1.0, 1e-3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_large_norm_is_scaled_to_the_limit_and_the_direction_stays(max_norm, dtype):
    model, before = network(dtype), network(dtype).grads()
    norm = clip_grad_norm(model, max_norm)
    assert type(norm) is float and norm == 13
    for name, grad in model.grads().items():
        assert grad.dtype == np.dtype(dtype)
        np.testing.assert_allclose(grad, before[name] * (max_norm / 13), rtol=1e-6 if dtype == "float32" else 1e-14)
    assert clip_grad_norm(model, math.inf) == pytest.approx(max_norm, rel=1e-6)


@pytest.mark.parametrize("max_norm", [13.0, 14.0, 1e9, math.inf])
def test_a_norm_within_the_limit_changes_nothing(max_norm):
    model = network()
    assert clip_grad_norm(model, max_norm) == 13
    for name, grad in model.grads().items():
        np.testing.assert_array_equal(grad, network().grads()[name])


def test_no_gradient_at_all_has_norm_zero():
    model = network()
    model.zero_grad()
    assert clip_grad_norm(model, 1.0) == 0.0
    assert not model.flat().grads.any()


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_a_norm_that_is_not_finite_is_returned_and_nothing_is_scaled(bad):
    model = network()
    model.fc.db[0] = bad
    assert not math.isfinite(clip_grad_norm(model, 1.0))
    assert model.proj.dW[2, 0] == 12 and model.fc.dW[0, 1] == 3


@pytest.mark.parametrize("max_norm", [0.0, -1.0, math.nan])
def test_the_limit_must_be_positive(max_norm):
    with pytest.raises(ValueError, match=f"max_norm.*{max_norm}"):
        clip_grad_norm(network(), max_norm)


def test_a_tied_gradient_is_counted_once(make_gpt):
    model = make_gpt()
    model.wte.dW[0, 0] = 2
    assert clip_grad_norm(model, 10.0) == 2


@pytest.mark.parametrize(("dtype", "size"), [
    ("float32", 1e20), ("float32", 3e38), ("float32", 1e-30), ("float32", 1e-44), ("float64", 1e200),
    ("float64", 1e-200), ("float16", 6e4), ("float16", 1e-6)])
@pytest.mark.parametrize("workers", [1, 2])
def test_the_norm_is_right_where_squares_overflow_or_vanish(dtype, size, workers):
    model = FeedForward(30, 40, rng=0, dtype=dtype)
    grads = model.flat().grads
    grads[:] = np.random.default_rng(0).uniform(-size, size, grads.shape)
    stored = grads.astype(np.float64) / size
    expected = size * math.sqrt(float((stored**2).sum()))
    with DataParallel(model, workers) as parallel, np.errstate(all="raise"):
        norm = clip_grad_norm(model, math.inf, parallel.map_slices)
    assert norm == pytest.approx(expected, rel=1e-6)
    if norm > 1:
        assert clip_grad_norm(model, 1.0) == norm
        np.testing.assert_allclose(grads, stored / (expected / size), rtol=1e-5, atol=1e-3 if dtype == "float16" else 0)


def test_gradients_of_1e20_have_the_norm_of_the_issue_and_can_be_trained_on(make_gpt):
    model = make_gpt(dtype="float32")
    model.flat().grads[:] = 1e20
    norm = clip_grad_norm(model, 1.0)
    assert norm == pytest.approx(1e20 * math.sqrt(model.n_params()), rel=1e-6)
    np.testing.assert_allclose(model.flat().grads, 1 / math.sqrt(model.n_params()), rtol=1e-5)


def test_an_ordinary_norm_is_the_sum_of_float32_dot_products_to_the_bit():
    """Runs that were made before repeat."""
    model = FeedForward(300, 400, rng=0)
    g = model.flat().grads
    g[:] = np.random.default_rng(0).standard_normal(g.shape)
    by_piece = [float(np.dot(g[i : i + (1 << 18)], g[i : i + (1 << 18)])) for i in range(0, len(g), 1 << 18)]
    assert len(g) < 1 << 18 and clip_grad_norm(model, math.inf) == math.sqrt(sum(by_piece))


@pytest.mark.parametrize("max_norm", [0.1, 1e3, np.inf])
def test_gradients_of_a_scaled_loss_are_divided_in_the_same_pass(max_norm):
    plain, scaled = (Linear(5, 4, rng=0) for _ in range(2))
    G = np.random.default_rng(1).standard_normal((5, 4)).astype(np.float32)
    plain.dW, scaled.dW = G, G * np.float32(2.0**20)
    assert clip_grad_norm(scaled, max_norm, scale=2.0**20) == pytest.approx(clip_grad_norm(plain, max_norm), rel=1e-6)
    np.testing.assert_allclose(scaled.dW, plain.dW, rtol=1e-6)


def test_a_scaled_gradient_that_overflowed_is_left_alone():
    layer = Linear(2, 2, rng=0)
    layer.dW = np.array([[1, np.inf], [3, 4]])
    assert clip_grad_norm(layer, 1.0, scale=1024.0) == np.inf
    np.testing.assert_array_equal(layer.dW, [[1, np.inf], [3, 4]])
