"""Every gradient of a GPT is its finite difference, in each configuration, from `forward` and from `loss`."""

import copy

import numpy as np
import pytest

from numpygpt import GPT, gradcheck
from numpygpt.nn.modules import loss

# As small as it goes with V, T, C, H, D, d_ff and L all different where they can be, and B, T, H, L above one.
SIZES = {"vocab_size": 7, "max_len": 4, "d_model": 4, "n_heads": 2, "n_layers": 1, "d_ff": 5}
CONFIGS = {
    "as it comes": {},
    "two layers": {"n_layers": 2},
    "untied": {"tie_weights": False},
    "relu": {"activation": "relu"},
    "sinusoidal": {"positions": "sinusoidal"},
    "no bias": {"bias": False},
    "dropout": {"dropout": 0.3},
    "head sizes": {"d_k": 3, "d_v": 1},
    "everything else": {"tie_weights": False, "activation": "relu", "positions": "sinusoidal", "bias": False,
                        "dropout": 0.2, "d_k": 1, "d_v": 3, "n_layers": 2},
}
X = np.array([[2, 5, 2], [6, 0, 5]])  # repeated ids; one of the four positions is not used
Y = np.array([[5, -1, 2], [0, 3, -1]])


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_forward_gradient_is_the_finite_difference(config):
    model = GPT(**(SIZES | config))
    report = gradcheck(model, X, Y)
    assert report, report
    assert report.entries == model.n_params()


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_the_chunked_loss_has_the_gradients_of_the_forward_pass(config, monkeypatch, lively):
    monkeypatch.setattr(loss, "LOGIT_ENTRIES", 4 * SIZES["vocab_size"])  # two chunks, the second shorter
    monkeypatch.setattr(loss, "LOGIT_ROWS", 1)
    model = lively(GPT(**(SIZES | config), dtype="float64"))
    twin = copy.deepcopy(model)  # its dropout draws the same mask
    assert twin.loss(X, Y) == pytest.approx(model(X, Y)[1], rel=1e-12)
    model.backward(0.5)
    twin.backward(0.5)
    for name, grad in model.grads().items():
        np.testing.assert_allclose(twin.grads()[name], grad, rtol=1e-9, atol=1e-12, err_msg=name)
        assert grad.any(), name
