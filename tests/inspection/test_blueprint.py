"""The model on paper: every number comes from the model, whatever its sizes."""

import numpy as np
import pytest
from parts import PRODUCT

from numpygpt.inspection.blueprint import blueprint

ODD = {"vocab_size": 13, "max_len": 5, "d_model": 10, "n_heads": 3, "n_layers": 4, "d_k": 7, "d_v": 2, "d_ff": 9,
       "activation": "relu", "positions": "sinusoidal", "tie_weights": False, "bias": False,
       "dropout": 0.25}  # fmt: skip


def flat(parts):
    return {part.name: part for top in parts for part in (top, *flat(top.inside).values())}


def test_shapes_and_parameters_of_a_model_of_odd_sizes(make_gpt):
    plan = blueprint(make_gpt(**ODD), batch_size=6)
    parts = flat(plan.parts)
    assert plan.input_shape == (6, 5)
    wide = {"wte": 10, "wpe": 10, "dropout": 10, "blocks.0": 10, "blocks.0.norm1": 10, "blocks.0.attn": 10,
            f"blocks.0.attn.{PRODUCT}": 3 * (7 + 7 + 2), "blocks.0.attn.proj": 10, "blocks.0.attn.dropout": 10,
            "blocks.0.norm2": 10, "blocks.0.ffn": 10, "blocks.0.ffn.fc": 9, "blocks.0.ffn.act": 9,
            "blocks.0.ffn.proj": 10, "blocks.0.ffn.dropout": 10, "norm_f": 10, "head": 13}
    shapes = {name: (6, 5, size) for name, size in wide.items()} | {"criterion": ()}
    assert {name: part.shape for name, part in parts.items()} == shapes
    assert {name: part.n_params for name, part in parts.items() if part.n_params} == {
        "wte": 130, "blocks.0": 740, "blocks.0.norm1": 10, "blocks.0.attn": 540, f"blocks.0.attn.{PRODUCT}": 480,
        "blocks.0.attn.proj": 60, "blocks.0.norm2": 10, "blocks.0.ffn": 180, "blocks.0.ffn.fc": 90,
        "blocks.0.ffn.proj": 90, "norm_f": 10, "head": 130}  # fmt: skip
    assert parts["blocks.0"].repeats == 4
    assert plan.counts == {"wte": 130, "blocks": 4 * 740, "norm_f": 10, "head": 130}


@pytest.mark.parametrize("changes", [{}, ODD, {"tie_weights": False}, {"bias": False, "n_layers": 1}])
def test_the_counts_add_up(make_gpt, changes):
    model = make_gpt(**changes)
    plan = blueprint(model, 2)
    assert sum(plan.counts.values()) == model.n_params()
    assert sum(part.n_params * part.repeats for part in plan.parts) == model.n_params()


def test_residuals_ties_idle_layers_and_formulas_are_those_of_the_layers(make_gpt):
    plain, odd = blueprint(make_gpt(), 2), blueprint(make_gpt(**ODD), 2)
    parts = flat(plain.parts)
    assert {name: part.residual for name, part in parts.items() if part.residual} == {
        "blocks.0.attn": "norm1", "blocks.0.ffn": "norm2"}
    assert parts["head"].shared == "wte" and not flat(odd.parts)["head"].shared
    assert not any("dropout" in name for name in parts)  # p is 0: it does nothing
    model = make_gpt()
    assert plain.formulas["LayerNorm"] is model.norm_f.formula and plain.formulas["GELU"].backward
    assert "ReLU" in odd.formulas and "GELU" not in odd.formulas


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
    with pytest.raises(RuntimeError):  # the blueprint's own loss cannot go back
        model.backward()
