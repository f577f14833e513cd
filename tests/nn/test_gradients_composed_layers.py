"""The gradients of attention, the feed-forward network, the block and the losses are the finite differences."""

import math

import numpy as np
import pytest
from parts import product_of

from numpygpt.nn import (
    CrossEntropyLoss,
    FeedForward,
    LinearCrossEntropy,
    MultiHeadAttention,
    ReLU,
    Unembedding,
    causal_attention,
)
from numpygpt.nn.modules import loss
from numpygpt.verify import gradcheck
from numpygpt.verify.wrappers import block

# B = 2 sequences, H = 2 or 3 heads and T = 4 or 5 tokens: all above one and unlike the head sizes, so that an axis
# taken for another one cannot pass.
FLOAT_LAYERS = {
    "attention": (MultiHeadAttention(6, 2), (2, 4, 6)),
    "attention, no bias": (MultiHeadAttention(6, 2, bias=False), (2, 4, 6)),
    "attention, d_k above d_v": (MultiHeadAttention(4, 2, d_k=3, d_v=2), (2, 4, 4)),
    "attention, d_k below d_v": (MultiHeadAttention(4, 3, d_k=1, d_v=2), (2, 5, 4)),
    "attention, d_k alone given": (MultiHeadAttention(4, 2, d_k=5), (2, 3, 4)),
    "attention, dropout": (MultiHeadAttention(4, 2, dropout=0.3, rng=5), (2, 3, 4)),
    "attention, shared keys": (MultiHeadAttention(8, 4, n_kv_heads=2), (2, 5, 8)),
    "attention, one key head": (MultiHeadAttention(6, 3, 4, 5, n_kv_heads=1, dropout=0.3, rng=5), (2, 4, 6)),
    "feed-forward, gelu": (FeedForward(3), (2, 4, 3)),
    "feed-forward, relu": (FeedForward(3, 5, activation=ReLU()), (2, 4, 3)),
    "feed-forward, no bias": (FeedForward(3, 5, bias=False), (2, 4, 3)),
    "feed-forward, dropout": (FeedForward(3, 5, dropout=0.3, rng=5), (2, 4, 3)),
    "block": (block(4, 2, 6), (2, 3, 4)),
    "block, relu, no bias": (block(4, 2, 6, activation="relu", bias=False), (2, 3, 4)),
    "block, head sizes, dropout": (block(4, 2, 6, d_k=3, d_v=1, dropout=0.2, rng=5), (2, 3, 4)),
}


@pytest.mark.parametrize(("layer", "shape"), FLOAT_LAYERS.values(), ids=FLOAT_LAYERS)
def test_gradient_is_the_finite_difference(layer, shape, normal):
    report = gradcheck(layer, normal(*shape))
    assert report, report
    assert report.entries == layer.n_params() + math.prod(shape), "every entry of every tensor is checked"


TARGETS = {
    "all count": [[0, 3, 1], [4, 4, 2]],
    "some ignored": [[0, -1, 1], [-1, 4, -1]],
    "one counts": [[-1, -1, -1], [-1, -1, 4]],
}


@pytest.mark.parametrize("targets", TARGETS.values(), ids=TARGETS)
def test_cross_entropy_gradient_is_the_finite_difference(targets, normal):
    report = gradcheck(CrossEntropyLoss(), normal(2, 3, 5), np.array(targets))
    assert report, report
    assert report.entries == 30


@pytest.mark.parametrize("rows_a_chunk", [1, 2, 4, 100])
@pytest.mark.parametrize("targets", TARGETS.values(), ids=TARGETS)
def test_chunked_loss_gradient_is_the_finite_difference(targets, rows_a_chunk, normal, monkeypatch):
    monkeypatch.setattr(loss, "LOGIT_ENTRIES", 5 * rows_a_chunk)  # V = 5
    monkeypatch.setattr(loss, "LOGIT_ROWS", 1)
    report = gradcheck(LinearCrossEntropy(Unembedding(5, 3)), normal(2, 3, 3), np.array(targets))
    assert report, report
    assert report.entries == 2 * 3 * 3 + 5 * 3


@pytest.mark.parametrize("ignore_index", [0, -100])
def test_the_ignored_target_can_be_another_one(ignore_index, normal):
    targets = np.array([1, ignore_index, 3])
    assert (report := gradcheck(CrossEntropyLoss(ignore_index), normal(3, 5), targets)), report
    criterion = CrossEntropyLoss(ignore_index)
    criterion(normal(3, 5), targets)
    assert not criterion.backward()[1].any()


def test_the_gradient_is_zero_where_no_target_counts(normal):
    targets = np.full((2, 3), -1)
    assert gradcheck(CrossEntropyLoss(), normal(2, 3, 5), targets)
    criterion = CrossEntropyLoss()
    assert criterion(normal(2, 3, 5), targets) == 0.0
    assert not criterion.backward().any()


