"""Batches of sequences of unequal length: the same texts, losses and gradients as each sequence by itself."""

import numpy as np
import pytest

CONFIGS = {
    "learned": {}, "sinusoidal": {"positions": "sinusoidal"}, "shared key heads": {"n_heads": 4, "n_kv_heads": 2},
    "llama": {"norm": "rmsnorm", "ffn": "gated", "activation": "silu", "positions": "rope", "n_heads": 4,
              "n_kv_heads": 2},
    "tied, biases": {"tie_weights": True, "bias": True},
}
LENGTHS = (3, 1, 5, 5, 9, 2)
ROW = np.random.default_rng(5).integers(0, 11, 9)
CONTEXTS = [((ROW + i) % 11)[:n].tolist() for i, n in enumerate(LENGTHS)]


def writer(make_gpt, **changes):
    """A model whose text does not end in one token repeated."""
    model, rng = make_gpt(fresh=True, **{"tie_weights": False, "bias": False} | changes), np.random.default_rng(3)
    for param in model.params().values():
        if param.ndim == 2:
            param[...] = rng.standard_normal(param.shape)
    return model


@pytest.mark.parametrize("how", [{"temperature": 0}, {"temperature": 1}, {"top_k": 4, "slide": 3}, {"slide": 6},
                                 {"stop": 4}], ids=str)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_each_text_of_a_batch_is_that_of_its_sequence_alone(config, how, make_gpt):
    """Also past max_len, where each sequence slides by itself."""
    model = writer(make_gpt, **config)
    ids = model.generate(CONTEXTS, 20, **how)
    assert (ids[:, -15:] != ids[:, -1:]).any() or "stop" in how
    for i, context in enumerate(CONTEXTS):
        alone = model.generate([context] * (i + 1), 20, **how)[i]  # the same place in the batch: the same generator
        n = min(len(alone), len(context) + ids.shape[1] - max(LENGTHS))  # a sequence that stopped is filled up
        assert ids[i, : max(LENGTHS) - len(context)].tolist() == [-1] * (max(LENGTHS) - len(context))
        assert ids[i, max(LENGTHS) - len(context) :][:n].tolist() == alone[:n].tolist()


def test_stream_gives_the_tokens_of_generate(make_gpt):
    model = writer(make_gpt)
    steps = list(model.stream(CONTEXTS, 8, seed=2))
    np.testing.assert_array_equal(np.stack(steps, axis=1), model.generate(CONTEXTS, 8, seed=2)[:, max(LENGTHS) :])


def test_a_result_can_be_continued(make_gpt):
    model = writer(make_gpt)
    ids = model.generate(CONTEXTS, 3, temperature=0)
    np.testing.assert_array_equal(model.generate(ids, 4, temperature=0), model.generate(CONTEXTS, 7, temperature=0))


def test_arrays_of_unequal_length_are_as_good_as_lists(make_gpt):
    model = writer(make_gpt)
    arrays = [np.array(context, np.uint16) for context in CONTEXTS]
    np.testing.assert_array_equal(model.generate(arrays, 5), model.generate(CONTEXTS, 5))


def padded(rows, fill):
    T = max(map(len, rows))
    return np.array([[fill] * (T - len(row)) + row for row in rows]), np.array([T - len(row) for row in rows])


@pytest.mark.parametrize("way", ["loss", "forward"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_padded_batch_has_the_gradients_of_its_sequences(config, way, make_gpt):
    model = make_gpt(**config)
    rows = [context[:6] for context in CONTEXTS]
    x, pad = padded(rows, 7)
    y, _ = padded([[(3 * token + 1) % 11 for token in row] for row in rows], 2)  # targets at padding do not count
    loss = model.loss(x, y, pad) if way == "loss" else model(x, y, pad)[1]
    model.backward()
    found = {name: grad.copy() for name, grad in model.grads().items()}
    model.zero_grad()
    total, n = 0.0, sum(map(len, rows))
    for i, row in enumerate(rows):
        total += model.loss(x[i : i + 1, pad[i] :], y[i : i + 1, pad[i] :]) * len(row) / n
        model.backward(len(row) / n)
    assert loss == pytest.approx(total, rel=1e-12)
    for name, grad in model.grads().items():
        np.testing.assert_allclose(found[name], grad, rtol=1e-9, atol=1e-12 * np.abs(grad).max(), err_msg=name)


def test_what_padding_holds_has_no_effect(make_gpt):
    model = make_gpt()
    (x, pad), (other, _) = padded([row[:6] for row in CONTEXTS], 7), padded([row[:6] for row in CONTEXTS], 3)
    seen = np.arange(6) >= pad[:, None]
    logits, others = (model(ids, pad=pad)[0] for ids in (x, other))
    np.testing.assert_array_equal(logits[seen], others[seen])
    assert np.isfinite(logits).all()


def test_padding_does_not_count_for_the_context(make_gpt):
    """Six tokens fit, wherever they are."""
    model, x = make_gpt(), np.array([[0, 0, 0, 1, 2, 3, 4, 5, 6]])
    np.testing.assert_allclose(model(x, pad=np.array([3]))[0][:, 3:], model(x[:, 3:])[0], rtol=1e-10, atol=1e-12)
    with pytest.raises(ValueError, match=r"7.*6"):
        model(x, pad=np.array([2]))


@pytest.mark.parametrize(("context", "values"), [
    ([[1, 2], []], r"\(0,\)"), ([[1, 2], [3.5]], "float64"), ([[1, 2], [11]], "11.*11"), ([[1, 2], [[3]]], r"\(1, 1\)"),
    ([[1, -1, 2], [3]], "-1"), (np.array([[1, 2], [-1, -1]]), "sequence 1"), ([[1, 2], [3, 4, -2]], "-2"),
], ids=str)
def test_sequences_that_are_none(context, values, make_gpt):
    with pytest.raises(ValueError, match=values):
        make_gpt().generate(context, 2)
