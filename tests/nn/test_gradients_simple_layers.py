"""The hand-written gradient of each simple layer, in each of its configurations, is the finite difference."""

import math

import numpy as np
import pytest

from numpygpt.nn import (
    GELU,
    Dropout,
    Embedding,
    LayerNorm,
    Linear,
    PositionalEmbedding,
    ReLU,
    SinusoidalEncoding,
    Softmax,
    Unembedding,
)
from numpygpt.verify import gradcheck

FLOAT_LAYERS = {
    "linear, one vector": (Linear(3, 2), (3,)),
    "linear, rank 2": (Linear(3, 4), (5, 3)),
    "linear, rank 3": (Linear(4, 3), (2, 5, 4)),
    "linear, rank 4": (Linear(2, 3), (2, 3, 4, 2)),
    "linear, rank 2, no bias": (Linear(3, 4, bias=False), (5, 3)),
    "linear, rank 3, no bias": (Linear(4, 3, bias=False), (2, 5, 4)),
    "learned positions, whole context": (PositionalEmbedding(5, 4), (3, 5, 4)),
    "learned positions, part of the context": (PositionalEmbedding(5, 4), (3, 2, 4)),
    "sinusoidal positions": (SinusoidalEncoding(5, 4), (3, 4, 4)),
    "sinusoidal positions, odd width": (SinusoidalEncoding(5, 3), (2, 4, 3)),
    "layer norm": (LayerNorm(6), (2, 3, 6)),
    "layer norm, no bias": (LayerNorm(6, bias=False), (2, 3, 6)),
    "layer norm, one vector": (LayerNorm(6), (6,)),
    "layer norm, an eps that matters": (LayerNorm(6, eps=0.5), (2, 3, 6)),
    "softmax": (Softmax(), (2, 3, 5)),
    "relu": (ReLU(), (2, 3, 5)),
    "gelu": (GELU(), (2, 3, 5)),
    "gelu, one vector": (GELU(), (7,)),
    "dropout, mask held": (Dropout(0.4, rng=3), (4, 3, 5)),
    "dropout in evaluation": (Dropout(0.4, rng=3).eval(), (2, 3, 5)),
    "unembedding, own table": (Unembedding(7, 4), (2, 3, 4)),
    "unembedding, tied table": (Unembedding(7, 4, tied=Embedding(7, 4)), (2, 3, 4)),
}


@pytest.mark.parametrize(("layer", "shape"), FLOAT_LAYERS.values(), ids=FLOAT_LAYERS)
def test_gradient_is_the_finite_difference(layer, shape, normal):
    report = gradcheck(layer, normal(*shape))
    assert report, report
    assert report.entries == layer.n_params() + math.prod(shape), "every entry of every tensor is checked"


@pytest.mark.parametrize("ids", [[[0, 1, 2, 3]], [[4, 1, 1], [1, 4, 4]], [[2, 2, 2, 2, 2]]],
                         ids=["each id once", "repeated ids", "one id alone"])
def test_embedding_gradient_is_the_finite_difference(ids):
    layer = Embedding(5, 3)
    report = gradcheck(layer, np.array(ids))
    assert report, report
    assert report.entries == 15


def test_embedding_gradient_is_what_adding_token_by_token_gives(normal):
    layer = Embedding(6, 3, dtype="float64")
    ids, dY = np.array([[5, 0, 5, 2], [2, 5, 0, 0]]), normal(2, 4, 3)
    layer(ids)
    layer.backward(dY)
    expected = np.zeros((6, 3))
    np.add.at(expected, ids, dY)
    np.testing.assert_allclose(layer.dW, expected, rtol=1e-14)
    assert not layer.dW[[1, 3, 4]].any(), "a token that does not occur gets no gradient"


def test_embedding_of_an_empty_batch_has_no_gradient():
    layer = Embedding(6, 3)
    layer.backward(layer(np.zeros((0, 4), int)))
    assert not layer.dW.any()


def test_positions_later_than_start_get_the_gradient(normal):
    layer = PositionalEmbedding(6, 3, dtype="float64")
    X, dY = normal(2, 3, 3), normal(2, 3, 3)
    np.testing.assert_array_equal(layer(X, start=2), X + layer.W[2:5])
    layer.backward(dY)
    np.testing.assert_allclose(layer.dW[2:5], dY[0] + dY[1], rtol=1e-14)
    assert not layer.dW[[0, 1, 5]].any()
