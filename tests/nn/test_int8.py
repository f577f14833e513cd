"""Weights in 8 bits: how far they are off, that products are those of the rounded weights, and that memory is freed."""

import copy
import tracemalloc

import numpy as np
import pytest
import strict

from numpygpt import GPT
from numpygpt.inspection.score import scores
from numpygpt.nn import Embedding, Linear, apply_lora, to_int8
from numpygpt.nn.backend import to_host
from numpygpt.nn.modules import int8
from numpygpt.nn.modules.int8 import Int8Embedding, Int8Linear, converted, int8_layers, quantised


def test_a_weight_is_off_by_at_most_half_a_level(normal):
    W = normal(7, 50) * np.exp(normal(7, 1) * 3)
    W[3] = 0
    Q, scale = quantised(W)
    assert Q.dtype == np.int8 and Q.min() >= -127 and (np.abs(Q).max(axis=1)[[0, 1, 2, 4, 5, 6]] == 127).all()
    assert (np.abs(Q * scale[:, None] - W) <= scale[:, None] / 2 * (1 + 1e-12)).all()
    assert scale[3] == 0 and not Q[3].any()


@pytest.mark.parametrize("entries", [1, 40, 1 << 18])
@pytest.mark.parametrize("shape", [(6,), (5, 6), (2, 3, 6)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer_computes_with_the_rounded_weights(shape, bias, entries, normal, monkeypatch):
    monkeypatch.setattr(int8, "BLOCK_ENTRIES", entries)
    linear, X = Linear(6, 11, bias, rng=0, dtype="float64"), normal(*shape)
    if bias:
        linear.b = normal(11)
    layer = converted(linear).eval()
    assert isinstance(layer, Int8Linear) and layer.Q.shape == (11, 6)
    expected = X @ (layer.Q.T * layer.scale.astype(np.float64)) + (linear.b if bias else 0)
    np.testing.assert_allclose(layer(X), expected, atol=1e-13)
    assert 0 < np.abs(layer(X) - linear(X)).max() < 0.05
    with pytest.raises(RuntimeError):
        layer.backward(layer(X))
    with pytest.raises(ValueError, match="6"):
        layer(normal(3, 5))


def test_an_embedding_returns_its_rounded_rows(normal):
    table = Embedding(9, 4, std=1, rng=0, dtype="float64")
    layer, ids = converted(table).eval(), np.array([[3, 0], [8, 3]])
    assert isinstance(layer, Int8Embedding)
    np.testing.assert_array_equal(layer(ids), layer.W[ids])
    np.testing.assert_allclose(layer.W, table.W, atol=np.abs(table.W).max() / 250)
    with pytest.raises(ValueError, match="9"):
        layer(np.array([9]))


@pytest.fixture(params=[{}, {"tie_weights": False, "norm": "rmsnorm", "positions": "rope", "ffn": "gated",
                             "activation": "silu", "n_kv_heads": 2, "bias": False}], ids=["gpt2", "llama"])
def model(request):
    model = GPT(vocab_size=60, max_len=32, d_model=32, n_heads=4, n_layers=2, seed=2, **request.param)
    for name, param in model.params().items():
        if param.ndim == 2 and name != "wpe.W":
            param *= 8
    return model.eval()


def test_a_model_predicts_almost_the_same(model):
    ids = np.arange(50) * 7 % 60
    expected, whole = scores(model, ids).losses, copy.deepcopy(model)
    found = to_int8(model, least=0)
    assert found is model and not model.training
    assert not {type(module).__name__ for _, module in model.named_modules()} & {"Linear", "Embedding", "Unembedding"}
    losses = scores(model, ids).losses
    assert 0 < np.abs(losses - expected).max() < 0.2 and abs(losses.mean() - expected.mean()) < 0.02
    x = ids[None, :20]
    assert model.loss(x, x) == pytest.approx(whole.loss(x, x), abs=0.05)
    again = copy.deepcopy(model)
    np.testing.assert_array_equal(again.generate([[1, 2], [3]], 40, seed=1), model.generate([[1, 2], [3]], 40, seed=1))


def test_it_runs_on_a_device(model):
    to_int8(model, least=0)
    other = copy.deepcopy(model).to(strict.DEVICE)
    x = np.arange(20).reshape(2, 10)
    np.testing.assert_allclose(to_host(other(x)[0]), model(x)[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(other.generate(x, 30, temperature=0), model.generate(x, 30, temperature=0))
    assert int8_layers(other)["blocks.0.ffn.fc.W"].Q.dtype == np.int8


def test_matrices_below_the_limit_stay_as_they_are(model):
    sizes = {name: param.size for name, param in model.params().items() if param.ndim == 2 and name != "wpe.W"}
    limit = sorted(set(sizes.values()))[1]
    to_int8(model, least=limit)
    assert set(int8_layers(model)) == {name for name, size in sizes.items() if size >= limit}
    with pytest.raises(ValueError, match="262,144"):
        to_int8(GPT(vocab_size=60, max_len=32, d_model=32, n_heads=4, n_layers=2))


def test_a_dtype_changes_the_scales_alone(model):
    to_int8(model, least=0).astype("float64")
    layer = model.blocks[0].attn.qkv
    assert layer.Q.dtype == np.int8 and layer.scale.dtype == np.float64 == model(np.zeros((1, 3), int))[0].dtype


def test_adapters_are_merged_first(model):
    apply_lora(model, ("ffn",), 2)
    before = repr(model)
    with pytest.raises(ValueError, match="merge_lora"):
        to_int8(model, least=0)
    assert repr(model) == before


def test_the_memory_of_the_large_numbers_is_freed():
    tracemalloc.start()
    try:
        model = GPT(vocab_size=2000, max_len=32, d_model=64, n_heads=4, n_layers=2)
        model.flat()
        numbers = model.n_params()
        model = to_int8(model, least=0)
        assert tracemalloc.get_traced_memory()[0] < 1.5 * numbers  # bytes; it was 4 per number
    finally:
        tracemalloc.stop()


def test_training_is_refused_with_the_way_out(model):
    to_int8(model, least=0).train()
    with pytest.raises(RuntimeError, match="to_int8"):
        model.loss(np.zeros((1, 4), int), np.zeros((1, 4), int))


def test_a_model_that_diverged_is_refused_by_name(model):
    model.blocks[1].ffn.fc.W[3, 4] = np.nan
    with pytest.raises(ValueError, match=r"blocks\.1\.ffn\.fc\.W"):
        to_int8(model, least=0)
    assert not int8_layers(model)


def test_a_model_is_converted_once(model):
    to_int8(model, least=0)
    with pytest.raises(ValueError, match="already"):
        to_int8(model, least=0)


SIZES = [("float16", 7e-4), ("float16", 1e-6), ("float32", 2e-43), ("float64", 1.0)]


@pytest.mark.parametrize(("dtype", "size"), SIZES)
def test_small_numbers_keep_their_sign(dtype, size):
    W = (np.array([[1.0, -1.0, 0.5], [-1.0, 1.0, 0.0]]) * size).astype(dtype)
    Q, scale = quantised(W)
    assert scale.dtype == np.float32 and Q.min() >= -127
    assert (np.sign(Q[:, :2]) == [[1, -1], [-1, 1]]).all()
    np.testing.assert_allclose(Q * scale[:, None], W.astype(np.float32), atol=max(size / 200, 2e-43))
