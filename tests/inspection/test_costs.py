"""Every formula of what a layer costs, against the operations that NumPy is seen to perform: equal to the last one."""

import contextlib
import math

import numpy as np
import pytest

from numpygpt import GPT, nn, summary, trace
from numpygpt.inspection import Call, Cost, costs, costs_of
from numpygpt.inspection.costs import learned, operations
from numpygpt.nn import causal_attention
from numpygpt.nn.modules import loss
from numpygpt.verify.wrappers import block


class Counted(np.ndarray):
    """An array that counts the operations on floating-point numbers in which it takes part, in `done`."""

    done = 0

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **kwargs):
        plain = [bare(x) for x in inputs]
        result = getattr(ufunc, method)(*plain, **kwargs, **({"out": tuple(bare(x) for x in out)} if out else {}))
        if any(np.asarray(x).dtype.kind == "f" for x in (*plain, result)):
            Counted.done += performed(ufunc, method, plain[0], result)
        if out:
            return out[0]
        return result.view(Counted) if isinstance(result, np.ndarray) else result

    def __array_function__(self, function, types, args, kwargs):
        if function is not np.einsum:
            return super().__array_function__(function, types, args, kwargs)
        subscripts, *arrays = args
        arrays = [bare(x) for x in arrays]
        letters = zip(subscripts.split("->")[0].split(","), arrays, strict=True)
        sizes = {letter: size for group, x in letters for letter, size in zip(group, x.shape, strict=True)}
        Counted.done += 2 * math.prod(sizes.values())
        return np.einsum(subscripts, *arrays).view(Counted)


def bare(x):
    return x.view(np.ndarray) if isinstance(x, Counted) else x


def performed(ufunc, method, first, result):
    if ufunc.signature:  # matmul, vecdot: each number is a sum over the first one's last axis
        assert ufunc in (np.matmul, np.vecdot) and method == "__call__"
        return 2 * np.size(result) * first.shape[-1]
    if method == "__call__":
        return np.size(result)
    assert method in ("reduce", "reduceat"), method
    return np.size(first) - np.size(result)


class Draws:
    """A generator whose numbers count, so that what is done with them is seen."""

    def __init__(self, rng):
        self.rng = rng

    def random(self, *args, **kwargs):
        return self.rng.random(*args, **kwargs).view(Counted)


@pytest.fixture
def counted(monkeypatch):
    """counted(function) -> the operations that it performs. Every new array counts meanwhile."""
    def count(function):
        Counted.done = 0
        with monkeypatch.context() as patch:
            for name in ("empty", "zeros"):
                make = getattr(np, name)
                patch.setattr(np, name, lambda *args, make=make, **kwargs: make(*args, **kwargs).view(Counted))
            function()
        return Counted.done
    return count


def countable(module):
    """The module, with parameters, gradients, constants and dropout that count."""
    for _, inner in module.named_modules():
        for name in (*inner._owned, *inner._constants):
            vars(inner)[name] = getattr(inner, name).view(Counted)
        if isinstance(inner, nn.Dropout):
            inner.rng = Draws(inner.rng)
    return module


def totals(module, shape):
    s = summary(module, input_shape=shape)
    assert not s.unknown
    return s.forward_operations, s.backward_operations


X, IDS = np.random.default_rng(0).standard_normal((3, 5, 8)).astype("float32"), np.arange(15).reshape(3, 5) % 7
LAYERS = {
    "linear": lambda: nn.Linear(8, 6),
    "linear without bias": lambda: nn.Linear(8, 6, bias=False),
    "positions": lambda: nn.PositionalEmbedding(9, 8),
    "sines": lambda: nn.SinusoidalEncoding(9, 8),
    "layer norm": lambda: nn.LayerNorm(8),
    "layer norm without bias": lambda: nn.LayerNorm(8, bias=False),
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "softmax": nn.Softmax,
    "dropout": lambda: nn.Dropout(0.3),
    "dropout that drops nothing": lambda: nn.Dropout(0.0),
    "head": lambda: nn.Unembedding(11, 8),
    "feed-forward": lambda: nn.FeedForward(8, 12, dropout=0.2),
    "feed-forward with relu": lambda: nn.FeedForward(8, activation=nn.ReLU(), bias=False),
    "attention": lambda: nn.MultiHeadAttention(8, 2),
    "attention, its heads of other sizes": lambda: nn.MultiHeadAttention(8, 3, 5, 2, bias=False, dropout=0.1),
    "block": lambda: block(8, 2, dropout=0.1),
}


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_the_operations_of_a_layer_are_those_that_are_counted(make, counted):
    layer, dY = countable(make()), None
    out = []
    forward = counted(lambda: out.append(layer(X.view(Counted))))
    dY = np.ones(out[0].shape, np.float32).view(Counted)
    backward = counted(lambda: layer.backward(dY))
    assert (forward, backward) == totals(layer, X.shape)


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_the_bytes_that_a_layer_keeps_and_its_output_are_those_that_are_found(make):
    layer = make()
    with trace(layer) as t:
        layer(X.copy())
    rows = summary(layer, input_shape=X.shape).rows
    assert [(row.name, row.output_shape, row.cached) for row in rows] == [(r.name, r.output_shape, r.cached) for r in t]


def test_the_operations_of_an_embedding_whatever_tokens_repeat(counted):
    for ids in (IDS, np.zeros_like(IDS)):
        layer = countable(nn.Embedding(7, 8))
        assert counted(lambda: layer(ids)) == 0  # noqa: B023 - called at once
        assert counted(lambda: layer.backward(X.view(Counted))) == totals(layer, ids.shape)[1] == ids.size * 8  # noqa: B023


