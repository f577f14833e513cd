"""The numbers of the page to explore, unpacked again and held against what the probes say of the same model."""

import base64
import json

import numpy as np
import pytest

from numpygpt import GPT
from numpygpt.inspection import probe, trace
from numpygpt.inspection.explore import (
    MAX_BYTES,
    TARGETS,
    check_size,
    choose_targets,
    entropy,
    explore,
    log_packed,
    thinned,
)
from numpygpt.tokenizer import CharTokenizer

LETTERS = "abcdefghijk"
ATTENTION_ERROR = 1 / 131070


def codes(text, *shape):
    return np.frombuffer(base64.b64decode(text), "<u2").reshape(*shape, -1).astype(np.float64)


def unpacked(data):
    """(attention (L, H, pairs), gradients (K, L + 1, pairs)) as the page reads them."""
    packed, K = data["gradients"], len(data["targets"][0])
    found = codes(packed["codes"], K, len(data["layers"]) + 1)
    gradients = np.where(found == 0, 0, np.exp(packed["low"] + (found - 1) * packed["step"]))
    return codes(data["attention"], len(data["layers"]), data["heads"]) / 65535, gradients


def at(later, earlier):
    return later * (later + 1) // 2 + earlier


@pytest.fixture(scope="module")
def tokenizer():
    return CharTokenizer().train(LETTERS)


@pytest.fixture
def case(make_gpt, tokenizer):
    """A model with more layers than heads, a text longer than one batch of positions, and its numbers."""
    model = make_gpt(max_len=24, n_layers=3)
    ids = np.random.default_rng(4).integers(0, len(LETTERS), 19)
    return model, ids, explore(model, tokenizer, ids)


