"""Numbers too small for the dtype become 0 without an error, also under np.seterr(all="raise")."""

import warnings

import numpy as np
import pytest

from numpygpt import nn
from numpygpt.inspection.explain import explain
from numpygpt.inspection.probe import attention_weights, next_probabilities, stream_gradients
from numpygpt.inspection.score import score
from numpygpt.models.generate import Sampling, probabilities, sample
from numpygpt.nn import functional as F
from numpygpt.parallel.threads import DataParallel
from numpygpt.verify.wrappers import block

HOWS = [{"temperature": 0.1}, {"temperature": 1e-20}, {"temperature": 1e-29}, {"temperature": 0.1, "top_k": 3},
        {"temperature": 0.05, "top_p": 0.5}, {"temperature": 1e-3, "top_k": 5, "top_p": 0.999}, {"top_p": 1e-30},
        {"temperature": 1e30}, {"temperature": 0}]


@pytest.fixture(autouse=True)
def strict():
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def sure(make_gpt):
    """A model whose logits are hundreds apart."""
    model = make_gpt(dtype="float32", dropout=0.2)
    model.wte.W[...] *= 60
    return model


@pytest.mark.parametrize("how", HOWS, ids=str)
def test_sampling(how, sure):
    ids = sure.generate([[1, 2], [3, 4]], 12, **how)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(ids, sure.generate([[1, 2], [3, 4]], 12, **how))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("how", HOWS, ids=str)
def test_probabilities_of_logits_far_apart(how, dtype):
    logits = np.array([[0, -50, -101, -103.5, -1e4, -1e30, 0], [1e-40, 0, 1e-38, -1e-30, 3e37, 1, -np.inf]], dtype)
    P = probabilities(logits, Sampling(**how))
    np.testing.assert_allclose(P.sum(axis=-1), 1, rtol=1e-6)
    ids = sample(logits, Sampling(**how), [np.random.default_rng(0)] * 2)
    for row, id in zip(logits, ids, strict=True):
        assert explain(row, int(id), Sampling(**how)).rank >= 1


def test_softmax_cross_entropy_and_their_gradients():
    X = np.array([[0, -80, -95, -103, -1000], [0, -np.inf, -np.inf, -90, 1e-40]], np.float32)
    P = F.softmax(X)
    np.testing.assert_allclose(P.sum(axis=-1), 1, rtol=1e-6)
    F.softmax_backward(np.full_like(P, 1e-20), P)
    for layer in (nn.Softmax(), nn.CrossEntropyLoss()):
        args = (X[:1], np.array([3])) if isinstance(layer, nn.CrossEntropyLoss) else (X,)
        layer(*args)
        layer.backward(1e-20 if len(args) == 2 else np.full_like(X, 1e-20))


def test_gelu_in_its_tails_and_close_to_zero():
    X = np.array([-1e4, -50, -9, -6, -5.5, -1e-20, 1e-40, 1e-20, 6, 50, 1e4], np.float32)
    Y, slope = F.gelu(X)
    np.testing.assert_allclose(Y[:5], 0, atol=1e-6)
    np.testing.assert_allclose(Y[-3:], X[-3:])
    np.testing.assert_allclose(slope[[0, -1]], [0, 1])
    F.gelu_backward(np.full_like(X, 1e-30), slope)


def test_silu_in_its_tails_and_close_to_zero():
    X = np.array([-1e38, -1e4, -100, -40, -1e-20, 1e-40, 1e-20, 40, 1e4, 1e8, 1e38], np.float32)
    Y, slope = F.silu(X)
    np.testing.assert_allclose(Y[:4], 0, atol=1e-6)
    np.testing.assert_allclose(Y[-4:], X[-4:])
    np.testing.assert_allclose(slope, [0, 0, 0, 0, 0.5, 0.5, 0.5, 1, 1, 1, 1], atol=1e-6)
    F.silu_backward(np.full_like(X, 1e-30), slope)


@pytest.mark.parametrize("keep", [True, False])
def test_attention_with_a_mask_and_scores_far_apart(keep, lively, monkeypatch):
    if not keep:
        monkeypatch.setattr("numpygpt.nn.causal_attention.KEEP_WEIGHTS", 2)
    layer = lively(nn.MultiHeadAttention(8, 2, rng=0))
    X = 8 * np.random.default_rng(0).standard_normal((2, 7, 8)).astype(np.float32)
    layer(X)
    assert (layer.weights() == 0).any()
    layer.backward(np.full_like(X, 1e-12))


LAYERS = {
    "Linear": lambda: nn.Linear(4, 4, rng=0), "LayerNorm": lambda: nn.LayerNorm(4), "GELU": nn.GELU, "ReLU": nn.ReLU,
    "Softmax": nn.Softmax, "Dropout": lambda: nn.Dropout(0.3, rng=0), "FeedForward": lambda: nn.FeedForward(4, rng=0),
    "MultiHeadAttention": lambda: nn.MultiHeadAttention(4, 2, rng=0),
    "TransformerBlock": lambda: block(4, 2, rng=0), "Unembedding": lambda: nn.Unembedding(6, 4, rng=0),
    "PositionalEmbedding": lambda: nn.PositionalEmbedding(3, 4, rng=0),
    "SinusoidalEncoding": lambda: nn.SinusoidalEncoding(3, 4),
    "RMSNorm": lambda: nn.RMSNorm(4), "SiLU": nn.SiLU, "LeakyReLU": nn.LeakyReLU,
    "GatedFeedForward": lambda: nn.GatedFeedForward(4, 4, rng=0),
    "attention of Llama": lambda: nn.MultiHeadAttention(4, 2, n_kv_heads=1, rotary=nn.Rotary(2, 3), attn_dropout=0.3,
                                                        rng=0),
}


@pytest.mark.parametrize("size", [1e-19, 1e-30, 1e-40])
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_each_layer_alone(make, size):
    layer = make()
    Y = layer(np.array([[[1, -size, size / 3, 0], [size, -size, 0, size], [0, 0, 0, 0]]], np.float32))
    dY = np.array([-1, size, size / 7, 0, size, -size], np.float32)[: Y.shape[-1]]
    assert np.isfinite(Y).all() and np.isfinite(layer.backward(np.broadcast_to(dY, Y.shape) * np.float32(1))).all()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_whole_step_evaluation_and_the_inspection(workers, sure, make_batch):
    x, y = make_batch()
    runner = DataParallel(sure, workers) if workers else sure
    runner.loss(x, y)
    runner.backward(1e-20)
    sure(x, targets=y)
    sure.backward(1e-20)
    assert np.isfinite(sure.eval().loss(x, y))
    assert np.isfinite(score(sure, np.tile(x[0], 4))).all()
    next_probabilities(sure, x[0])
    attention_weights(sure, x[0])
    stream_gradients(sure, x, y)
    if workers:
        runner.close()


def test_what_is_really_wrong_is_still_reported(sure, make_batch):
    """Only underflow is silent: overflow and invalid operations still raise where they happen."""
    sure.blocks[1].norm2.gamma[...] = 3e38
    with pytest.raises(FloatingPointError):
        sure.loss(*make_batch())
    sure.blocks[1].norm2.gamma[...] = np.nan
    with pytest.raises(FloatingPointError), np.errstate(invalid="raise"):
        F.softmax(np.array([[np.inf, 0.0]]))
