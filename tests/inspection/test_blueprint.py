"""The model on paper: every number comes from the model, whatever its sizes."""

import numpy as np
import pytest

from numpygpt.inspection.blueprint import blueprint
from numpygpt.nn.modules.module import Module

ODD = {"vocab_size": 13, "max_len": 5, "d_model": 10, "n_heads": 3, "n_layers": 4, "d_k": 7, "d_v": 2, "d_ff": 9,
       "activation": "relu", "positions": "sinusoidal", "tie_weights": False, "bias": False,
       "dropout": 0.25}  # fmt: skip


def test_shapes_and_parameters_of_a_model_of_odd_sizes(make_gpt):
    plan = blueprint(make_gpt(**ODD), batch_size=6)
    assert {name.removeprefix("blocks.0."): part.shape for name, part in plan.parts.items()} == {
        "wte": (6, 5, 10), "wpe": (6, 5, 10), "norm1": (6, 5, 10), "attn.qkv": (6, 5, 3 * (7 + 7 + 2)),
        "attn": (6, 5, 3 * 2), "attn.proj": (6, 5, 10), "add1": (6, 5, 10), "norm2": (6, 5, 10), "ffn.fc": (6, 5, 9),
        "ffn.act": (6, 5, 9), "ffn.proj": (6, 5, 10), "add2": (6, 5, 10), "norm_f": (6, 5, 10), "head": (6, 5, 13),
        "criterion": (),
    }  # fmt: skip
    assert plan.heads == {"Q": (6, 3, 5, 7), "K": (6, 3, 5, 7), "V": (6, 3, 5, 2), "P": (6, 3, 5, 5)}
    assert {letter: size for letter, (size, _) in plan.sizes.items()} == {
        "B": 6, "T": 5, "C": 10, "H": 3, "d_k": 7, "d_v": 2, "d_ff": 9, "V": 13}  # fmt: skip
    assert {name: part.n_params for name, part in plan.parts.items() if part.n_params} == {
        "wte": 130, "blocks.0.norm1": 10, "blocks.0.attn.qkv": 480, "blocks.0.attn.proj": 60, "blocks.0.norm2": 10,
        "blocks.0.ffn.fc": 90, "blocks.0.ffn.proj": 90, "norm_f": 10, "head": 130}  # fmt: skip
    assert plan.counts == {"wte": 130, "wpe": 0, "blocks": 4 * 740, "norm_f": 10, "head": 130} and plan.n_layers == 4


@pytest.mark.parametrize("changes", [{}, ODD, {"tie_weights": False}, {"bias": False, "n_layers": 1}])
def test_the_counts_add_up(make_gpt, changes):
    model = make_gpt(**changes)
    plan = blueprint(model, 2)
    assert sum(plan.counts.values()) == model.n_params()
    of_a_block = sum(part.n_params for name, part in plan.parts.items() if name.startswith("blocks.0."))
    assert of_a_block * plan.n_layers == plan.counts["blocks"]
    assert sum(part.n_params for part in plan.parts.values()) == model.n_params() - of_a_block * (plan.n_layers - 1)


def test_formulas_are_those_of_the_layers_there_are(make_gpt):
    plain, odd = blueprint(make_gpt(), 2).parts, blueprint(make_gpt(**ODD), 2).parts
    linear, bare = plain["blocks.0.ffn.fc"], odd["blocks.0.ffn.fc"]
    assert linear.forward == ("Y = X W + b",) and linear.backward == ("dX = dY Wᵀ,  dW = Xᵀ dY,  db = Σ dY",)
    assert bare.forward == ("Y = X W",) and bare.backward == ("dX = dY Wᵀ,  dW = Xᵀ dY",)
    assert (linear.kind, bare.kind) == ("Linear 8 → 32", "Linear 10 → 9")
    assert "beta" in plain["norm_f"].forward[0] and "beta" not in odd["norm_f"].forward[0] + odd["norm_f"].backward[0]
    assert plain["blocks.0.ffn.act"].kind == "GELU" and odd["blocks.0.ffn.act"].kind == "ReLU"
    assert "tied" in plain["head"].forward[0] and "tied" not in odd["head"].forward[0]
    assert "wte" in plain["head"].backward[0] and "wte" not in odd["head"].backward[0]
    assert odd["wpe"].forward == ("Y = X + P[0 : T],  P is sines and cosines, then dropout 0.25",)
    assert plain["wpe"].forward == ("Y = X + W[0 : T]",)
    assert odd["wpe"].backward[1:] == ("dX = dY; nothing is learned",)
    assert {name for name, part in odd.items() if "dropout 0.25" in part.forward[0]} == {
        "wpe", "blocks.0.attn.proj", "blocks.0.ffn.proj"}  # fmt: skip
    assert not any("dropout" in part.forward[0] for part in plain.values())
    assert {name for name, part in odd.items() if part.backward[0].startswith("dY = dropout.backward(dY)")} == {
        "wpe", "blocks.0.attn.proj", "blocks.0.ffn.proj"}  # fmt: skip
    assert not any("dropout" in line for part in plain.values() for line in part.backward)
    assert "√4" in plain["blocks.0.attn"].forward[0] and "√7" in odd["blocks.0.attn"].backward[2]


class Cube(Module):
    """An activation of a reader's own."""

    def forward(self, X):
        self.X = X
        return X**3

    def backward(self, dY):
        return dY * 3 * self.X**2


def test_a_layer_of_ones_own_is_drawn_without_a_formula(make_gpt):
    model = make_gpt()
    model.blocks[0].ffn.act = Cube()
    part = blueprint(model, 2).parts["blocks.0.ffn.act"]
    assert (part.kind, part.backward, part.shape) == ("Cube", ("dX = backward(dY)",), (2, 6, 32))


def test_the_model_is_left_as_it_was(make_gpt, make_batch):
    model, (x, y) = make_gpt(dropout=0.3), make_batch()
    model.loss(x, y)
    model.backward()
    model.blocks[1].eval()
    modes = [module.training for _, module in model.named_modules()]
    before = model.flat().grads.copy()
    drawn = {name: rng.bit_generator.state for name, rng in model.generators().items()}
    blueprint(model, 2)
    np.testing.assert_array_equal(model.flat().grads, before)
    assert [module.training for _, module in model.named_modules()] == modes and len(set(modes)) == 2
    assert {name: rng.bit_generator.state for name, rng in model.generators().items()} == drawn and drawn
    with pytest.raises(RuntimeError):  # that of the look has no way back
        model.backward()
