"""A trace of what is no plain GPT: layers of one's own, layers used twice, copies, a text being written; its print."""

import copy
import pickle

import numpy as np
import pytest

from numpygpt import GPT, gradcheck, nn, trace
from numpygpt.inspection.stats import Stats
from numpygpt.inspection.tables import COLUMNS
from numpygpt.parallel.threads import DataParallel
from numpygpt.training.diagnose import first_not_finite

X = np.random.default_rng(0).standard_normal((3, 4)).astype("float32")


class Scale(nn.Module):
    """A layer that `costs` does not know."""

    def __init__(self, size):
        self.param("g", np.full(size, 2, np.float32))

    def forward(self, X):
        self.X = X
        return X * self.g

    def backward(self, dY):
        self.dg += (dY * self.X).sum(axis=0)
        return dY * self.g


class Model(nn.Module):
    """A model of one's own: its `loss` calls its `forward`, which calls a layer of its own twice."""

    def __init__(self):
        self.scale, self.out, self.criterion = Scale(4), nn.Linear(4, 5, rng=0), nn.CrossEntropyLoss()

    def forward(self, X):
        return self.out(self.scale(self.scale(X)))

    def loss(self, X, y):
        return self.criterion(self.forward(X), y)


def test_a_layer_of_ones_own_is_seen_and_its_operations_are_not_known():
    layer = Scale(4)
    with trace(layer) as t:
        layer.backward(layer(X))
    record = t[""]
    assert (record.kind, record.depth, record.n_params, record.cached) == ("Scale", 0, 4, X.nbytes)
    assert record.output == Stats.of(2 * X) and record.gradient == record.output
    assert record.forward_flops is None and record.backward_flops is None


def test_a_layer_used_twice_is_one_record_and_a_loss_that_calls_forward_one_call():
    model = Model()
    with trace(model, keep=True) as t:
        model.loss(X, np.arange(3))
    assert [record.name for record in t] == ["", "scale", "out", "criterion"]
    assert t["scale"].forward_calls == 2 and t["scale"].output == Stats.of(2 * X) + Stats.of(4 * X)
    assert t[""].forward_calls == 1 and t[""].output_shape == () and t[""].input_shape == (3, 4)
    assert t[""].forward_flops is None and t["out"].forward_flops == 2 * 3 * 4 * 5 + 15
    with trace(model) as t:
        model(X)
    assert t[""].output_shape == (3, 5)


class Odd(nn.Module):
    """Takes and returns what is no array; has a module under the name of a method."""

    def __init__(self):
        self.loss = nn.GELU()

    def forward(self, *parts, scale=1.0, extra=0.0):
        return {"sum": self.loss(sum(parts) + extra) * scale}

    def backward(self, gradients):
        return self.loss.backward(gradients[0])


def test_inputs_and_outputs_of_any_kind_and_a_module_named_like_a_method():
    model = Odd()
    with trace(model) as t:
        model(X, X, scale=2.0)
        model.backward((X, None))
    assert t["loss"].forward_calls == 1 and t["loss"].output.count == 12
    assert (t[""].output, t[""].output_shape, t[""].input_shape) == (None, (), (3, 4))
    assert isinstance(model.loss, nn.GELU)
    with trace(model) as t:
        model(extra=X, scale=2.0)  # nothing comes by place
    assert t[""].input_shape == (3, 4)


class Shift(nn.Module):
    def forward(self, X, by):
        return X + by


def test_the_input_is_the_first_argument_in_whatever_order_they_are_named():
    layer = Shift()
    with trace(layer) as t:
        layer(by=np.ones(4), X=X)
    assert t[""].input_shape == (3, 4)


def test_a_method_put_on_one_layer_is_watched_and_put_back(make_gpt, make_batch):
    model = make_gpt()
    vars(model.norm_f)["forward"] = mine = lambda X: X * 0
    with trace(model) as t:
        model.loss(*make_batch())
    assert t["norm_f"].output.zero_fraction == 1 and model.norm_f.forward is mine


@pytest.mark.parametrize("make", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model)),
                                  lambda model: model.replica()], ids=["deepcopy", "pickle", "replica"])
