"""clip_grad_norm: the norm of all gradients together, scaled down and never up."""

import math

import numpy as np
import pytest

from numpygpt.nn import FeedForward
from numpygpt.optim import clip_grad_norm


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
    with pytest.raises(ValueError, match=f"max_norm must be above 0, got {max_norm}"):
        clip_grad_norm(network(), max_norm)


def test_a_tied_gradient_is_counted_once(make_gpt):
    model = make_gpt()
    model.wte.dW[0, 0] = 2
    assert clip_grad_norm(model, 10.0) == 2
