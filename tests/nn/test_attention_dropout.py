"""Dropout on attention weights: the same masks in backward, exact with tiles and recomputation, free when it is off."""

import numpy as np
import pytest
from parts import product_of

from numpygpt.nn import MultiHeadAttention, causal_attention
from numpygpt.nn.causal_attention import Drop, drop_mask
from numpygpt.nn.cost import Call
from numpygpt.verify import gradcheck


def layer(p=0.4, seed=3, **options):
    return MultiHeadAttention(8, 4, attn_dropout=p, rng=seed, dtype="float64", **options)


def from_the_masks(attn, X):
    """Output, by its definition, from the weights without dropout and the masks of one tile."""
    _, _, V = attn.split(product_of(attn)(X))
    P = attn.weights()
    M = drop_mask(P[:, :, None], attn.drop, 0).reshape(P.shape)
    O = (P * M) @ V
    return attn.proj(O.swapaxes(1, 2).reshape(*X.shape[:2], -1)), M


def test_the_output_is_that_of_weights_times_masks(normal, lively):
    attn, X = lively(layer()), normal(3, 5, 8)
    Y = attn(X)
    expected, M = from_the_masks(attn, X)
    np.testing.assert_allclose(Y, expected, rtol=1e-12)
    assert set(np.unique(M)) == {0, 2**16 / round(0.6 * 2**16)}


@pytest.mark.parametrize("n_kv_heads", [2, 1])
@pytest.mark.parametrize("limits", [{}, {"ROWS": 2}, {"ROWS": 2, "KEEP_WEIGHTS": 0}, {"KEEP_WEIGHTS": 0},
                                    {"SCORE_ENTRIES": 1}], ids=str)
def test_gradients_with_tiles_and_recomputation(limits, n_kv_heads, normal, monkeypatch):
    for name, value in limits.items():
        monkeypatch.setattr(causal_attention, name, value)
    attn = MultiHeadAttention(4, 2, 3, 2, n_kv_heads=n_kv_heads, attn_dropout=0.4, rng=3)
    assert (report := gradcheck(attn, normal(2, 5, 4))), report


def test_recomputed_weights_give_the_gradients_of_cached_ones(normal, lively, monkeypatch):
    X, dY, found = normal(3, 5, 8), normal(3, 5, 8), []
    for keep in (1024, 0):
        monkeypatch.setattr(causal_attention, "KEEP_WEIGHTS", keep)
        attn = lively(layer())
        found.append((attn(X), attn.backward(dY), *attn.grads().values()))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def test_each_forward_draws_new_masks_and_a_seed_repeats_them(normal):
    X, one, two = normal(2, 5, 8), layer(), layer()
    first, second = one(X), one(X)
    assert not np.allclose(first, second)
    np.testing.assert_array_equal(two(X), first)
    np.testing.assert_array_equal(two(X), second)
    assert not np.allclose(layer(seed=4)(X), first)


def test_a_replica_that_trains_beside_the_layer_draws_masks_of_its_own(normal, lively):
    X, attn = normal(2, 5, 8), lively(layer())
    other = attn.replica()
    assert not np.allclose(attn(X), other(X))


def test_evaluation_and_zero_draw_nothing(normal, lively):
    X = normal(2, 5, 8)
    plain = lively(layer(0.0))(X)
    for attn in (lively(layer()).eval(), lively(layer(0.0))):
        state = attn.dropout.rng.bit_generator.state
        np.testing.assert_array_equal(attn(X), plain)
        assert attn.dropout.rng.bit_generator.state == state and attn.drop is None


def test_the_fraction_of_zeros_and_the_mean():
    """The deviation of the mean of 2^20 entries that are 0 or 4/3 is 0.00056: five of them."""
    M = drop_mask(np.ones((1 << 10, 1 << 10), np.float32), Drop(0.25, 5), 7)
    assert (M == 0).mean() == pytest.approx(0.25, abs=0.0022)
    assert M.mean(dtype=np.float64) == pytest.approx(1, abs=0.003) and M.dtype == np.float32
    for other in (Drop(0.25, 6), Drop(0.25, 5)):
        N = drop_mask(M, other, 8)
        assert (M[N == 0] == 0).mean() == pytest.approx(0.25, abs=0.005), "tiles and seeds are independent"


@pytest.mark.parametrize("p", [1e-9, 1 - 1e-9])
def test_the_smallest_and_largest_probability(p):
    M = drop_mask(np.ones((8, 9), np.float32), Drop(p, 0), 0)
    assert np.isfinite(M).all() and (p > 0.5 or (M == 1).all())


def test_masks_cost_no_memory(normal):
    costs = [layer(p).cost(Call((3, 5, 8))) for p in (0.0, 0.4)]
    assert costs[0].cached == costs[1].cached and costs[0].forward < costs[1].forward
    assert layer(0.4).cost(Call((3, 5, 8), training=False)).forward == costs[0].forward


@pytest.mark.parametrize("p", [1.0, -0.1, "0.1", None])
def test_no_probability(p):
    with pytest.raises(ValueError, match=f"attn_dropout.*{p}"):
        layer(p)