def test_a_copy_made_inside_the_block_is_a_model_of_its_own(make, make_gpt, make_batch):
    model, (x, y) = make_gpt(), make_batch()
    expected = make_gpt().loss(x, y)
    with trace(model) as t:
        twin = make(model)
        assert twin.loss(x, y) == expected
        if not np.shares_memory(twin.wte.W, model.wte.W):  # a replica shares the parameters
            twin.wte.W[0] *= 2
            assert twin.loss(x, y) != expected and model.wte.W[0, 0] != twin.wte.W[0, 0]
        assert list(t) == []  # the copy is not watched
    assert twin.head_loss.dX is not None and model.head_loss.dX is None
    with trace(twin) as t:
        twin.loss(x, y)
    assert t["norm_f"].forward_calls == 1


def test_workers_and_gradient_checks_made_inside_the_block_work(make_gpt, make_batch):
    model, (x, y) = make_gpt(), make_batch()
    expected = make_gpt().loss(x, y)
    with trace(model) as t, DataParallel(model, 2) as parallel:
        assert parallel.loss(x, y) == pytest.approx(expected, rel=1e-12)
        assert gradcheck(model.blocks[0].ffn, np.ones((2, 8)))
    assert t["wte"].input_shape == (2, 6)  # the model's own shard


def test_the_search_for_what_is_not_finite_may_run_inside(make_gpt, make_batch):
    model, (x, y) = make_gpt(dtype="float32"), make_batch()
    model.eval()
    model.head_loss.train()
    with trace(model) as t:
        model.norm_f.gamma[...] = 3e38
        model.norm_f.beta[...] = 3e38
        message = first_not_finite(model, [(x, y)])
        with np.errstate(all="ignore"):
            model.loss(x, y)
    assert "norm_f (LayerNorm)" in message and "output" in message
    assert t["norm_f"].forward_calls == 2
    assert not any("forward" in vars(module) for _, module in model.named_modules())


def test_writing_a_text_is_many_calls(make_gpt):
    model, plain = make_gpt(dtype="float32"), make_gpt(dtype="float32")
    context = np.array([[1, 2, 3], [4, 5, 6]])
    with trace(model) as t:
        ids = model.generate(context, 4, temperature=0.0)
    np.testing.assert_array_equal(ids, plain.generate(context, 4, temperature=0.0))
    attn = t["blocks.1.attn"]
    assert attn.forward_calls == 4 and attn.input_shape == (2, 1, 8) and attn.output.count == 2 * (3 + 1 + 1 + 1) * 8
    scores = 2 * 2 * (9 + 4 + 5 + 6)  # batch, heads; three rows see three tokens, then one row each 4, 5 and 6
    assert attn.forward_flops == scores * (2 * 4 + 2 * 4 + 6)  # two products, and six passes over the scores
    assert attn.cached == 2 * (2 * 2 * 6 * 4 * 4) + 2 * 3 * 8 * 4 + 2 * 8 * 4 + 2 * 2 * 6 * 4  # K, V; Q in QKV; O; P
    assert "" not in [record.name for record in t] and max(map(len, str(t).splitlines())) <= COLUMNS


def test_the_print_has_forward_backward_and_totals_in_narrow_aligned_columns():
    model = GPT(vocab_size=50257, max_len=64, d_model=24, n_heads=2, n_layers=12, dropout=0.1, d_ff=1000)
    x = np.random.default_rng(0).integers(0, 50257, (4, 64))
    with trace(model) as t:
        model.loss(x, x)
        model.backward()
    forward, backward, totals, words = str(t).rstrip("\n").split("\n\n")
    for text, records in ((forward, list(t)), (backward, t.backward_order)):
        lines = text.splitlines()
        assert len({len(line) for line in lines}) == 1 and len(lines[0]) <= COLUMNS
        assert lines[1].startswith("GPT ") and len(lines) == 1 + len(records)
        assert all(r.name.endswith(line.split()[0]) for line, r in zip(lines[2:], records[1:], strict=True))
    assert all(len(line) <= COLUMNS for line in words.splitlines())
    assert "4x64x1000" in forward and f"{1000 * 24 + 1000:,}" in backward
    assert f"{model.n_params():,} parameters" in words
    assert [line.split()[:2] for line in totals.splitlines()[1:]] == [["forward", "1"], ["backward", "1"]]
    assert str(trace(model)) == "nothing ran in this trace\n"


def test_the_print_marks_what_is_not_known():
    model = Model()
    with trace(model) as t:
        model.loss(X, np.arange(3))
    lines = [line.split() for line in str(t).splitlines()]
    assert [(line[0], line[-3]) for line in lines[1:5]] == [
        ("Model", "?"), ("scale", "?"), ("out", "135"), ("criterion", "90")]
    assert str(t).split("total")[1].splitlines()[1].endswith(" and ?")
