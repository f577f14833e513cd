"""The optimisers, clipping and the schedule against PyTorch's, on the same parameters and gradients."""

import math

import numpy as np
import pytest

from numpygpt.nn import FeedForward
from numpygpt.optim import SGD, Adam, AdamW, clip_grad_norm
from numpygpt.optim.lr_scheduler import WarmupCosineLR

torch = pytest.importorskip("torch")


def network_and_twin():
    model = FeedForward(3, 5, rng=0, dtype="float64")
    return model, {name: torch.tensor(param, requires_grad=True) for name, param in model.state_dict().items()}


def set_gradients(model, twin, seed, size=1.0):
    rng = np.random.default_rng(seed)
    for name, grad in model.grads().items():
        grad[...] = size * rng.standard_normal(grad.shape)
        twin[name].grad = torch.tensor(grad)


OPTIMIZERS = {
    "sgd": (lambda m: SGD(m, 0.1), lambda p: torch.optim.SGD(p, 0.1)),
    "momentum": (lambda m: SGD(m, 0.1, 0.9), lambda p: torch.optim.SGD(p, 0.1, momentum=0.9)),
    "adam": (lambda m: Adam(m, 0.01), lambda p: torch.optim.Adam(p, 0.01)),
    "adam, others": (lambda m: Adam(m, 0.1, (0.5, 0.8), 1e-3),
                     lambda p: torch.optim.Adam(p, 0.1, betas=(0.5, 0.8), eps=1e-3)),
}


@pytest.mark.parametrize(("make", "make_twin"), OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_ten_steps(make, make_twin):
    model, twin = network_and_twin()
    ours, theirs = make(model), make_twin(list(twin.values()))
    for step in range(10):
        set_gradients(model, twin, step)
        ours.step()
        theirs.step()
        for name, param in model.params().items():
            np.testing.assert_allclose(param, twin[name].detach(), rtol=1e-11, atol=1e-14, err_msg=f"{step} {name}")


def test_ten_steps_of_adamw_and_its_defaults():
    model, twin = network_and_twin()
    ours = AdamW(model)
    theirs = torch.optim.AdamW([{"params": [p for p in twin.values() if p.ndim >= 2]},
                                {"params": [p for p in twin.values() if p.ndim < 2], "weight_decay": 0.0}])
    for step in range(10):
        set_gradients(model, twin, step)
        ours.step()
        theirs.step()
    for name, param in model.params().items():
        np.testing.assert_allclose(param, twin[name].detach(), rtol=1e-11, atol=1e-14, err_msg=name)


@pytest.mark.parametrize(("size", "max_norm"), [(1.0, 1.0), (100.0, 0.5), (1e-3, 1.0), (1.0, math.inf)])
def test_clip_grad_norm(size, max_norm):
    model, twin = network_and_twin()
    set_gradients(model, twin, 0, size)
    norm = clip_grad_norm(model, max_norm)
    assert norm == pytest.approx(torch.nn.utils.clip_grad_norm_(twin.values(), max_norm).item(), rel=1e-13)
    for name, grad in model.grads().items():
        # if PyTorch clips, it scales by max_norm / (norm + 1e-6): a relative difference of 1e-6 / norm
        rtol = 1.01e-6 / norm if norm > max_norm else 0
        np.testing.assert_allclose(grad, twin[name].grad, rtol=rtol, err_msg=name)


@pytest.mark.parametrize(("warmup", "decay"), [(0, 10), (4, 10), (1, 2)])
def test_the_schedule_is_pytorchs_linear_then_cosine(warmup, decay):
    model, twin = network_and_twin()
    ours = SGD(model, lr=0.5)
    schedule = WarmupCosineLR(ours, warmup, decay, min_lr=0.05)
    theirs = torch.optim.SGD(list(twin.values()), lr=0.5)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(theirs, T_max=decay - warmup, eta_min=0.05)
    for step in range(decay + 1):
        if step < warmup:
            assert ours.lr == pytest.approx(0.5 * (step + 1) / warmup, rel=1e-12)
        else:
            assert ours.lr == pytest.approx(cosine.get_last_lr()[0], rel=1e-9), step
            theirs.step()
            cosine.step()
        schedule.step()
