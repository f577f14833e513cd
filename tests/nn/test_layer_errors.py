"""Errors of a layer name the incorrect value."""

import numpy as np
import pytest

from numpygpt.nn import (
    CrossEntropyLoss,
    Dropout,
    Embedding,
    FeedForward,
    GatedFeedForward,
    KVCache,
    LayerNorm,
    LeakyReLU,
    Linear,
    LinearCrossEntropy,
    MultiHeadAttention,
    PositionalEmbedding,
    RMSNorm,
    Rotary,
    SinusoidalEncoding,
    Unembedding,
)


def X(*shape):
    return np.zeros(shape, np.float32)


WRONG = {
    "last axis": (lambda: Linear(3, 2)(X(4, 5)), r"Linear needs a last axis of 3, got \(4, 5\)"),
    "an axis of one": (lambda: LayerNorm(4)(X(2, 1)), r"LayerNorm needs a last axis of 4, got \(2, 1\)"),
    "positions": (lambda: PositionalEmbedding(3, 2)(X(1, 2, 1)), "PositionalEmbedding needs a last axis of 2"),
    "sinusoids": (lambda: SinusoidalEncoding(3, 2)(X(1, 2, 1)), "SinusoidalEncoding needs a last axis of 2"),
    "no heads": (lambda: MultiHeadAttention(4, 0), "n_heads must be at least 1, got 0"),
    "no width inside": (lambda: FeedForward(4, 0), "must be at least 1, got 0"),
    "id too large": (lambda: Embedding(5, 2)(np.array([1, 5])), r"token id 5 is outside this table of 5 \(0 to 4\)"),
    "id below 0": (lambda: Embedding(5, 2)(np.array([1, -2])), "token id -2 is outside"),
    "float ids": (lambda: Embedding(5, 2)(np.array([1.0])), "token ids must be integers, got an array of float64"),
    "target too large": (lambda: CrossEntropyLoss()(X(2, 3), np.array([0, 3])), "token id 3 is outside"),
    "target below 0": (lambda: CrossEntropyLoss()(X(2, 3), np.array([-2, 0])), "token id -2 is outside"),
    "target too large, in chunks": (lambda: LinearCrossEntropy(Unembedding(3, 2))(X(2, 2), np.array([0, 3])),
                                    "token id 3 is outside"),
    "too long, learned": (lambda: PositionalEmbedding(3, 2)(X(1, 4, 2)), "4 tokens do not fit the context of 3"),
    "too long, sinusoids": (lambda: SinusoidalEncoding(3, 2)(X(1, 2, 2), 2), "4 tokens do not fit the context of 3"),
    "more than the cache holds": (lambda: KVCache(1, 2, 3, 4, 4, "float32").append(X(1, 2, 4, 4), X(1, 2, 4, 4)),
                                  "4.*3"),
    "heads": (lambda: MultiHeadAttention(4, 3), "d_model 4 is not divisible by n_heads 3"),
    "heads, one size": (lambda: MultiHeadAttention(4, 3, d_k=2), "give both d_k and d_v"),
    "activation": (lambda: FeedForward(4, activation="swish"), "GELU.*'swish'"),
    "rms norm": (lambda: RMSNorm(4)(X(2, 1)), r"RMSNorm.*4.*\(2, 1\)"),
    "eps": (lambda: RMSNorm(4, eps=-1.0), "eps.*-1.0"),
    "eps beyond floats": (lambda: RMSNorm(4, eps=10**400), "eps.*float32.*1000"),
    "eps beyond the dtype": (lambda: LayerNorm(4, eps=1e5, dtype="float16"), "eps.*float16.*100000.0"),
    "before the start, learned": (lambda: PositionalEmbedding(3, 2)(X(1, 2, 2), -1), "start.*-1"),
    "before the start, sinusoids": (lambda: SinusoidalEncoding(3, 2)(X(1, 2, 2), -1), "start.*-1"),
    "before the start, rotary": (lambda: Rotary(2, 3)(X(1, 1, 2, 2), -1), "start.*-1"),
    "rotary, odd": (lambda: Rotary(3, 4), "d_k.*3"),
    "rotary, width": (lambda: Rotary(4, 4)(X(1, 1, 2, 2)), "4.*2"),
    "rotary, theta": (lambda: Rotary(4, 4, 1.0), "rope_theta.*1.0"),
    "rotary, kind": (lambda: Rotary(4, 4, scaling="yarn:4"), "rope_scaling.*linear.*llama3.*'yarn:4'"),
    "rotary, numbers": (lambda: Rotary(4, 4, scaling="llama3:8:1:4"), "rope_scaling.*'llama3:8:1:4'"),
    "rotary, factor": (lambda: Rotary(4, 4, scaling="linear:0.5"), "rope_scaling.*'linear:0.5'"),
    "rotary, low above high": (lambda: Rotary(4, 4, scaling="llama3:8:4:1:64"), "LOW.*HIGH.*'llama3:8:4:1:64'"),
    "gate": (lambda: GatedFeedForward(4, activation="swish"), "SiLU.*'swish'"),
    "leaky relu of slope 1": (lambda: LeakyReLU(1.0), "1.0"),
    "leaky relu of slope 0": (lambda: LeakyReLU(0), "0"),
    "dropout 1": (lambda: Dropout(1.0), "dropout must be at least 0 and below 1, got 1.0"),
    "dropout below 0": (lambda: Dropout(-0.1), "dropout must be at least 0 and below 1, got -0.1"),
    "dropout NaN": (lambda: Dropout(float("nan")), "dropout must be .* got nan"),
}


@pytest.mark.parametrize(("act", "message"), WRONG.values(), ids=WRONG)
def test_the_error_says_what_came_and_what_is_expected(act, message):
    with pytest.raises(ValueError, match=message):
        act()


def test_a_loss_in_evaluation_has_no_gradient_to_give():
    loss = LinearCrossEntropy(Unembedding(3, 2)).eval()
    assert loss(X(2, 2), np.array([0, 2])) == pytest.approx(np.log(3), rel=1e-6)
    with pytest.raises(RuntimeError):
        loss.backward()


def test_the_chunked_loss_goes_back_once():
    loss = LinearCrossEntropy(Unembedding(3, 2))
    loss(X(2, 2), np.array([0, 2]))
    loss.backward()
    with pytest.raises(RuntimeError, match="once"):
        loss.backward()
