"""The description of a model: what it refuses, how it comes back from a header, and that a model follows from it."""

import json
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from numpygpt import GPT, nn
from numpygpt.models import ModelConfig, build
from numpygpt.optim import AdamW
from numpygpt.training.checkpoint import load_checkpoint, save_checkpoint

SIZES = {"vocab_size": 11, "max_len": 6, "d_model": 8, "n_heads": 4, "n_layers": 2}


@pytest.mark.parametrize(("changes", "values"), [
    ({"n_heads": 3}, ("8", "3")), ({"n_kv_heads": 3}, ("n_kv_heads", "4", "3")), ({"d_model": 8.0}, ("d_model", "8.0")),
    ({"n_layers": 10_001}, ("n_layers", "10001")), ({"d_model": 1 << 41}, ("d_model", str(1 << 41))),
    ({"max_len": 0}, ("max_len", "context", "0")), ({"bias": 1}, ("bias", "1")), ({"dropout": 1.0}, ("dropout", "1.0")),
    ({"norm": "batch"}, ("norm", "layernorm", "'batch'")), ({"norm": ["layernorm"]}, ("norm",)),
    ({"activation": None}, ("activation", "gelu", "None")), ({"dtype": "int8"}, ("dtype", "int8")),
    ({"vocab_size": -1}, ("vocab_size", "-1")),
], ids=str)  # fmt: skip
def test_what_does_not_fit_is_refused_with_its_values(changes, values):
    with pytest.raises(ValueError) as error:
        ModelConfig(**(SIZES | changes))
    assert all(value in str(error.value) for value in values)


def test_it_survives_a_header_and_cannot_be_changed():
    config = ModelConfig(**SIZES, n_kv_heads=2, d_ff=np.int64(5), dropout=np.float32(0.5), dtype=np.float64)
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(FrozenInstanceError):
        config.d_model = 16
    assert ModelConfig(**SIZES).d_ff is None


def test_a_header_of_an_older_version_lacks_newer_fields_and_holds_the_seed():
    config = ModelConfig(**SIZES)
    old = {name: value for name, value in config.to_dict().items() if name not in ("norm", "n_kv_heads")}
    assert ModelConfig.from_dict(old | {"seed": 3}) == config
    for values, name in ((old | {"evil": 1}, "evil"), ({n: v for n, v in old.items() if n != "d_ff"}, "d_ff")):
        with pytest.raises(ValueError, match=name):
            ModelConfig.from_dict(values)


def test_gpt_takes_a_configuration_or_its_fields():
    one, same = GPT(ModelConfig(**SIZES), seed=3), GPT(**SIZES, seed=3)
    np.testing.assert_array_equal(one.flat().params, same.flat().params)
    for wrong in (lambda: GPT(ModelConfig(**SIZES), d_model=16), lambda: GPT(11), lambda: GPT(SIZES)):
        with pytest.raises(ValueError, match="ModelConfig"):
            wrong()
    with pytest.raises(ValueError, match="vocab_size.*0"):
        GPT(replace(one.config, vocab_size=0))


class Scale(nn.Module):
    """A user's normalisation, of a kind that the package does not know."""

    def __init__(self, d_model, dtype="float32"):
        self.param("g", np.full(d_model, 0.5, dtype))

    def forward(self, X):
        self.X = X
        return X * self.g

    def backward(self, dY):
        self.dg += (dY * self.X).reshape(-1, len(self.g)).sum(axis=0)
        return dY * self.g


def train(model, steps=5):
    optimizer, losses = AdamW(model, lr=0.01), []
    x, y = np.random.default_rng(0).integers(0, 11, (2, 3, 6))
    for _ in range(steps):
        losses.append(model.loss(x, y))
        model.backward()
        optimizer.step()
        optimizer.zero_grad()
    return losses


def test_a_users_layer_in_a_block_trains_is_saved_and_loaded(tmp_path):
    def make():
        model = GPT(**SIZES)
        model.blocks[0].norm1, model.blocks[1].ffn.act = Scale(8), nn.Softmax()
        return model

    model = make()
    losses = train(model)
    assert losses[-1] < losses[0] and (model.blocks[0].norm1.g != 0.5).all()
    save_checkpoint(tmp_path / "m.npz", {}, {f"model/{name}": param for name, param in model.params().items()})
    other = make()
    other.load_state_dict(load_checkpoint(tmp_path / "m.npz").group("model"))
    assert model.generate([[1, 2]], 5, seed=1).tolist() == other.generate([[1, 2]], 5, seed=1).tolist()


def test_a_layer_in_the_table_can_be_chosen(monkeypatch):
    monkeypatch.setitem(build.NORMS, "scale", lambda c: Scale(c.d_model, c.dtype))
    model = GPT(**SIZES, norm="scale")
    assert type(model.norm_f) is Scale and (model.norm_f.g == 0.5).all()  # values of its own survive the skeleton
    assert train(model)[-1] < np.log(11)
