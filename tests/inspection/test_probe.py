"""Looking into a model against a second one, written plainly here, and against finite differences."""

import math

import numpy as np
import pytest
from parts import PRODUCT

from numpygpt.inspection.probe import (
    attention_weights,
    eval_twin,
    next_probabilities,
    residual_stream,
    stream_gradients,
    stream_names,
)

ODD = {"d_k": 5, "d_v": 3, "d_ff": 9}


def norm(X, p, name):
    mean, var = X.mean(axis=-1, keepdims=True), X.var(axis=-1, keepdims=True)
    return p[f"{name}.gamma"] * (X - mean) / np.sqrt(var + 1e-5) + p[f"{name}.beta"]


def plain(model, ids):
    """(attention (L, H, T, T), residual stream (L + 1, T, C), probabilities (T, V)), one row and one head at a time."""
    p, config, T = model.params(), model.config, len(ids)
    H, d_k, d_v = config.n_heads, model.blocks[0].attn.d_k, model.blocks[0].attn.d_v
    X = np.stack([p["wte.W"][id] + p["wpe.W"][t] for t, id in enumerate(ids)])
    stream, attention = [X], np.zeros((len(model.blocks), H, T, T))
    for i in range(len(model.blocks)):
        Y, name = norm(X, p, f"blocks.{i}.norm1"), f"blocks.{i}.attn"
        QKV = Y @ p[f"{name}.{PRODUCT}.W"] + p[f"{name}.{PRODUCT}.b"]
        Q, K, V = QKV[:, : H * d_k], QKV[:, H * d_k : 2 * H * d_k], QKV[:, 2 * H * d_k :]
        O = np.zeros((T, H * d_v))
        for h in range(H):
            k, v = slice(h * d_k, (h + 1) * d_k), slice(h * d_v, (h + 1) * d_v)
            for t in range(T):
                scores = [math.exp(Q[t, k] @ K[s, k] / math.sqrt(d_k)) for s in range(t + 1)]
                attention[i, h, t, : t + 1] = np.array(scores) / sum(scores)
                O[t, v] = sum(attention[i, h, t, s] * V[s, v] for s in range(t + 1))
        X = X + O @ p[f"{name}.proj.W"] + p[f"{name}.proj.b"]
        G = norm(X, p, f"blocks.{i}.norm2") @ p[f"blocks.{i}.ffn.fc.W"] + p[f"blocks.{i}.ffn.fc.b"]
        G = 0.5 * G * (1 + np.tanh(math.sqrt(2 / math.pi) * (G + 0.044715 * G**3)))
        X = X + G @ p[f"blocks.{i}.ffn.proj.W"] + p[f"blocks.{i}.ffn.proj.b"]
        stream.append(X)
    scores = np.exp(norm(X, p, "norm_f") @ p["wte.W"].T)
    return attention, np.stack(stream), scores / scores.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("sizes", [{}, ODD, {"n_heads": 1, "n_layers": 3}])
@pytest.mark.parametrize("length", [1, 4, 6])
def test_attention_stream_and_probabilities_are_those_of_a_plain_model(make_gpt, sizes, length):
    model = make_gpt(**sizes)
    ids = np.array([3, 1, 10, 0, 3, 7])[:length]
    attention, stream, probabilities = plain(model, ids)
    np.testing.assert_allclose(attention_weights(model, ids), attention, atol=1e-12)
    np.testing.assert_allclose(residual_stream(model, ids), stream, atol=1e-12)
    np.testing.assert_allclose(next_probabilities(model, ids), probabilities, atol=1e-12)


def test_attention_of_a_context_longer_than_a_block_of_rows(make_gpt):
    model = make_gpt(max_len=150)
    ids = np.random.default_rng(0).integers(0, 11, 150)
    np.testing.assert_allclose(attention_weights(model, ids), plain(model, ids)[0], atol=1e-12)


def loss_with(model, x, y, place, at, shift):
    """The loss where one entry of the residual stream is moved by `shift` as it leaves the module `place`."""
    module = dict(model.named_modules())[place]
    forward = module.forward

    def moved(*args):
        X = np.array(forward(*args))
        X[at] += shift
        return X

    module.forward = moved
    try:
        return model(x, targets=y)[1]
    finally:
        del module.forward


@pytest.mark.parametrize("ignored", [(), (0, 4, 5)])
def test_stream_gradients_are_what_moving_each_entry_does_to_the_loss(make_gpt, make_batch, ignored):
    model = make_gpt(max_len=3, **ODD)
    x, y = make_batch(shape=(2, 3), ignored=ignored)
    found = stream_gradients(model, x, y)
    assert found.shape == (3, 2, 3, 8)
    for place, name in enumerate(stream_names(model)):
        for at in np.ndindex(2, 3, 8):
            up, down = (loss_with(model, x, y, name, at, shift) for shift in (1e-5, -1e-5))
            assert found[(place, *at)] == pytest.approx((up - down) / 2e-5, abs=1e-8), (name, at)


