"""Heads that share keys and values, and the hook that turns queries and keys by their positions."""

import numpy as np
import pytest
from parts import product_of

from numpygpt import GPT
from numpygpt.models.generate import new_caches, next_logits
from numpygpt.nn import KVCache, Module, MultiHeadAttention, Rotary
from numpygpt.verify import gradcheck


class Turn(Module):
    """Each pair (2i, 2i + 1) of a head's numbers, at position t, is turned by the angle t / 10^i."""

    def forward(self, X, start=0):  # X: (B, H, T, d_k)
        t = np.arange(start, start + X.shape[2])[:, None]
        angle = t / 10.0 ** np.arange(X.shape[3] // 2)  # (T, D / 2)
        self.cos, self.sin = np.cos(angle).astype(X.dtype), np.sin(angle).astype(X.dtype)
        return self.turned(X, self.sin)

    def backward(self, dX):
        return self.turned(dX, -self.sin)

    def turned(self, X, sin):
        Y = np.empty_like(X)
        Y[..., 0::2] = X[..., 0::2] * self.cos - X[..., 1::2] * sin
        Y[..., 1::2] = X[..., 0::2] * sin + X[..., 1::2] * self.cos
        return Y


def weights_of(full, n_kv_heads):
    """A layer with shared keys, and a plain one whose key and value heads are copies of the shared ones."""
    H, k, v = full.n_heads, full.d_k, full.d_v
    shared = MultiHeadAttention(product_of(full).d_in, H, k, v, n_kv_heads=n_kv_heads, dtype="float64", rng=1)
    q, keys, values = np.split(product_of(shared).W, [H * k, (H + n_kv_heads) * k], axis=1)
    copies = [np.repeat(W.reshape(len(W), n_kv_heads, -1), H // n_kv_heads, axis=1).reshape(len(W), -1)
              for W in (keys, values)]
    product_of(full).W[...] = np.concatenate([q, *copies], axis=1)
    full.proj.W[...] = shared.proj.W
    return shared


@pytest.mark.parametrize("n_kv_heads", [1, 2, 4])
def test_shared_keys_are_copies_of_keys_in_plain_attention(n_kv_heads, normal):
    plain = MultiHeadAttention(8, 4, 4, 3, dtype="float64")
    shared, X, dY = weights_of(plain, n_kv_heads), normal(2, 5, 8), normal(2, 5, 8)
    np.testing.assert_allclose(shared(X), plain(X), rtol=1e-12)
    np.testing.assert_allclose(shared.weights(), plain.weights(), rtol=1e-12)
    np.testing.assert_allclose(shared.backward(dY), plain.backward(dY), rtol=1e-10, atol=1e-13)
    q, keys, values = np.split(product_of(plain).dW, [16, 32], axis=1)
    summed = [dW.reshape(8, n_kv_heads, 4 // n_kv_heads, -1).sum(axis=2).reshape(8, -1) for dW in (keys, values)]
    np.testing.assert_allclose(product_of(shared).dW, np.concatenate([q, *summed], axis=1), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("n_kv_heads", [4, 2])
def test_rotary_positions_pass_gradcheck_and_depend_on_distance_alone(n_kv_heads, normal):
    layer = MultiHeadAttention(8, 4, 4, 3, n_kv_heads=n_kv_heads, rotary=Turn(), dtype="float64", rng=0)
    small = MultiHeadAttention(4, 4, 2, 1, n_kv_heads=n_kv_heads, rotary=Turn(), rng=0)
    assert (report := gradcheck(small, normal(2, 5, 4))), report
    X = np.repeat(normal(1, 1, 8), 6, axis=1)  # the same token everywhere: only positions differ
    layer(X)
    P = layer.weights()[0, 0]
    assert P[3, 1] / P[3, 3] == pytest.approx(P[5, 3] / P[5, 5], rel=1e-9) != pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("rotary", [None, Turn()], ids=["plain", "rotary"])
def test_a_cache_of_shared_keys_gives_what_the_whole_gives(rotary, normal):
    layer = MultiHeadAttention(8, 4, 4, 3, n_kv_heads=2, rotary=rotary, dtype="float64", rng=0)
    X, cache = normal(2, 6, 8), KVCache(2, 2, 6, 4, 3, "float64")
    parts = [layer(X[:, a:b], cache) for a, b in ((0, 3), (3, 4), (4, 6))]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), layer(X), rtol=1e-12)


@pytest.mark.parametrize(("n_heads", "n_kv_heads"), [(4, 2), (4, 1), (6, 3), (6, 2)])
def test_head_j_uses_the_keys_of_head_j_divided_by_the_group_size(n_heads, n_kv_heads, normal, lively):
    """Neighbours share, as in Llama, and not every n_kv_heads-th head."""
    layer, X = lively(MultiHeadAttention(8, n_heads, 4, 4, n_kv_heads=n_kv_heads, dtype="float64")), normal(1, 5, 8)
    layer(X)
    before, width = layer.weights(), 4 * n_heads
    for kv in range(n_kv_heads):
        product_of(layer).W[:, width + 4 * kv : width + 4 * (kv + 1)] *= 2  # the keys of this head
        layer(X)
        changed = [j for j in range(n_heads) if not np.allclose(layer.weights()[:, j], before[:, j])]
        assert changed == [j for j in range(n_heads) if j // (n_heads // n_kv_heads) == kv]
        before = layer.weights()


LLAMA = {"norm": "rmsnorm", "ffn": "gated", "activation": "silu", "positions": "rope", "bias": False, "n_heads": 4}


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-4)])
@pytest.mark.parametrize("n_kv_heads", [4, 2, 1])
def test_cached_logits_of_a_llama_are_those_of_the_whole_and_the_cache_holds_key_heads_only(
        n_kv_heads, dtype, tolerance, make_gpt, make_batch):
    model, (x, _) = make_gpt(**LLAMA, n_kv_heads=n_kv_heads, dtype=dtype).eval(), make_batch()
    logits, caches, end = model(x)[0], new_caches(model, 3), 0
    for new in (2, 1, 3):
        last, end = next_logits(model, x[:, end : end + new], caches), end + new
        np.testing.assert_allclose(last, logits[:, end - 1], rtol=0, atol=tolerance * np.abs(logits).max())
    assert {cache.K.shape for cache in caches} == {cache.V.shape for cache in caches} == {(3, n_kv_heads, 6, 2)}


def test_a_cached_key_is_turned_by_its_own_position(make_gpt, make_batch):
    """Were the cache to hold keys as they come, or turned from 0 on, the second token's key would be another one."""
    model, (x, _) = make_gpt(**LLAMA, n_kv_heads=2), make_batch()
    one, two = new_caches(model, 3), new_caches(model, 3)
    model.hidden(x[:, :4], one)
    for t in range(4):
        model.hidden(x[:, t : t + 1], two)
    np.testing.assert_allclose(two[0].K[:, :, :4], one[0].K[:, :, :4], rtol=1e-12)


def test_padding_before_the_tokens_moves_no_position(normal):
    layer = MultiHeadAttention(8, 4, n_kv_heads=2, rotary=Rotary(2, 100), dtype="float64", rng=0)
    X, cache = normal(2, 4, 8), KVCache(2, 2, 100, 2, 2, "float64")
    at_start = layer(X)
    layer(np.zeros((2, 90, 8)), cache)
    pad = np.array([90, 90])
    np.testing.assert_allclose(layer(X, cache, pad), at_start, rtol=1e-12)


def test_a_model_with_shared_keys_writes_with_smaller_caches(make_gpt):
    model = make_gpt(n_heads=4, n_kv_heads=2)
    ids = np.array([[1, 2, 3]])
    for _ in range(3):
        ids = np.append(ids, model(ids)[0][:, -1].argmax(axis=-1)[:, None], axis=1)
    assert model.generate(ids[:, :3], 3, temperature=0).tolist() == ids.tolist()
    assert product_of(GPT(model.config).blocks[0].attn).W.shape == (8, 4 * 2 + 2 * 2 + 2 * 2)
