"""What layers say about themselves: costs against 2mnk and against the arrays that they really hold, and formulas."""

import numpy as np
import pytest

from numpygpt import GPT, nn, summary, trace
from numpygpt.inspection.tree import parameter_counts
from numpygpt.nn.cost import Call, Formula, cost_of, formula_of

X = np.random.default_rng(0).standard_normal((3, 5, 8)).astype("float32")
LAYERS = {
    "linear": lambda: nn.Linear(8, 6),
    "positions": lambda: nn.PositionalEmbedding(9, 8),
    "sines": lambda: nn.SinusoidalEncoding(9, 8),
    "layer norm": lambda: nn.LayerNorm(8),
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "softmax": nn.Softmax,
    "dropout": lambda: nn.Dropout(0.3),
    "dropout that drops nothing": lambda: nn.Dropout(0.0),
    "head": lambda: nn.Unembedding(11, 8),
    "feed-forward": lambda: nn.FeedForward(8, 12, dropout=0.2),
    "rms norm": lambda: nn.RMSNorm(8),
    "silu": nn.SiLU,
    "leaky relu": nn.LeakyReLU,
    "gated feed-forward": lambda: nn.GatedFeedForward(8, 12, dropout=0.2),
    "attention, weights dropped": lambda: nn.MultiHeadAttention(8, 4, n_kv_heads=2, attn_dropout=0.3),
    "attention, its heads of other sizes": lambda: nn.MultiHeadAttention(8, 3, d_k=5, d_v=2, bias=False, dropout=0.1),
}


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_output_shape_and_cached_bytes_are_those_of_a_real_call(make):
    layer = make()
    with trace(layer) as t:
        layer.backward(layer(X.copy()))
    rows = summary(layer, input_shape=X.shape).rows
    assert [(row.name, row.output_shape, row.cached) for row in rows] == [(r.name, r.output_shape, r.cached) for r in t]
    assert [(row.forward_flops, row.backward_flops) for row in rows] == [(r.forward_flops, r.backward_flops) for r in t]


def test_an_array_that_two_layers_cache_counts_once():
    layer = nn.GatedFeedForward(8, 12, nn.ReLU())
    with trace(layer) as t:
        layer.backward(layer(X.copy()))
    assert layer.g is layer.act.Y
    assert summary(layer, input_shape=X.shape).cached == sum(record.cached for record in t)


@pytest.mark.parametrize(("make", "shape", "product"), [
    (lambda: nn.Linear(80, 60, bias=False), (3, 5, 80), 2 * 15 * 80 * 60),
    (lambda: nn.Unembedding(110, 80), (3, 5, 80), 2 * 15 * 80 * 110),
])
def test_a_product_is_2mnk_and_its_gradients_are_two(make, shape, product):
    s = summary(make(), input_shape=shape)
    assert (s.forward_flops, s.backward_flops) == (product, 2 * product)


def test_the_products_of_a_whole_step_dominate_its_flops():
    B, T, C, V, L, H = 4, 64, 256, 500, 3, 4
    s = summary(GPT(vocab_size=V, max_len=T, d_model=C, n_heads=H, n_layers=L), B)
    dense = 2 * B * T * 12 * C * C * L  # queries, keys and values 3, proj 1, feed-forward 8
    attention = 2 * 2 * B * T * T * C * L  # all scores of a tile, and their use
    head = 2 * B * T * V * C
    assert 1 < s.forward_flops / (dense + attention + 3 * head) < 1.06  # the loss computes its gradients at once
    assert 1 < s.backward_flops / (2 * dense + 2 * attention) < 1.06


def test_attention_counts_the_tokens_in_a_cache_and_skips_what_no_row_can_see():
    layer = nn.MultiHeadAttention(8, 2)
    one = cost_of(layer, Call((1, 1, 8))).forward
    assert cost_of(layer, Call((1, 1, 8), before=9)).forward == 10 * one
    short, long = (cost_of(layer, Call((1, T, 8))).forward for T in (64, 1024))
    assert 0.5 < long / (256 * short) < 0.6  # half of the scores, and the rest of the tiles on the diagonal


class Scale(nn.Module):
    """The layer of the docstring of `nn.cost`."""

    def __init__(self, size):
        self.param("g", np.ones(size, np.float32))

    def forward(self, X):
        self.X = X
        return X * self.g

    def backward(self, dY):
        self.dg += (dY * self.X).sum(axis=(0, 1))
        return dY * self.g


class Described(Scale):
    formula = Formula(("Y = X g",), ("dX = dY g,  dg = Σ dY X",))

    def cost(self, call):
        return nn.cost.Cost(call.shape, forward=call.size, backward=2 * call.size, cached=call.input_bytes)


class Changed(Described):
    def forward(self, X):
        return super().forward(2 * X)


class Same(Described):
    pass


def test_a_subclass_inherits_the_description_unless_it_computes_something_else():
    assert cost_of(Scale(8), Call(X.shape)) is formula_of(Scale(8)) is None
    for kind in (Described, Same):
        assert cost_of(kind(8), Call(X.shape)).cached == X.nbytes and formula_of(kind(8)).forward == ("Y = X g",)
    assert cost_of(Changed(8), Call(X.shape)) is formula_of(Changed(8)) is None


def test_every_layer_describes_itself():
    kinds = {kind for kind in vars(nn).values() if isinstance(kind, type) and issubclass(kind, nn.Module)} - {nn.Module}
    assert len(kinds) > 12 and all({"formula", "cost"} <= set(vars(kind)) for kind in {*kinds, GPT})
    assert all(formula.forward and formula.backward for formula in (kind.formula for kind in kinds))


def test_a_table_counts_once_and_at_the_head_if_it_has_one_of_its_own():
    table = nn.Embedding(7, 8)
    tied, own = nn.Unembedding(7, 8, tied=table), nn.Unembedding(7, 8)

    def counts(*modules):
        return list(parameter_counts({f"m{i}": module for i, module in enumerate(modules)}).values())

    assert counts(table, tied) == counts(table, nn.LinearCrossEntropy(tied)) == [56, 0]
    assert counts(table, own, nn.LinearCrossEntropy(own)) == [56, 56, 0]
    assert counts(tied, nn.LinearCrossEntropy(tied), nn.Linear(2, 3), nn.GELU()) == [56, 0, 9, 0]
