"""The model as a whole: its size, its first loss, causality, both ways to a loss, micro-batches."""

import math

import numpy as np
import pytest
from parts import product_of

from numpygpt import GPT


@pytest.mark.parametrize("tie_weights", [True, False])
@pytest.mark.parametrize("vocab_size", [65, 1000])
def test_the_first_loss_is_about_that_of_guessing(vocab_size, tie_weights):
    model = GPT(vocab_size=vocab_size, max_len=32, d_model=48, n_heads=4, n_layers=3, tie_weights=tie_weights)
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, vocab_size, (2, 8, 32))
    # Fresh logits have a deviation s of about 0.02 sqrt(48) = 0.14, which adds about s^2/2 = 0.01 to ln V; the mean
    # over 256 targets scatters by s/16.
    assert model.loss(x, y) == pytest.approx(math.log(vocab_size), abs=0.05)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_loss_and_forward_give_the_same_loss_and_gradients(dropout, make_gpt, make_batch):
    x, y = make_batch(ignored=[0, 5, 17])
    one, two = make_gpt(dropout=dropout), make_gpt(dropout=dropout)
    logits, loss = one(x, targets=y)
    assert logits.shape == (3, 6, 11) and type(loss) is float
    assert two.loss(x, y) == pytest.approx(loss, rel=1e-13)
    one.backward(0.5)
    two.backward(0.5)
    for name, grad in one.grads().items():
        assert grad.any(), name
        np.testing.assert_allclose(two.grads()[name], grad, rtol=1e-10, atol=1e-14, err_msg=name)


def test_the_loss_is_the_mean_of_the_targets_that_count(make_gpt, make_batch):
    x, y = make_batch(ignored=[0, 5, 17])
    logits, loss = make_gpt()(x, y)
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    by_hand = [-log_p[b, t, y[b, t]] for b, t in np.argwhere(y != -1)]
    assert len(by_hand) == 15
    assert loss == pytest.approx(np.mean(by_hand), rel=1e-12)


def test_without_targets_there_are_logits_and_no_loss(make_gpt, make_batch):
    x, y = make_batch()
    model = make_gpt()
    logits, loss = model(x)
    assert loss is None
    np.testing.assert_array_equal(logits, model(x, y)[0])


@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
def test_a_later_token_changes_no_earlier_logit(positions, make_gpt, make_batch):
    model = make_gpt(positions=positions)
    x, _ = make_batch()
    changed = x.copy()
    changed[:, 4:] = (changed[:, 4:] + 3) % 11
    logits, logits_changed = model(x)[0], model(changed)[0]
    np.testing.assert_array_equal(logits_changed[:, :4], logits[:, :4])
    assert not np.isclose(logits_changed[:, 4:], logits[:, 4:]).all(axis=-1).any()


def test_no_gradient_reaches_a_position_behind_the_last_target(make_gpt, make_batch):
    x, y = make_batch(ignored=[4, 5, 10, 11, 16, 17])  # the last two of six in each sequence
    model = make_gpt(tie_weights=False)
    model.loss(x, y)
    model.backward()
    assert not model.wpe.dW[4:].any() and model.wpe.dW[:4].all()


@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
def test_positions_do_not_drown_the_tokens_of_a_fresh_model(positions):
    """At the width of `quick`, what two tokens at one place differ by is a good part of what goes into the blocks."""
    model = GPT(vocab_size=50, max_len=64, d_model=128, n_heads=4, n_layers=1, positions=positions)
    X = model.wpe(model.wte(np.arange(50).repeat(64).reshape(50, 64)))  # one token at every place, for each token
    assert X.std(axis=0).mean() > 0.25 * X.std()


def test_the_order_of_the_tokens_matters(make_gpt):
    model = make_gpt()
    logits, _ = model(np.array([[1, 2, 3], [2, 1, 3]]))
    assert not np.allclose(logits[0, -1], logits[1, -1])


