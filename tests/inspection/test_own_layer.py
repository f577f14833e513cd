"""A layer of a user's own, put into a block, appears in trace, summary, walk and the architecture picture."""

import numpy as np
import pytest

from numpygpt import GPT, nn, summary, trace
from numpygpt.data import Corpus, prepare
from numpygpt.inspection.blueprint import blueprint
from numpygpt.inspection.walk import walk
from numpygpt.nn.cost import Cost, Formula
from numpygpt.plots import style
from numpygpt.plots.architecture import WIDTH, draw_architecture, height
from numpygpt.training import Trainer, trainer
from numpygpt.training.config import Config


class MyNorm(nn.Module):
    """RMSNorm."""

    def __init__(self, size):
        self.param("gain", np.full(size, 2, np.float32))

    def forward(self, X):
        self.scale = 1 / np.sqrt((X * X).mean(axis=-1, keepdims=True) + np.float32(1e-5))
        self.Xhat = X * self.scale
        return self.Xhat * self.gain

    def backward(self, dY):
        self.dgain += (dY * self.Xhat).sum(axis=(0, 1))
        dXhat = dY * self.gain
        return self.scale * (dXhat - self.Xhat * (dXhat * self.Xhat).mean(axis=-1, keepdims=True))


class MyDescribedNorm(MyNorm):
    formula = Formula(("Y = my X",), ("dX = my dY",))

    def cost(self, call):
        return Cost(call.shape, forward=12345, backward=54321, cached=call.nbytes + call.rows * call.itemsize)


def own_model(kind, *args, **sizes):
    if not args:
        sizes = {"vocab_size": 11, "max_len": 6, "d_model": 8, "n_heads": 2, "n_layers": 3} | sizes
    model = GPT(*args, **sizes)
    model.blocks[0].norm1 = kind(8)
    return model


def a_trace(kind):
    model, x = own_model(kind), np.arange(12).reshape(2, 6) % 11
    with trace(model) as t:
        model.loss(x, x)
        model.backward()
    record = t["blocks.0.norm1"]
    assert record.output.std > 1 and record.gradient.norm > 0 and record.n_params == 8
    assert record.cached == 2 * 6 * 8 * 4 + 2 * 6 * 4
    assert (record.forward_flops, record.backward_flops) == ((12345, 54321) if hasattr(kind, "cost") else (None, None))
    return str(t)


def a_summary(kind):
    found = summary(own_model(kind), 2)
    row = found["blocks.0.norm1"]
    assert (row.input_shape, row.n_params) == ((2, 6, 8), 8) and found["blocks.0.norm2"].forward_flops > 0
    assert row.forward_flops == (12345 if hasattr(kind, "cost") else None)
    assert found.unknown == ([] if hasattr(kind, "cost") else ["MyNorm"])
    return str(found)


def a_walk(kind, folder, monkeypatch):
    corpus = Corpus.of("pangram", "the quick brown fox jumps over the lazy dog. " * 40, "a test")
    data = prepare(corpus, folder / "data", context=6)
    monkeypatch.setattr(trainer, "make_model", lambda config, base: own_model(kind, config.model))
    config = Config.of(n_layers=3, n_heads=2, d_model=8, context=6, batch_size=2, steps=3, warmup=1, workers=2)
    t = Trainer(config, data)
    with t.parallel:
        return walk(t)


def a_picture(kind):
    plan = blueprint(own_model(kind), 4)
    figure = style.new_figure((WIDTH, height(plan)))
    draw_architecture(figure, plan, "own")
    return "\n".join(text.get_text() for text in figure.axes[0].texts)


@pytest.mark.parametrize("kind", [MyNorm, MyDescribedNorm])
def test_a_layer_of_ones_own_appears_everywhere(kind, tmp_path, monkeypatch):
    texts = {"trace": a_trace(kind), "summary": a_summary(kind), "picture": a_picture(kind),
             "walk": a_walk(kind, tmp_path, monkeypatch)}
    for name, text in texts.items():
        assert kind.__name__ in text or (name == "trace" and "norm1" in text), name
    for name in ("walk", "picture"):
        assert ("my X" in texts[name]) == ("my dY" in texts[name]) == (kind is MyDescribedNorm)
    unknown = [name for name in ("trace", "summary") if "?" in texts[name]]
    assert unknown == ([] if kind is MyDescribedNorm else ["trace", "summary"])