@pytest.mark.parametrize("rows", [1, 4, 1000], ids=lambda rows: f"chunks of {rows}")
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluating"])
def test_the_operations_of_the_head_and_the_loss_in_one(rows, training, counted, monkeypatch):
    monkeypatch.setattr(loss, "LOGIT_ENTRIES", 1)
    monkeypatch.setattr(loss, "LOGIT_ROWS", rows)
    layer = countable(nn.LinearCrossEntropy(nn.Unembedding(11, 8))).train(training)
    assert counted(lambda: layer(X.view(Counted), IDS)) == operations(layer, X.shape)[0]
    if training:
        assert counted(lambda: layer.backward(0.5)) == operations(layer, X.shape)[1]


def test_the_operations_of_the_loss_from_logits(counted):
    layer = nn.CrossEntropyLoss()
    forward, backward = totals(layer, X.shape)
    with trace(layer) as t:
        layer(X, IDS.copy())
    assert t[""].cached == summary(layer, input_shape=X.shape).cached == X.nbytes + IDS.nbytes
    assert counted(lambda: layer(X.view(Counted), IDS)) == forward
    assert counted(lambda: layer.backward(0.5)) == backward


@pytest.mark.parametrize("rows", [2, 3, 128], ids=lambda rows: f"blocks of {rows} rows")
@pytest.mark.parametrize("entries", [1, 1 << 17], ids=["a sequence at a time", "all at once"])
@pytest.mark.parametrize("kept", [0, 1024], ids=["weights made again", "weights kept"])
def test_attention_in_blocks_counts_what_it_does_and_not_what_it_skips(rows, entries, kept, counted, monkeypatch):
    monkeypatch.setattr(causal_attention, "ROWS", rows)
    monkeypatch.setattr(causal_attention, "SCORE_ENTRIES", entries)
    monkeypatch.setattr(causal_attention, "KEEP_WEIGHTS", kept)
    layer = countable(nn.MultiHeadAttention(8, 2, 3, 5))
    forward = counted(lambda: layer(X.view(Counted)))
    backward = counted(lambda: layer.backward(X.view(Counted)))
    assert (forward, backward) == totals(layer, X.shape)


def test_attention_with_a_cache_counts_the_tokens_in_it(counted):
    layer = countable(nn.MultiHeadAttention(8, 2))
    cache = nn.KVCache(3, 2, 9, 4, 4, "float32")
    cache.K, cache.V = cache.K.view(Counted), cache.V.view(Counted)
    layer(X.view(Counted), cache)
    parts = [(layer.qkv, (3, 1, 8), 0), (layer.proj, (3, 1, 8), 0), (layer, (3, 1, 8), 5)]
    expected = sum(operations(part, shape, before)[0] for part, shape, before in parts)
    assert counted(lambda: layer(X[:, :1].view(Counted), cache)) == expected


@pytest.mark.parametrize("changes", [
    {}, {"activation": "relu", "positions": "sinusoidal"}, {"dropout": 0.2, "tie_weights": False}, {"bias": False},
    {"d_k": 3, "d_v": 5, "d_ff": 20, "dtype": "float64"}], ids=str)
def test_the_operations_of_a_whole_step_are_those_that_are_counted(changes, counted):
    model = countable(GPT(vocab_size=11, max_len=6, d_model=8, n_heads=2, n_layers=2, **changes))
    ids = np.random.default_rng(1).integers(0, 11, (3, 6))
    expected = summary(model, 3)
    assert counted(lambda: model.loss(ids, ids)) == expected.forward_operations
    assert counted(model.backward) == expected.backward_operations > 1e4


class Scale(nn.Module):
    """The layer of the docstrings of `Module` and of `costs`."""

    def __init__(self, size):
        self.param("g", np.ones(size, np.float32))

    def forward(self, X):
        self.X = X
        return X * self.g

    def backward(self, dY):
        self.dg += (dY * self.X).sum(axis=(0, 1))
        return dY * self.g


def scale(layer, call: Call) -> Cost:
    n = call.entries
    return Cost(call.shape, forward=n, backward=3 * n, cached=call.input_bytes)


@contextlib.contextmanager
def entered(kind, function):
    try:
        yield costs_of(kind)(function)
    finally:
        del costs.TABLE[kind]


def test_the_costs_of_a_layer_of_ones_own_can_be_entered(counted):
    layer = countable(Scale(8))
    assert operations(layer, X.shape) == (None, None)
    with entered(Scale, scale):
        assert counted(lambda: layer(X.view(Counted))) == operations(layer, X.shape)[0]
        assert counted(lambda: layer.backward(X.view(Counted))) == operations(layer, X.shape)[1]


def test_a_subclass_may_do_other_things_and_is_unknown():
    assert operations(type("MyLinear", (nn.Linear,), {})(8, 6), X.shape) == (None, None)


def test_every_layer_has_its_costs():
    kinds = {kind for kind in vars(nn).values() if isinstance(kind, type) and issubclass(kind, nn.Module)} - {nn.Module}
    assert {*kinds, GPT} == set(costs.TABLE)


def test_a_table_counts_once_and_at_the_head_where_it_has_one_of_its_own():
    table = nn.Embedding(7, 8)
    tied, own = nn.Unembedding(7, 8, tied=table), nn.Unembedding(7, 8)
    assert learned([table, tied]) == learned([table, nn.LinearCrossEntropy(tied)]) == [56, 0]
    assert learned([table, own, nn.LinearCrossEntropy(own)]) == [56, 56, 0]
    assert learned([tied, nn.LinearCrossEntropy(tied), nn.Linear(2, 3), nn.GELU()]) == [56, 0, 9, 0]
