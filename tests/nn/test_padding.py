"""Padding at the left of shorter sequences: nothing sees it, nothing of it gets a gradient."""

import numpy as np
import pytest

from numpygpt.nn import KVCache, MultiHeadAttention, PositionalEmbedding, SinusoidalEncoding, causal_attention
from numpygpt.verify import gradcheck

PAD = np.array([2, 0, 3])


def layer(**options):
    return MultiHeadAttention(8, 4, n_kv_heads=2, rng=0, dtype="float64", **options)


class Padded(MultiHeadAttention):
    """Attention with this padding."""

    def forward(self, X, cache=None):
        return super().forward(X, cache, PAD)


@pytest.fixture(params=[{}, {"ROWS": 2}, {"ROWS": 2, "KEEP_WEIGHTS": 0}, {"SCORE_ENTRIES": 1}], ids=str)
def tiled(request, monkeypatch):
    for name, value in request.param.items():
        monkeypatch.setattr(causal_attention, name, value)


def test_a_padded_sequence_gives_what_it_gives_alone(tiled, normal, lively):
    attn, X = lively(layer()), normal(3, 6, 8)
    Y = attn(X, None, PAD)
    assert np.isfinite(Y).all()
    P = attn.weights()
    np.testing.assert_allclose(P.sum(axis=-1), 1, rtol=1e-12)
    alone = []
    for b, n in enumerate(PAD):
        alone.append(attn(X[b : b + 1, n:])[0])
        np.testing.assert_allclose(Y[b, n:], alone[-1], rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(P[b, :, n:, n:], attn.weights()[0], rtol=1e-12)
        assert not P[b, :, n:, :n].any()


def test_gradients_are_the_sum_of_those_alone_and_none_reaches_padding(tiled, normal, lively):
    attn, X, dY = lively(layer()), normal(3, 6, 8), np.array(normal(3, 6, 8))
    for b, n in enumerate(PAD):
        dY[b, :n] = 0  # nobody reads the outputs of padding
    attn(X, None, PAD)
    dX = attn.backward(dY)
    found = {name: grad.copy() for name, grad in attn.grads().items()}
    attn.zero_grad()
    for b, n in enumerate(PAD):
        assert not dX[b, :n].any()
        attn(X[b : b + 1, n:])
        np.testing.assert_allclose(dX[b, n:], attn.backward(dY[b : b + 1, n:])[0], rtol=1e-10, atol=1e-13)
    for name, grad in attn.grads().items():
        np.testing.assert_allclose(found[name], grad, rtol=1e-10, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("options", [{}, {"attn_dropout": 0.3}], ids=str)
def test_gradients_of_every_entry(options, tiled, normal):
    """Those of padding too, should somebody read it."""
    assert (report := gradcheck(Padded(6, 2, 4, 2, rng=0, **options), normal(3, 5, 6))), report


def test_a_cache_of_padded_sequences(normal, lively):
    attn, X = lively(layer()), normal(3, 6, 8)
    whole, cache = attn(X, None, PAD), KVCache(3, 2, 6, 2, 2, "float64")
    parts = [attn(X[:, a:b], cache, PAD) for a, b in ((0, 4), (4, 5), (5, 6))]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", [PositionalEmbedding, SinusoidalEncoding])
def test_positions_begin_after_the_padding(kind, normal, lively):
    layer = lively(kind(6, 4, dtype="float64"))
    X, dY = normal(3, 5, 4), normal(3, 5, 4)
    Y = layer(X, -PAD)
    dX = layer.backward(dY)
    np.testing.assert_array_equal(dX, dY)
    grads = {name: grad.copy() for name, grad in layer.grads().items()}
    layer.zero_grad()
    for b, n in enumerate(PAD):
        np.testing.assert_array_equal(Y[b, n:], layer(X[b, n:][None])[0])
        layer.backward(dY[b : b + 1, n:])
        for grad in layer.grads().values():
            grad[0] += dY[b, :n].sum(axis=0)  # padding is at position 0
    for name, grad in layer.grads().items():
        np.testing.assert_allclose(grads[name], grad, rtol=1e-12)


@pytest.mark.parametrize("kind", [PositionalEmbedding, SinusoidalEncoding])
def test_positions_of_sequences_that_continue(kind, normal):
    layer, X = kind(6, 4, dtype="float64"), normal(3, 2, 4)
    Y = layer(X, np.array([4, 0, 1]))
    for b, start in enumerate((4, 0, 1)):
        np.testing.assert_array_equal(Y[b], layer(X[b : b + 1], start)[0])
    with pytest.raises(ValueError, match=r"7.*6"):
        layer(X, np.array([4, 5, 1]))


@pytest.mark.parametrize(("pad", "values"), [
    ([0, 0], r"3.*\(2,\)"), (1, r"3.*\(\)"), ([0.0, 1.0, 2.0], "3.*float64"), ([0, -1, 0], "-1.*5"),
    ([0, 0, 6], "6.*5.*6"), ([[0, 0, 0]], r"3.*\(1, 3\)"),
], ids=str)
def test_padding_that_does_not_fit(pad, values, normal):
    with pytest.raises(ValueError, match=f"pad.*{values}"):
        layer()(normal(3, 6, 8), None, pad)
