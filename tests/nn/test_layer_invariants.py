"""What holds for a layer without any reference: arguments untouched, dtype kept, causality, statistics."""

import numpy as np
import pytest
from parts import product_of

from numpygpt.nn import (
    GELU,
    CrossEntropyLoss,
    Dropout,
    Embedding,
    FeedForward,
    GatedFeedForward,
    LayerNorm,
    LeakyReLU,
    Linear,
    LinearCrossEntropy,
    MultiHeadAttention,
    PositionalEmbedding,
    ReLU,
    RMSNorm,
    Rotary,
    SiLU,
    SinusoidalEncoding,
    Softmax,
    Unembedding,
)
from numpygpt.verify.wrappers import block

C = 6
LAYERS = {
    "Linear": lambda dtype: Linear(C, C, dtype=dtype),
    "PositionalEmbedding": lambda dtype: PositionalEmbedding(5, C, dtype=dtype),
    "SinusoidalEncoding": lambda dtype: SinusoidalEncoding(5, C, dtype=dtype),
    "LayerNorm": lambda dtype: LayerNorm(C, dtype=dtype),
    "RMSNorm": lambda dtype: RMSNorm(C, dtype=dtype),
    "Softmax": lambda dtype: Softmax(),
    "ReLU": lambda dtype: ReLU(),
    "GELU": lambda dtype: GELU(),
    "SiLU": lambda dtype: SiLU(),
    "LeakyReLU": lambda dtype: LeakyReLU(),
    "Dropout": lambda dtype: Dropout(0.5, rng=0),
    "MultiHeadAttention": lambda dtype: MultiHeadAttention(C, 2, dropout=0.5, dtype=dtype),
    "attention of Llama": lambda dtype: MultiHeadAttention(C, 2, 4, 3, n_kv_heads=1, rotary=Rotary(4, 5, 100.0),
                                                           attn_dropout=0.5, dtype=dtype),
    "GatedFeedForward": lambda dtype: GatedFeedForward(C, dropout=0.5, dtype=dtype),
    "FeedForward": lambda dtype: FeedForward(C, dropout=0.5, dtype=dtype),
    "TransformerBlock": lambda dtype: block(C, 2, dropout=0.5, dtype=dtype),
    "Unembedding": lambda dtype: Unembedding(C, C, dtype=dtype),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_arguments_are_left_alone_and_the_dtype_is_kept(make, dtype, normal):
    layer, X, dY = make(dtype), normal(2, 4, C, dtype=dtype), normal(2, 4, C, dtype=dtype)
    before = X.copy(), dY.copy()
    Y = layer(X)  # X and dY are read-only: writing to them would raise
    dX = layer.backward(dY)
    assert Y.shape == dX.shape == X.shape and Y.dtype == dX.dtype == np.dtype(dtype)
    assert all(grad.dtype == np.dtype(dtype) for grad in layer.grads().values())
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(dY, before[1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_losses_leave_arguments_alone_and_keep_the_dtype(dtype, normal, make_batch):
    X, (_, targets) = normal(2, 4, C, dtype=dtype), make_batch(C, (2, 4), ignored=[2])
    before = X.copy()
    for loss in (CrossEntropyLoss(), LinearCrossEntropy(Unembedding(C, C, dtype=dtype))):
        assert type(loss(X, targets)) is float
        assert loss.backward().dtype == np.dtype(dtype)
        np.testing.assert_array_equal(X, before)


def test_a_linear_layer_at_rank_one_is_the_product_by_hand():
    layer = Linear(2, 3, dtype="float64")
    layer.W, layer.b = [[1, 2, 3], [4, 5, 6]], [10, 20, 30]
    assert layer(np.array([1.0, 2.0])).tolist() == [19, 32, 45]


def test_layer_norm_makes_rows_of_mean_zero_and_variance_one(normal):
    Y = LayerNorm(50, eps=1e-12, dtype="float64")(5 + 3 * normal(4, 50))
    np.testing.assert_allclose(Y.mean(axis=-1), 0, atol=1e-14)
    np.testing.assert_allclose(Y.var(axis=-1), 1, rtol=1e-10)


def test_layer_norm_of_a_constant_row_is_its_shift():
    layer = LayerNorm(4)
    layer.beta = [1, 2, 3, 4]
    np.testing.assert_array_equal(layer(np.full((2, 4), 7, np.float32)), [[1, 2, 3, 4]] * 2)


def test_layer_norm_gradient_does_not_see_a_shift_or_a_scaling_of_the_row(normal):
    """Y does not change along (1, 1, ..) nor (with eps 0) along Xhat, so dX is orthogonal to both."""
    layer = LayerNorm(8, eps=0.0, dtype="float64")
    layer(normal(5, 8))
    dX = layer.backward(normal(5, 8))
    assert np.abs(dX).max() > 0.1
    np.testing.assert_allclose(dX.sum(axis=-1), 0, atol=1e-14)
    np.testing.assert_allclose((dX * layer.Xhat).sum(axis=-1), 0, atol=1e-14)


def test_rms_norm_makes_rows_of_mean_square_one_and_keeps_their_direction(normal):
    X = 5 + 3 * normal(4, 50)
    Y = RMSNorm(50, eps=1e-12, dtype="float64")(X)
    np.testing.assert_allclose((Y * Y).mean(axis=-1), 1, rtol=1e-12)
    np.testing.assert_allclose(Y / np.linalg.norm(Y, axis=-1, keepdims=True),
                               X / np.linalg.norm(X, axis=-1, keepdims=True), rtol=1e-12)


def test_rms_norm_does_not_see_the_scale_of_a_row_and_its_gradient_is_orthogonal_to_the_row(normal, lively):
    layer, X, dY = lively(RMSNorm(8, eps=0.0, dtype="float64")), normal(5, 8), normal(5, 8)
    scale = np.array([[1e-9], [0.1], [3], [1e6], [1e12]])
    one = layer(X)
    dX = layer.backward(dY)
    assert np.abs(dX).max() > 0.1
    np.testing.assert_allclose((dX * X).sum(axis=-1), 0, atol=1e-13)
    np.testing.assert_allclose(layer(X * scale), one, rtol=1e-12)
    np.testing.assert_allclose(layer.backward(dY) * scale, dX, rtol=1e-9, atol=1e-14)


def test_rms_norm_is_layer_norm_on_rows_of_mean_zero(normal):
    X, dY = np.array(normal(5, 8)), normal(5, 8)
    X -= X.mean(axis=-1, keepdims=True)
    rms, layer = RMSNorm(8, dtype="float64"), LayerNorm(8, dtype="float64")
    np.testing.assert_allclose(rms(X), layer(X), rtol=1e-12)
    dX, expected = rms.backward(dY), layer.backward(dY)
    np.testing.assert_allclose(dX - dX.mean(axis=-1, keepdims=True), expected, rtol=1e-10, atol=1e-13)
    assert not np.allclose(dX, expected), "the path through the mean is missing"


@pytest.mark.parametrize("scaling", ["", "linear:4", "llama3:8:1:4:64"])
def test_rotary_positions_keep_the_length_of_a_vector_and_the_angle_between_two_at_one_distance(scaling, normal):
    layer, q, k = Rotary(8, 300, 100.0, scaling), normal(1, 2, 1, 8), normal(1, 2, 1, 8)
    scores = []
    for start, distance in ((0, 5), (7, 5), (250, 5), (0, 6)):
        Q, K = layer(q, start + distance), layer(k, start)
        np.testing.assert_allclose(np.linalg.norm(Q, axis=-1), np.linalg.norm(q, axis=-1), rtol=1e-12)
        scores.append((Q * K).sum(axis=-1))
    np.testing.assert_allclose(scores[1:3], scores[:1] * 2, atol=1e-4)  # the angles are products of float32 numbers
    assert np.abs(scores[3] - scores[0]).max() > 1e-2


def test_rotary_backward_is_the_turn_back(normal):
    layer, X = Rotary(8, 40, 100.0), normal(2, 3, 5, 8)
    np.testing.assert_allclose(layer.backward(layer(X, 30)), X, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(layer(X)[:, :, 0], X[:, :, 0])


def test_rotary_turns_the_two_halves_of_a_vector():
    """Entry i with entry i + D/2, as Hugging Face does, and not neighbours; the first pair by one radian."""
    Y = Rotary(4, 3, 100.0)(np.array([1.0, 10, 100, 1000])[None, None, None], 1)[0, 0, 0]
    c, s = np.cos([1, 0.1]), np.sin([1, 0.1])
    np.testing.assert_allclose(Y, [c[0] - 100 * s[0], 10 * c[1] - 1000 * s[1], s[0] + 100 * c[0],
                                   10 * s[1] + 1000 * c[1]], rtol=1e-6)


@pytest.mark.parametrize(("start", "length", "end"), [(0, 6, 6), (3, 3, 6), (np.array([0, 4]), 2, 6)], ids=str)
def test_a_position_past_max_len_is_an_error(start, length, end, normal):
    layers = [(Rotary(4, 5), normal(2, 1, length, 4)), (PositionalEmbedding(5, 4), normal(2, length, 4)),
              (SinusoidalEncoding(5, 4), normal(2, length, 4))]
    for layer, X in layers:
        with pytest.raises(ValueError, match=f"{end}.*5"):
            layer(X, start)
        layer(X[..., : 5 - int(np.max(start)), :], start)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layer", [SiLU(), LeakyReLU(), LeakyReLU(0.5)], ids=repr)
def test_activations_at_large_numbers(layer, dtype):
    """Without a warning of an overflow, which would be an error here. The slope of SiLU is 0 or 1 out there."""
    X = np.array([-1e30, -1e4, -100, 100, 1e4, 1e30], dtype)
    a = getattr(layer, "a", 0.0)
    np.testing.assert_allclose(layer(X), np.where(X > 0, X, a * X), rtol=1e-6, atol=1e-37)
    np.testing.assert_allclose(layer.backward(np.ones_like(X)), np.where(X > 0, 1, a), rtol=1e-6, atol=1e-37)


def test_silu_is_its_formula(normal):
    X = 4 * normal(50)
    np.testing.assert_allclose(SiLU()(X), X / (1 + np.exp(-X)), rtol=1e-12, atol=1e-14)


def test_a_gate_of_zero_lets_nothing_pass_and_a_wide_open_one_everything(normal):
    layer, X = GatedFeedForward(4, 4, ReLU(), dtype="float64"), normal(2, 3, 4)
    layer.fc.W = np.concatenate([np.zeros((4, 4)), np.eye(4)], axis=1)
    layer.proj.W = np.eye(4)
    for gate in (-1.0, 1.0, 2.0):
        layer.fc.b[:4] = gate
        np.testing.assert_array_equal(layer(X), max(gate, 0) * X)


def test_attention_weights_are_a_distribution_over_the_past(normal, lively):
    layer = lively(MultiHeadAttention(C, 2, dtype="float64"))
    layer(normal(2, 5, C))
    P = layer.weights()
    np.testing.assert_allclose(P.sum(axis=-1), 1, rtol=1e-14)
    assert not np.triu(P, k=1).any()
    assert (P[..., np.tri(5, dtype=bool)] > 0).all()


def test_nothing_of_a_later_token_reaches_an_attention_output_or_its_gradient(normal, lively):
    layer = lively(MultiHeadAttention(C, 2, dtype="float64"))
    X, dY = normal(2, 5, C), np.array(normal(2, 5, C))
    changed = X.copy()
    changed[:, 3:] = 100 * normal(2, 2, C)
    Y = layer(X)
    np.testing.assert_array_equal(layer(changed)[:, :3], Y[:, :3])
    assert not np.allclose(layer(changed)[:, 3:], Y[:, 3:])
    dY[:, 3:] = 0  # a loss of the first three outputs alone
    layer(X)
    dX = layer.backward(dY)
    assert not dX[:, 3:].any() and dX[:, :3].all()


def test_the_key_bias_has_no_gradient(normal, lively):
    """It adds the same number to all scores of a query, which softmax ignores."""
    layer = lively(MultiHeadAttention(C, 2, d_k=4, dtype="float64"))
    layer(normal(3, 5, C))
    layer.backward(normal(3, 5, C))
    db = product_of(layer).db
    dq, dk = np.abs(db[:8]).max(), np.abs(db[8:16]).max()
    assert dq > 0.1
    assert dk < 1e-12 * dq  # what rounding leaves of a sum of a few hundred float64 terms


def test_equal_keys_give_the_mean_of_the_values(normal):
    layer = MultiHeadAttention(4, 1, dtype="float64")
    W = product_of(layer).W
    W[:, :8] = 0  # no scores
    W[:, 8:], layer.proj.W = np.eye(4), np.eye(4)
    X = normal(2, 5, 4)
    means = X.cumsum(axis=1) / np.arange(1, 6)[:, None]
    np.testing.assert_allclose(layer(X), means, rtol=1e-12)


def test_dropout_keeps_the_expectation_and_the_share():
    layer = Dropout(0.25, rng=0)
    Y = layer(np.ones(100_000, np.float32))
    assert set(np.unique(Y).tolist()) == {0.0, float(np.float32(4 / 3))}
    # The share of zeros has a standard deviation of sqrt(0.25 * 0.75 / 1e5) = 0.0014: five of them.
    assert (Y == 0).mean() == pytest.approx(0.25, abs=0.007)


def test_dropout_passes_everything_in_evaluation_and_at_zero(normal):
    X = normal(3, 4)
    for layer in (Dropout(0.5, rng=0).eval(), Dropout(0.0, rng=0)):
        state = layer.rng.bit_generator.state
        assert layer(X) is X and layer.backward(X) is X
        assert layer.rng.bit_generator.state == state, "no random number is drawn for nothing"


def test_dropout_draws_another_mask_each_time_and_the_same_from_the_same_seed():
    X = np.ones((20, 20), np.float32)
    one, two = Dropout(0.5, rng=3), Dropout(0.5, rng=3)
    first = one(X)
    np.testing.assert_array_equal(two(X), first)
    assert not np.array_equal(one(X), first)


def test_sinusoids_are_their_formula():
    P = SinusoidalEncoding(50, 6, dtype="float64").P
    for t in (0, 1, 49):
        for i in range(3):
            angle = t / 10000 ** (2 * i / 6)
            assert P[t, 2 * i] == pytest.approx(np.sin(angle) / np.sqrt(6), abs=1e-14)
            assert P[t, 2 * i + 1] == pytest.approx(np.cos(angle) / np.sqrt(6), abs=1e-14)


def test_embedding_looks_rows_up():
    layer = Embedding(4, 2)
    ids = np.array([[3, 0], [0, 1]], np.uint16)
    np.testing.assert_array_equal(layer(ids), [[layer.W[3], layer.W[0]], [layer.W[0], layer.W[1]]])


def test_weights_start_with_the_standard_deviation_asked_for():
    W = Linear(400, 300, rng=0).W
    assert W.std() == pytest.approx(1 / 20, rel=0.02)  # 120,000 draws: its own deviation is 0.2 %
    assert Linear(400, 300, std=0.3, rng=0).W.std() == pytest.approx(0.3, rel=0.02)
    assert Embedding(400, 300, rng=0).W.std() == pytest.approx(0.02, rel=0.02)
    assert not Linear(4, 3).b.any() and (LayerNorm(4).gamma == 1).all() and not LayerNorm(4).beta.any()


@pytest.mark.parametrize("size", [1e20, 1e37])
def test_layer_norm_of_large_numbers_is_that_of_small_ones(size, normal):
    """Their squares are infinite in float32. The gradient is as much smaller as the input is larger."""
    X, dY = normal(4, 8, dtype="float32"), normal(4, 8, dtype="float32")
    one, large = LayerNorm(8, eps=0.0), LayerNorm(8)
    np.testing.assert_allclose(large(X * np.float32(size)), one(X), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(large.backward(dY).astype(np.float64) * size, one.backward(dY), rtol=1e-3, atol=1e-4)
