"""Every gradient of the whole GPT is the finite difference, in each configuration and by both ways to a loss."""

import numpy as np
import pytest

from numpygpt import GPT, gradcheck
from numpygpt.nn import LinearCrossEntropy, Module
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


class ChunkedLoss(Module):
    """`model.loss` in the place of `forward`."""

    def __init__(self, model):
        self.model = model

    def forward(self, x, y):
        return self.model.loss(x, y)

    def backward(self, scale):
        return self.model.backward(scale)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_forward_gradient_is_the_finite_difference(config):
    model = GPT(**(SIZES | config))
    report = gradcheck(model, X, Y)
    assert report, report
    assert report.entries == model.n_params()


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_loss_gradient_is_the_finite_difference(config, monkeypatch):
    monkeypatch.setattr(loss, "LOGIT_ENTRIES", 4 * SIZES["vocab_size"])  # two chunks, the second shorter
    monkeypatch.setattr(loss, "LOGIT_ROWS", 1)
    model = GPT(**(SIZES | config))
    report = gradcheck(ChunkedLoss(model), X, Y)
    assert report, report
    assert report.entries == model.n_params()


def spoil(module, **methods):
    """Replace methods of this one layer. (Its own __setattr__ would make an attribute of it.)"""
    object.__setattr__(module, "__class__", type("Spoilt", (type(module),), methods))


def keep(model):
    pass


def drop_positions(model):
    spoil(model.wpe, backward=lambda self, dY: dY)


def drop_tokens(model):
    spoil(model.wte, backward=lambda self, dY: None)


def drop_head(model):
    def backward(self, dY):
        return dY @ self.embedding.W

    def loss_backward(self, scale):
        self.dE[...] = 0
        return LinearCrossEntropy.backward(self, scale)

    spoil(model.head, backward=backward)
    spoil(model.head_loss, backward=loss_backward)


def overwrite_tied(model):
    def backward(self, dY):
        self.dW[...] = 0
        type(self).__base__.backward(self, dY)

    spoil(model.wte, backward=backward)


def skip_final_norm(model):
    spoil(model.norm_f, backward=lambda self, dY: dY)


def skip_first_block(model):
    spoil(model.blocks[0], backward=lambda self, dY: dY)


def forget_scale(model):
    spoil(model, backward=lambda self, scale: GPT.backward(self, 1.0))


def blocks_in_forward_order(model):
    def backward(self, scale):
        self.blocks = self.blocks[::-1]
        GPT.backward(self, scale)
        self.blocks = self.blocks[::-1]

    spoil(model, backward=backward)


FAULTS = {
    drop_positions: {"wpe.W"}, drop_tokens: {"wte.W"}, drop_head: {"wte.W"}, overwrite_tied: {"wte.W"},
    skip_final_norm: {"norm_f.gamma", "wte.W"}, skip_first_block: {"blocks.0.attn.qkv.W", "wpe.W"},
    forget_scale: {"norm_f.gamma", "blocks.0.ffn.fc.b"}, blocks_in_forward_order: {"blocks.1.ffn.fc.W"},
}


@pytest.mark.parametrize("wrap", [lambda model: model, ChunkedLoss], ids=["forward", "loss"])
@pytest.mark.parametrize("fault", [keep, *FAULTS], ids=lambda fault: fault.__name__)
def test_a_fault_in_the_models_backward_is_caught(fault, wrap):
    model = GPT(vocab_size=7, max_len=3, d_model=3, n_heads=2, n_layers=2, d_ff=2, d_k=1, d_v=1)
    fault(model)
    failed = {failure.name.removeprefix("model.") for failure in gradcheck(wrap(model), X, Y).failures}
    assert FAULTS.get(fault, set()) <= failed
    assert bool(failed) == (fault is not keep)
    if fault in (drop_positions, drop_tokens, drop_head):
        assert failed == FAULTS[fault], "and nothing else is blamed"