def test_the_gradients_of_one_positions_loss_reach_no_later_one(make_gpt, make_batch):
    model = make_gpt()
    x, y = make_batch(shape=(1, 6), ignored=(0, 1, 2, 4, 5))
    found = stream_gradients(model, x, y)[:, 0]  # (L + 1, T, C)
    assert (found[:, 4:] == 0).all() and (np.abs(found[:2, :4]).max(axis=-1) > 0).all()
    assert (found[2, :3] == 0).all() and np.abs(found[2, 3]).max() > 0  # after the last block nothing moves sideways


@pytest.mark.parametrize("look", [
    lambda model, x, y: attention_weights(model, x[0]),
    lambda model, x, y: residual_stream(model, x[0]),
    lambda model, x, y: next_probabilities(model, x[0]),
    stream_gradients,
])  # fmt: skip
def test_looking_leaves_the_model_as_it_was(make_gpt, make_batch, look):
    model, (x, y) = make_gpt(dropout=0.5), make_batch()
    model.eval()
    model.blocks[1].train()  # modes of all kinds
    model.loss(*make_batch(seed=1))
    model.train()
    model.loss(x, y)
    model.backward()
    model.blocks[0].eval()
    modes = {name: module.training for name, module in model.named_modules()}
    params, grads = model.state_dict(), {name: grad.copy() for name, grad in model.grads().items()}
    generators = {name: rng.bit_generator.state for name, rng in model.generators().items()}
    first, second = look(model, x, y), look(model, x, y)
    np.testing.assert_array_equal(first, second)  # no dropout
    assert {name: module.training for name, module in model.named_modules()} == modes and len(set(modes.values())) == 2
    assert generators == {name: rng.bit_generator.state for name, rng in model.generators().items()}
    for name, grad in model.grads().items():
        np.testing.assert_array_equal(grad, grads[name])
        np.testing.assert_array_equal(model.params()[name], params[name])
    assert max(np.abs(grad).max() for grad in grads.values()) > 0


@pytest.mark.parametrize("look", [attention_weights, residual_stream, next_probabilities])
def test_an_earlier_loss_goes_back_after_a_look_as_if_nobody_had_looked(make_gpt, make_batch, look):
    """One that was worked out during the look does not."""
    model, other, (x, y) = make_gpt(), make_gpt(), make_batch()
    for each in (model, other):
        each.loss(x, y)
    look(model, x[0])
    for each in (model, other):
        each.backward()
    np.testing.assert_array_equal(model.flat().grads, other.flat().grads)
    assert model.flat().grads.any()
    with eval_twin(model) as reader:
        reader.loss(x, y)
    with pytest.raises(RuntimeError, match="loss"):
        model.backward()


def test_a_model_with_functions_in_place_of_methods_is_looked_at_itself(make_gpt, make_batch):
    """They may hold on to the methods that they replace, so there can be no twin."""
    model, other, (x, y) = make_gpt(dropout=0.5), make_gpt(dropout=0.5), make_batch()
    method = model.blocks[0].ffn.forward
    model.blocks[0].ffn.forward = lambda X: method(X)
    model.loss(x, y)
    np.testing.assert_array_equal(next_probabilities(model, x[0]), next_probabilities(other, x[0]))
    assert all(module.training for _, module in model.named_modules())
    with pytest.raises(RuntimeError, match="loss"):  # the layers hold the caches of the look
        model.backward()
    assert not model.flat().grads.any()


@pytest.mark.parametrize("patched", [False, True])
def test_an_error_inside_leaves_modes_and_gradients_too(make_gpt, make_batch, patched):
    model, (x, y) = make_gpt(), make_batch()
    model.loss(x, y)
    model.backward()
    before = model.flat().grads.copy()
    if patched:
        forward = model.wpe.forward
        model.wpe.forward = lambda *args: forward(*args)
    with pytest.raises(KeyError), eval_twin(model) as reader:
        assert not reader.training
        reader.loss(x, y)
        reader.flat().grads[...] = 7
        raise KeyError
    assert all(module.training for _, module in model.named_modules())
    np.testing.assert_array_equal(model.flat().grads, before)


@pytest.mark.parametrize("look", [attention_weights, residual_stream, next_probabilities])
@pytest.mark.parametrize(("ids", "said"), [
    ([], "^0 .* 1 .* 6$"),
    ([0] * 7, "^7 .* 1 .* 6$"),
    ([[1, 2]], "^2 .* 1 .* 6$"),
    ([1, 11], "11"),
    ([-1], "-1"),
    ([1.5], "float64"),
])  # fmt: skip
def test_what_is_no_context_is_refused(make_gpt, look, ids, said):
    with pytest.raises(ValueError, match=said):
        look(make_gpt(), np.array(ids))
