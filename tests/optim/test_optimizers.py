"""SGD, Adam and AdamW against their formulas, written here once more for one number at a time."""

import math

import numpy as np
import pytest

from numpygpt.nn import Linear
from numpygpt.optim import SGD, Adam, AdamW, optimizer


def sgd(p, gradients, lr, momentum):
    v = 0.0
    for g in gradients:
        v = momentum * v + g
        p = p - lr * v
    return p


def adam(p, gradients, lr, beta1, beta2, eps, decay=0.0):
    m = v = 0.0
    for t, g in enumerate(gradients, start=1):
        p = p - lr * decay * p
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        mhat, vhat = m / (1 - beta1**t), v / (1 - beta2**t)
        p = p - lr * mhat / (math.sqrt(vhat) + eps)
    return p


SGDS = {"plain": (0.1, 0.0), "momentum": (0.05, 0.9)}
ADAMS = {  # lr, betas, eps
    "defaults": (1e-3, (0.9, 0.999), 1e-8),
    "others": (0.1, (0.5, 0.7), 1e-2),
    "no memory": (0.1, (0.0, 0.0), 1e-4),
}


def run(make, lively, steps=5):
    """(model, its parameters before, the gradients of each step by name) after `steps` updates by random gradients."""
    model = lively(Linear(3, 4, dtype="float64"))
    before, history, rng = model.state_dict(), [], np.random.default_rng(0)
    opt = make(model)
    for _ in range(steps):
        history.append({name: rng.standard_normal(grad.shape) for name, grad in model.grads().items()})
        for name, grad in model.grads().items():
            grad[...] = history[-1][name]
        opt.step()
    return model, before, history


def check(model, before, history, reference):
    for name, param in model.params().items():
        for i in np.ndindex(*param.shape):
            expected = reference(name, float(before[name][i]), [float(grads[name][i]) for grads in history])
            assert param[i] == pytest.approx(expected, rel=1e-12, abs=1e-14), f"{name}{i}"


@pytest.fixture(params=[1 << 16, 5, 1], ids=["one piece", "pieces of 5", "pieces of 1"])
def pieces(request, monkeypatch):
    """Updates walk the arrays in pieces; 12 matrix entries and 4 of the bias make several of these sizes."""
    monkeypatch.setattr(optimizer, "CACHE_ENTRIES", request.param)


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize(("lr", "momentum"), SGDS.values(), ids=SGDS)
def test_sgd_is_its_formula(lr, momentum, lively):
    check(*run(lambda model: SGD(model, lr, momentum), lively), lambda _, p, grads: sgd(p, grads, lr, momentum))


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize(("lr", "betas", "eps"), ADAMS.values(), ids=ADAMS)
def test_adam_is_its_formula(lr, betas, eps, lively):
    check(*run(lambda model: Adam(model, lr, betas, eps), lively), lambda _, p, grads: adam(p, grads, lr, *betas, eps))


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize(("lr", "betas", "eps"), ADAMS.values(), ids=ADAMS)
def test_adamw_is_its_formula_with_decay_on_matrices_alone(lr, betas, eps, decay, lively):
    check(*run(lambda model: AdamW(model, lr, betas, eps, decay), lively),
          lambda name, p, grads: adam(p, grads, lr, *betas, eps, decay if name == "W" else 0.0))


def test_weight_decay_alone_shrinks_matrices_and_nothing_else(make_gpt):
    model = make_gpt()
    before = model.state_dict()
    AdamW(model, lr=0.1, weight_decay=0.5).step()  # all gradients are 0
    for name, param in model.params().items():
        expected = before[name] * (1 - 0.05 if name.endswith("W") else 1)
        np.testing.assert_allclose(param, expected, rtol=1e-15, err_msg=name)
    assert {name.rsplit(".", 1)[1] for name in before} == {"W", "b", "gamma", "beta"}


def test_the_first_adam_step_is_lr_whatever_the_size_of_the_gradient(lively):
    for size in (1e-3, 1e3):
        model = lively(Linear(3, 4, dtype="float64"))
        before = model.state_dict()
        model.dW[...] = size
        Adam(model, lr=0.01, eps=1e-12).step()
        np.testing.assert_allclose(before["W"] - model.W, 0.01, rtol=1e-8)


@pytest.mark.parametrize("make", [SGD, Adam, AdamW])
def test_lr_can_be_set_and_zero_changes_nothing(make, lively):
    model = lively(Linear(3, 4, dtype="float64"))
    before = model.state_dict()
    opt = make(model, lr=0.0)
    model.dW[...] = 1
    opt.step()
    np.testing.assert_array_equal(model.W, before["W"])
    opt.lr = 0.1
    opt.step()
    assert (model.W < before["W"]).all()


def test_zero_grad_clears_the_models_gradients(lively):
    model = lively(Linear(3, 4))
    opt = SGD(model)
    model.dW += 1
    opt.zero_grad()
    assert not model.dW.any()


WRONG = {
    "lr below 0": (lambda m: SGD(m, lr=-0.1), "lr.*-0.1"),
    "lr infinite": (lambda m: AdamW(m, lr=math.inf), "lr.*inf"),
    "lr NaN": (lambda m: Adam(m, lr=math.nan), "lr.*nan"),
    "momentum": (lambda m: SGD(m, momentum=1.0), "momentum.*1.0"),
    "beta1": (lambda m: Adam(m, betas=(1.0, 0.9)), "beta1.*1.0"),
    "beta2": (lambda m: AdamW(m, betas=(0.9, -0.1)), "beta2.*-0.1"),
    "eps": (lambda m: AdamW(m, eps=0.0), "eps.*0.0"),
    "weight decay": (lambda m: AdamW(m, weight_decay=-1), "weight_decay.*-1"),
}


@pytest.mark.parametrize(("make", "message"), WRONG.values(), ids=WRONG)
def test_values_out_of_range_are_errors_with_the_value(make, message):
    with pytest.raises(ValueError, match=message):
        make(Linear(2, 2))