@pytest.mark.parametrize("sizes", [(2, 2), (1, 3), (1, 1, 2)])
def test_micro_batches_weighted_by_their_targets_are_the_whole_batch(sizes, make_gpt, make_batch):
    x, y = make_batch(shape=(4, 6), ignored=[1, 2, 3, 4, 20])
    whole, parts = make_gpt(), make_gpt()
    loss = whole.loss(x, y)
    whole.backward()
    total, start = 0.0, 0
    for size in sizes:
        rows = slice(start, start + size)
        share = (y[rows] != -1).sum() / (y != -1).sum()
        total += share * parts.loss(x[rows], y[rows])
        parts.backward(share)
        start += size
    assert total == pytest.approx(loss, rel=1e-13)
    for name, grad in whole.grads().items():
        np.testing.assert_allclose(parts.grads()[name], grad, rtol=1e-10, atol=1e-14, err_msg=name)


@pytest.mark.parametrize(("tie_weights", "positions", "bias"), [(True, "learned", True), (False, "learned", True),
                                                                (True, "sinusoidal", True), (True, "learned", False)])
def test_the_number_of_parameters_is_the_formula(tie_weights, positions, bias):
    V, T, C, L = 13, 7, 8, 3
    model = GPT(vocab_size=V, max_len=T, d_model=C, n_heads=2, n_layers=L, tie_weights=tie_weights,
                positions=positions, bias=bias)
    matrices = V * C * (1 if tie_weights else 2) + (T * C if positions == "learned" else 0) + L * 12 * C * C
    gains, shifts = L * 2 * C + C, L * (3 * C + C + 4 * C + C + 2 * C) + C
    assert model.n_params() == matrices + gains + (shifts if bias else 0)
    assert model.flat().n_matrix == matrices


def test_a_tied_table_is_one_parameter_with_two_uses(make_gpt):
    tied, untied = make_gpt(), make_gpt(tie_weights=False)
    assert set(untied.params()) - set(tied.params()) == {"head.embedding.W"}
    assert tied.head.embedding is tied.wte and untied.head.embedding is not untied.wte
    twin = tied.replica()
    assert twin.head.embedding is twin.wte and twin.head_loss.head is twin.head
    assert len(tied.state_dict()) == len(tied.params())


def test_the_seed_decides_the_weights():
    one, same, other = (GPT(vocab_size=11, max_len=6, d_model=8, n_heads=2, n_layers=2, seed=seed) for seed in (3, 3,
                                                                                                                4))
    np.testing.assert_array_equal(one.flat().params, same.flat().params)
    assert not np.allclose(one.wte.W, other.wte.W)


def test_residual_projections_start_smaller():
    model = GPT(vocab_size=65, max_len=32, d_model=128, n_heads=4, n_layers=8)
    for block in model.blocks:
        # 16,384 draws or more: their deviation is known to 0.6 %
        assert block.attn.proj.W.std() == pytest.approx(0.02 / 4, rel=0.03)
        assert block.ffn.proj.W.std() == pytest.approx(0.02 / 4, rel=0.03)
        assert product_of(block.attn).W.std() == pytest.approx(0.02, rel=0.03)
    assert model.norm_f.gamma.tolist() == [1] * 128 and not product_of(model.blocks[0].attn).b.any()


def test_the_config_makes_the_same_model_again(make_gpt):
    model = make_gpt(tie_weights=False, d_k=3, activation="relu", positions="sinusoidal", dropout=0.1, fresh=True)
    np.testing.assert_array_equal(GPT(model.config).flat().params, model.flat().params)


def test_repr_shows_layers_and_size(make_gpt):
    text = repr(make_gpt())
    assert text.startswith("GPT(1,896 parameters\n  (wte): Embedding(11, 8)\n")
    assert "  (blocks.1): TransformerBlock(\n" in text
    assert f"{make_gpt().n_params():,}" == "1,896"