def test_attention_is_that_of_the_model(case):
    model, ids, data = case
    attention, _ = unpacked(data)
    true = probe.attention_weights(model, ids)
    assert attention.shape == (3, 2, 19 * 20 // 2)
    for later in range(19):
        for earlier in range(later + 1):
            off = attention[:, :, at(later, earlier)] - true[:, :, later, earlier]
            assert abs(off).max() <= ATTENTION_ERROR + 1e-12


def test_gradients_are_those_of_one_position_and_one_target_at_a_time(case):
    model, ids, data = case
    _, gradients = unpacked(data)
    bound = np.exp(data["gradients"]["step"] / 2) - 1 + 1e-9
    assert bound < 1e-3
    for t in range(19):
        for k, target in enumerate(data["targets"][t]):
            y = np.full((1, 19), -1)
            y[0, t] = target
            true = np.linalg.norm(probe.stream_gradients(model, ids[None], y)[:, 0], axis=-1)  # (L + 1, T)
            assert not true[:, t + 1 :].any()  # so nothing is lost with the half that is left out
            found = gradients[k][:, at(t, 0) : at(t, t) + 1]
            assert ((found == 0) == (true[:, : t + 1] == 0)).all()
            assert (abs(found - true[:, : t + 1]) <= bound * true[:, : t + 1]).all()
    assert not gradients[:, -1, at(18, 0) : at(18, 18)].any()  # the last block's outputs go to their own position only
    assert (gradients[:, 0] > 0).all()


def test_the_residual_stream_and_the_predictions_are_those_of_the_model(case):
    model, ids, data = case
    np.testing.assert_allclose(data["stream"], np.linalg.norm(probe.residual_stream(model, ids), axis=-1), rtol=1e-5)
    for t, p in enumerate(probe.next_probabilities(model, ids)):
        likeliest = sorted(range(11), key=lambda id: -p[id])
        assert data["likeliest"]["id"][t] == likeliest[:10]
        np.testing.assert_allclose(data["likeliest"]["probability"][t], p[likeliest[:10]], rtol=1e-5)
        following = ids[t + 1] if t < 18 else likeliest[0]
        assert data["next"]["id"][t] == following
        assert data["next"]["rank"][t] == likeliest.index(following) + 1
        assert data["next"]["probability"][t] == pytest.approx(p[following], rel=1e-5)
        assert data["next"]["entropy"][t] == pytest.approx(-sum(q * np.log2(q) for q in p), rel=1e-5)


def test_gradients_of_a_head_follow_from_its_arrays(make_gpt, tokenizer):
    """As the page computes them; held against what the layer's own backward passes to qkv."""
    for sizes in ({}, {"n_heads": 4, "n_kv_heads": 2, "d_k": 3, "d_v": 5}):
        model = make_gpt(max_len=24, d_model=8, dtype="float64", **sizes)
        ids = np.random.default_rng(4).integers(0, len(LETTERS), 7)
        data = explore(model, tokenizer, ids)
        found, attn = data["backward"], model.blocks[0].attn
        H, H_kv, T, d_k, d_v = data["heads"], found["kv_heads"], 7, found["d_k"], found["d_v"]
        shapes = {"Q": (H, T, d_k), "K": (H_kv, T, d_k), "V": (H_kv, T, d_v), "dO": (H, T, d_v)}
        Q, K, V, dO = (np.frombuffer(base64.b64decode(found[name]), "<f4").reshape(2, *shape).astype(float)
                       for name, shape in shapes.items())
        K, V = (X.repeat(H // H_kv, axis=1) for X in (K, V))
        S = Q @ K.swapaxes(-1, -2) / d_k**0.5 + np.triu(np.full((T, T), -np.inf), 1)
        P = np.exp(S) / np.exp(S).sum(axis=-1, keepdims=True)
        np.testing.assert_allclose(P, probe.attention_weights(model, ids), atol=1e-6)
        dP = dO @ V.swapaxes(-1, -2)
        dS = P * (dP - (dP * P).sum(axis=-1, keepdims=True))
        gradients = dS @ K / d_k**0.5, dS.swapaxes(-1, -2) @ Q / d_k**0.5, P.swapaxes(-1, -2) @ dO
        targets = np.array(data["next"]["id"])
        with trace(model, keep=lambda name: name.endswith("qkv")) as t:
            loss = model.loss(ids[None], targets[None])
            model.backward()
        assert found["loss"] == pytest.approx(loss)
        for i in range(2):
            true = attn.split(t[f"blocks.{i}.attn.qkv"].gradients[0])
            for ours, theirs in zip(gradients, true, strict=True):
                per_group = ours[i].reshape(theirs.shape[1], -1, *theirs.shape[2:]).sum(axis=1)
                np.testing.assert_allclose(per_group, theirs[0], rtol=1e-4, atol=1e-6 * abs(theirs).max())


def test_a_long_text_has_the_arrays_of_fewer_layers():
    assert [thinned([0, 2, 4, 6], most) for most in (9, 4, 3, 2, 1, 0, -1)] == [
        [0, 2, 4, 6], [0, 2, 4, 6], [0, 4, 6], [0, 6], [0], [], []]


def test_targets_are_the_next_token_and_the_likeliest_others(case):
    _, _, data = case
    for likeliest, following, targets in zip(data["likeliest"]["id"], data["next"]["id"], data["targets"], strict=True):
        assert targets[0] == following
        assert targets[1:] == [id for id in likeliest if id != following][: TARGETS - 1]


def test_a_target_can_be_given_to_the_last_position(make_gpt, tokenizer):
    model, ids = make_gpt(), np.array([3, 1, 4, 1])
    free, given = explore(model, tokenizer, ids), explore(model, tokenizer, ids, target=7)
    assert (free["given"], given["given"]) == (False, True)
    assert free["next"]["id"][:3] == given["next"]["id"][:3] == [1, 4, 1]
    assert free["next"]["id"][3] == free["likeliest"]["id"][3][0] != 7
    assert given["next"]["id"][3] == given["targets"][3][0] == 7


def test_every_token_that_is_named_has_its_signs(tokenizer, make_gpt):
    odd = CharTokenizer().train("a \n\t\u200f<é你😀\\\x00")
    data = explore(make_gpt(vocab_size=odd.vocab_size), odd, odd.encode_array("a \n\u200f<"))
    used = {*data["ids"], *data["next"]["id"], *np.ravel(data["likeliest"]["id"]), *np.ravel(data["targets"])}
    assert set(data["labels"]) == {str(id) for id in used}
    assert [data["labels"][str(id)] for id in data["ids"]] == ["a", "·", "⏎", "\\u200f", "<"]


@pytest.mark.parametrize("vocab", ["ab", "a"])
def test_one_token_and_a_vocabulary_with_less_than_ten(vocab, make_gpt):
    data = explore(make_gpt(vocab_size=len(vocab)), CharTokenizer().train(vocab), np.array([0]))
    attention, gradients = unpacked(data)
    assert attention.tolist() == [[[1]] * 2] * 2
    assert gradients.shape == (len(vocab), 3, 1)
    assert len(data["likeliest"]["id"][0]) == len(vocab)


def test_the_model_stays_as_it_was(make_gpt, tokenizer):
    model = make_gpt(dropout=0.3).train()
    model.flat().grads[...] = 1.5
    before = model.flat().params.copy()
    first = explore(model, tokenizer, np.array([1, 2, 3]))
    assert (model.flat().grads == 1.5).all() and (model.flat().params == before).all()
    assert all(module.training for _, module in model.named_modules())
    assert explore(model, tokenizer, np.array([1, 2, 3])) == first  # no dropout, nothing random


def test_the_default_shape_fits_into_two_megabytes_of_json():
    """But for the arrays of `backward`, whose size grows with the width and which are left out if there is no room."""
    text = "".join(map(chr, range(33, 98)))
    model = GPT(vocab_size=65, max_len=128, d_model=16, n_heads=4, n_layers=4)
    ids = np.random.default_rng(0).integers(0, 65, 128)
    data = explore(model, CharTokenizer().train(text), ids)
    assert 500_000 < len(json.dumps(data, allow_nan=False)) < 1_200_000  # the page itself has about 40,000 bytes more


def test_what_cannot_be_shown_is_said(make_gpt, tokenizer):
    model = make_gpt()
    with pytest.raises(ValueError, match="7.*1.*6"):
        explore(model, tokenizer, np.zeros(7, int))
    with pytest.raises(ValueError, match="0"):
        explore(model, tokenizer, np.zeros(0, int))
    model.params()["wte.W"][2] = np.nan
    with pytest.raises(ValueError):
        explore(model, tokenizer, np.array([1, 2]))


def test_a_page_too_large_for_a_browser_is_refused_with_the_length_that_fits():
    check_size(128, 12, 12)
    with pytest.raises(ValueError, match="12.*12") as refused:
        check_size(1024, 12, 12)
    fits = int(str(refused.value).split("at most ")[1].split()[0])
    check_size(fits, 12, 12)
    size = fits * (fits + 1) * (12 * 12 + TARGETS * 13)
    assert 0.95 * MAX_BYTES < size <= MAX_BYTES


def test_logarithms_keep_every_size_of_number():
    values = np.concatenate([[0.0], np.logspace(-9, 3, 400)])
    packed = log_packed(values)
    found = codes(packed["codes"])
    back = np.where(found == 0, 0, np.exp(packed["low"] + (found - 1) * packed["step"]))
    assert back[0] == 0
    assert abs(back[1:] / values[1:] - 1).max() < 2.2e-4
    alone = log_packed(np.array([0.0, 5.0]))
    assert codes(alone["codes"]).tolist() == [0, 1] and np.exp(alone["low"]) == pytest.approx(5)
    assert codes(log_packed(np.zeros(3))["codes"]).tolist() == [0, 0, 0]


def test_entropy_and_targets_by_hand():
    p = np.array([[0.5, 0.25, 0.25, 0], [0, 0, 1, 0]])
    assert entropy(p).tolist() == [1.5, 0]
    order = np.argsort(-p, axis=-1, kind="stable")
    assert choose_targets(order, np.array([3, 2])).tolist() == [[3, 0, 1], [2, 0, 1]]
