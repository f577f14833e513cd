"""Products of 16 bits in a training step: which numbers are rounded, how far the gradients are off, and underflow."""

import copy

import numpy as np
import pytest
import strict

from numpygpt import GPT
from numpygpt.nn import Linear, Unembedding, apply_lora, mixed_precision
from numpygpt.nn.backend import to_host
from numpygpt.nn.modules.loss import LinearCrossEntropy

LLAMA = {"norm": "rmsnorm", "positions": "rope", "ffn": "gated", "activation": "silu", "n_kv_heads": 2}


@pytest.fixture(params=["float16", "bfloat16"])
def dtype(request):
    if request.param == "bfloat16":
        pytest.importorskip("ml_dtypes")
    return request.param


def step(dtype):
    """The distance from 1 to the next number, relative."""
    return 2.0**-10 if dtype == "float16" else 2.0**-7


def half(X, dtype):
    layer = mixed_precision(Linear(1, 1), dtype)
    return X.astype(layer.mixed).astype(X.dtype)


def test_a_linear_layer_multiplies_rounded_numbers(dtype, normal):
    layer, X, dY = Linear(5, 4, rng=0), normal(3, 5).astype(np.float32), normal(3, 4).astype(np.float32)
    layer.b = normal(4)
    mixed_precision(layer, dtype)
    Y, dX = layer(X), layer.backward(dY)
    W, x, dy = half(layer.W, dtype), half(X, dtype), half(dY, dtype)
    assert all(array.dtype == np.float32 for array in (Y, dX, layer.W, layer.dW, layer.db))
    for found, expected in ((Y - layer.b, x @ W), (dX, dy @ W.T), (layer.dW, x.T @ dy)):
        np.testing.assert_allclose(found, expected, atol=step(dtype) * np.abs(expected).max())
    np.testing.assert_allclose(layer.db, dY.sum(axis=0), rtol=1e-6)
    assert np.abs(x - X).max() > 0 and layer.X.dtype == layer.mixed  # half of the memory


def test_evaluation_and_the_end_of_mixed_precision_are_exact(dtype, normal):
    layer, X = Linear(5, 4, rng=0), normal(3, 5).astype(np.float32)
    expected = layer(X)
    assert (mixed_precision(layer, dtype)(X) != expected).any()
    np.testing.assert_array_equal(layer.eval()(X), expected)
    np.testing.assert_array_equal(mixed_precision(layer.train(), None)(X), expected)


@pytest.mark.parametrize("fields", [{}, {"tie_weights": False}, LLAMA], ids=["gpt2", "untied", "llama"])
def test_gradients_of_a_model_are_off_by_the_rounding_alone(fields, dtype):
    exact = GPT(vocab_size=40, max_len=16, d_model=32, n_heads=4, n_layers=2, **fields)
    x, y = np.random.default_rng(0).integers(40, size=(2, 4, 16))
    found = {}
    for name, model in (("exact", exact), ("mixed", mixed_precision(copy.deepcopy(exact), dtype)),
                        ("device", mixed_precision(copy.deepcopy(exact), dtype).to(strict.DEVICE))):
        loss = float(model.loss(x, y))
        model.backward(2.0**10)  # the loss scale
        found[name] = loss, to_host(model.flat().grads) / 2.0**10
    (loss, grads), (rounded, mixed) = found["exact"], found["mixed"]
    assert 0 < abs(rounded - loss) < step(dtype)
    error = np.linalg.norm(mixed - grads) / np.linalg.norm(grads)
    assert 1e-5 < error < 4 * step(dtype)
    np.testing.assert_allclose(found["device"][1], mixed, atol=step(dtype) * np.abs(grads).max())


def test_the_loss_in_chunks_is_the_loss_of_the_logits(dtype, normal):
    head, X = Unembedding(11, 6, rng=0), normal(7, 6).astype(np.float32)
    head.embedding.W = normal(11, 6)
    fused = mixed_precision(LinearCrossEntropy(head), dtype)
    targets = np.arange(7)
    loss = fused(X, targets)
    dX, dE = fused.backward(), head.embedding.dW.copy()
    logits = half(X, dtype) @ half(head.embedding.W, dtype).T
    P = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert loss == pytest.approx(-np.log(P[np.arange(7), targets]).mean(), rel=4 * step(dtype))
    dlogits = (P - np.eye(7, 11)) / 7
    np.testing.assert_allclose(dX, dlogits @ head.embedding.W, atol=4 * step(dtype))
    np.testing.assert_allclose(dE, dlogits.T @ X, atol=4 * step(dtype))


def test_small_gradients_vanish_in_float16_and_a_loss_scale_brings_them_back():
    layer = mixed_precision(Linear(4, 3, rng=0), "float16")
    X, dY = np.ones((2, 4), np.float32), np.full((2, 3), 1e-9, np.float32)
    layer(X)
    assert not layer.backward(dY).any() and not layer.dW.any()
    scale = np.float32(2.0**16)
    layer(X)
    layer.backward(dY * scale)
    np.testing.assert_allclose(layer.dW / scale, 2e-9, rtol=1e-3)


def test_a_large_gradient_overflows_in_float16_and_not_in_bfloat16():
    pytest.importorskip("ml_dtypes")
    for dtype, finite in (("float16", False), ("bfloat16", True)):
        layer = mixed_precision(Linear(4, 3, rng=0), dtype)
        layer(np.ones((2, 4), np.float32))
        with np.errstate(over="ignore", invalid="ignore"):
            layer.backward(np.full((2, 3), 1e5, np.float32))
        assert np.isfinite(layer.dW).all() == finite


def test_adapters_learn_beside_a_rounded_base(dtype):
    model = GPT(vocab_size=20, max_len=8, d_model=16, n_heads=2, n_layers=1)
    apply_lora(model, ("attn.qkv",), 2)
    mixed_precision(model, dtype)
    x = np.arange(16).reshape(2, 8)
    model.loss(x, x)
    model.backward()
    assert model.flat().grads.any() and model.flat().grads.dtype == np.float32


@pytest.mark.parametrize("name", ["float32", "half", "", 16])
def test_other_dtypes_are_refused(name):
    with pytest.raises(ValueError, match="float16"):
        mixed_precision(Linear(2, 2), name)


def test_the_heads_gradient_does_not_overflow_with_many_rows():
    """It is a sum over the rows of a chunk, before any loss scale."""
    rng = np.random.default_rng(0)
    head = Unembedding(5, 4, rng=0)
    fused = mixed_precision(LinearCrossEntropy(head), "float16")
    X = (6 + rng.standard_normal((65_536, 4))).astype(np.float32)
    for place in ("cpu", strict.DEVICE):
        fused.to(place)
        loss = fused(X if place == "cpu" else strict.asarray(X), np.zeros(len(X), int))
        fused.backward()
        assert np.isfinite(float(loss)) and np.isfinite(to_host(head.embedding.dW)).all()
        head.zero_grad()