@pytest.mark.parametrize("rows_a_chunk", [1, 4])
def test_chunked_loss_equals_head_and_loss_apart(rows_a_chunk, normal, monkeypatch, lively):
    monkeypatch.setattr(loss, "LOGIT_ENTRIES", 7 * rows_a_chunk)
    monkeypatch.setattr(loss, "LOGIT_ROWS", 1)
    head = lively(Unembedding(7, 3, dtype="float64"))
    X, targets = normal(2, 5, 3), np.array([[1, -1, 6, 0, 0], [-1, 2, 2, 5, 3]])
    criterion, chunked = CrossEntropyLoss(), LinearCrossEntropy(head)
    apart = criterion(head(X), targets)
    dX_apart, dE_apart = head.backward(criterion.backward(0.3)), head.embedding.dW.copy()
    head.zero_grad()
    assert chunked(X, targets) == pytest.approx(apart, rel=1e-14)
    np.testing.assert_allclose(chunked.backward(0.3), dX_apart, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(head.embedding.dW, dE_apart, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("keep", [0, 100], ids=["weights made again", "weights kept"])
@pytest.mark.parametrize("rows", [1, 2, 3, 7])
def test_attention_in_blocks_of_rows_is_attention(rows, keep, normal, monkeypatch, lively):
    plain = lively(MultiHeadAttention(6, 2, dtype="float64"))
    X, dY = normal(3, 7, 6), normal(3, 7, 6)
    Y, dX = plain(X), plain.backward(dY)
    monkeypatch.setattr(causal_attention, "ROWS", rows)
    monkeypatch.setattr(causal_attention, "KEEP_WEIGHTS", keep)
    blocked = MultiHeadAttention(6, 2, dtype="float64")
    blocked.load_state_dict(plain.state_dict())
    np.testing.assert_allclose(blocked(X), Y, rtol=1e-12)
    saved, empty = (blocked.P, blocked.lse) if keep else (blocked.lse, blocked.P)
    assert len(saved) == -(-7 // rows) and not empty  # a ragged last tile too
    assert saved[-1].shape == (3, 2, 1, (7 - 1) % rows + 1, 7 if keep else 1)
    np.testing.assert_allclose(blocked.backward(dY), dX, rtol=1e-12, atol=1e-14)
    for name, grad in blocked.grads().items():
        np.testing.assert_allclose(grad, plain.grads()[name], rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(blocked.weights(), plain.weights(), rtol=1e-12)


@pytest.mark.parametrize("keep", [0, 100], ids=["weights made again", "weights kept"])
def test_attention_in_blocks_of_rows_passes_gradcheck(keep, normal, monkeypatch):
    monkeypatch.setattr(causal_attention, "ROWS", 2)
    monkeypatch.setattr(causal_attention, "KEEP_WEIGHTS", keep)
    assert gradcheck(MultiHeadAttention(6, 2, d_k=2, d_v=3), normal(2, 5, 6))


def test_attention_keeps_memory_that_grows_with_the_context_and_not_with_its_square(normal):
    layer = MultiHeadAttention(8, 2)
    kept = []
    for T in (2048, 4096):
        layer(np.array(normal(1, T, 8), np.float32))
        kept.append(sum(array.nbytes for array in (layer.Q.base, layer.O, *layer.P, *layer.lse)))
    assert kept[1] == 2 * kept[0]


@pytest.mark.parametrize("entries", [1, 2 * 4 * 4, 10**9], ids=["one sequence", "one exactly", "all at once"])
def test_attention_is_the_same_however_many_sequences_a_piece(entries, normal, monkeypatch, lively):
    layer = lively(MultiHeadAttention(6, 2, dtype="float64"))
    X, dY = normal(5, 4, 6), normal(5, 4, 6)
    Y, dX, dW = layer(X), layer.backward(dY), product_of(layer).dW.copy()
    layer.zero_grad()
    monkeypatch.setattr(causal_attention, "SCORE_ENTRIES", entries)
    np.testing.assert_allclose(layer(X), Y, rtol=1e-12)
    np.testing.assert_allclose(layer.backward(dY), dX, rtol=1e-12)
    np.testing.assert_allclose(product_of(layer).dW, dW, rtol=1e-12)


def test_dropout_follows_the_mask_that_the_forward_drew(normal):
    layer = FeedForward(4, 6, dropout=0.5, rng=0, dtype="float64")
    Y = layer(normal(3, 4))
    layer.backward(np.ones((3, 4)))
    np.testing.assert_allclose(layer.proj.db, 2.0 * (Y != 0).sum(axis=0), rtol=1e-14)


def test_a_chunked_loss_that_failed_has_no_gradient_to_go_back_from(normal):
    head = Unembedding(5, 3, dtype="float64")
    layer, targets = LinearCrossEntropy(head), np.arange(4)
    layer(normal(4, 3), targets)
    with pytest.raises(ValueError):
        layer(normal(4, 2), targets)
    with pytest.raises(RuntimeError):
        layer.backward()
    layer.head = Unembedding(7, 3, dtype="float64")  # another table: another array for its gradient
    layer(normal(4, 3), targets)
    layer.backward()
    assert np.abs(layer.head.embedding.dW).max() > 0.01
