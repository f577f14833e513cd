"""Hyper-parameters and dtypes that cannot work together are refused with their values; underflow is no error."""

import math

import numpy as np
import pytest

from numpygpt.models import GPT
from numpygpt.nn import Linear
from numpygpt.optim import SGD, Adam, AdamW, clip_grad_norm
from numpygpt.optim.lr_scheduler import WarmupCosineLR


def linear(dtype="float32"):
    return Linear(3, 4, rng=0, dtype=dtype)


REFUSED = {
    "float16, AdamW": (lambda: AdamW(linear("float16")), "float16.*float32"),
    "float16, SGD": (lambda: SGD(linear("float16")), "float16.*float32"),
    "float16 by astype": (lambda: Adam(linear().astype("float16")), "float16.*float32"),
    "eps is 0": (lambda: AdamW(linear(), eps=1e-50), "eps 1e-50 is 0 in float32"),
    "eps below what squares can be": (lambda: AdamW(linear(), eps=1e-30), "eps 1e-30 .* float32"),
    "eps infinite": (lambda: AdamW(linear(), eps=math.inf), "eps .*inf"),
    "beta2 is 1": (lambda: Adam(linear(), betas=(0.9, 1 - 1e-9)), "beta2 0.999999999 is 1 in float32"),
    "beta1 is 1": (lambda: Adam(linear(), betas=(1 - 1e-9, 0.9)), "beta1 0.999999999 is 1 in float32"),
    "momentum is 1": (lambda: SGD(linear(), momentum=1 - 1e-9), "momentum 0.999999999 is 1 in float32"),
    "lr beyond float32": (lambda: SGD(linear(), lr=1e39), r"lr 1e\+39 is inf in float32"),
    "decay that grows": (lambda: AdamW(linear(), lr=1e-3, weight_decay=1e9), r"1e\+06"),
    "decay infinite": (lambda: AdamW(linear(), weight_decay=math.inf), "weight_decay .*inf"),
    "decay that grows at the schedule's peak": (
        lambda: WarmupCosineLR(AdamW(linear(), lr=0.1, weight_decay=3.0), 1, 2, max_lr=1.0), "3.0"),
    "max_norm NaN": (lambda: clip_grad_norm(linear(), math.nan), "nan"),
}


@pytest.mark.parametrize(("make", "values"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_work_is_refused_with_its_values(make, values):
    with pytest.raises(ValueError, match=values):
        make()


@pytest.mark.parametrize("lr", [math.nan, -1.0, math.inf, "0.1", None, True])
def test_a_learning_rate_is_checked_when_it_is_set(lr):
    optimizer = SGD(linear(), 0.5)
    with pytest.raises(ValueError, match="lr"):
        optimizer.lr = lr
    assert optimizer.lr == 0.5


@pytest.mark.parametrize("make", [
    lambda m: AdamW(m, eps=1e-50), lambda m: Adam(m, betas=(0.9, 1 - 1e-9)), lambda m: SGD(m, momentum=1 - 1e-9),
    lambda m: SGD(m, lr=1e39)])
def test_float64_has_room_for_what_float32_has_not(make):
    optimizer = make(linear("float64"))
    optimizer.step()
    assert np.isfinite(optimizer.flat.params).all()


@pytest.mark.parametrize("size", [1e-30, 1e-22, 1e-19, 1e-8, 1.0, 1e18])
@pytest.mark.parametrize("eps", [2e-19, 1e-8])
def test_an_adam_step_is_at_most_about_lr_whatever_the_gradients_size(size, eps):
    """With too small an eps, a gradient whose square is 0 would take a huge step."""
    model = linear()
    before = model.state_dict()
    optimizer = Adam(model, lr=0.01, eps=eps)
    model.dW[...] = size
    optimizer.step()
    assert np.abs(model.W - before["W"]).max() <= 0.0101


def test_a_float16_model_computes_and_its_trained_values_come_from_float32():
    model = GPT(vocab_size=11, max_len=6, d_model=8, n_heads=2, n_layers=2, dtype="float16", seed=1)
    x, y = np.random.default_rng(0).integers(0, 11, (2, 4, 6))
    assert model.loss(x, y) == pytest.approx(math.log(11), rel=0.01)
    assert model.generate(x[:, :2], 3, temperature=0).shape == (4, 5)
    before = model.state_dict()
    with pytest.raises(ValueError, match="float16"):
        AdamW(model)
    for name, param in model.params().items():
        np.testing.assert_array_equal(param, before[name])
    model.astype("float32")
    optimizer = AdamW(model, 1e-2)
    for _ in range(20):
        model.loss(x, y)
        model.backward()
        optimizer.step()
        optimizer.zero_grad()
    loss = model.loss(x, y)
    assert loss < 2 and model.astype("float16").loss(x, y) == pytest.approx(loss, rel=0.02)


@pytest.mark.parametrize("dtype", ["int32", "complex64", "bool", "float8", np.longdouble, ">f4", object,
                                   np.int64, "S4"])
def test_other_dtypes_are_refused_everywhere(dtype):
    for make in (lambda: GPT(vocab_size=11, max_len=6, d_model=8, n_heads=2, n_layers=1, dtype=dtype),
                 lambda: linear(dtype), lambda: linear().astype(dtype),
                 lambda: GPT(vocab_size=11, max_len=6, d_model=8, n_heads=2, n_layers=1).astype(dtype)):
        with pytest.raises(ValueError, match="float32"):
            make()


# -- harmless underflow ------------------------------------------------------------------------------------------------

OPTIMIZERS = {"SGD": lambda m: SGD(m, 1e-2, 0.5), "Adam": lambda m: Adam(m, 1e-3, (0.5, 0.6)),
              "AdamW": lambda m: AdamW(m, 1e-3, (0.5, 0.6), weight_decay=0.1)}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_moments_that_shrink_to_zero_raise_nothing(make):
    """Token 9 occurs once: afterwards its moments shrink through the subnormal numbers to 0."""
    model = GPT(vocab_size=11, max_len=6, d_model=8, n_heads=2, n_layers=1, tie_weights=False, dropout=0.1, seed=1)
    optimizer = make(model)
    first, later = np.full((2, 2, 6), 9), np.random.default_rng(0).integers(0, 9, (2, 2, 6))
    moments = [getattr(optimizer, moment) for moment in optimizer.moments]
    with np.errstate(all="raise"):
        for x, y in [first, *[later] * 400]:
            model.loss(x, y)
            model.backward()
            clip_grad_norm(model, 1.0)
            optimizer.step()
            optimizer.zero_grad()
    place = optimizer.flat.layout["wte.W"][0]
    row = slice(place.start + 9 * 8, place.start + 10 * 8)
    assert all(np.abs(m[row]).max() < 1e-37 for m in moments)


def test_real_overflow_still_raises():
    model = linear()
    optimizer = Adam(model)
    model.dW[...] = 3e38
    with np.errstate(all="raise"), pytest.raises(FloatingPointError):
        optimizer.step()


def test_tiny_gradients_are_clipped_and_applied():
    model = linear()
    optimizer = AdamW(model)
    model.dW[...], model.db[...] = 1e-44, 1e-30
    with np.errstate(all="raise"):
        assert clip_grad_norm(model, 1e-40) == pytest.approx(2e-30)
        optimizer.step()
