"""The cache of keys and values changes the speed of generation and nothing else."""

import numpy as np
import pytest

from numpygpt.models.generate import Sampling, new_caches, next_logits, sample
from numpygpt.nn import causal_attention

CONFIGS = {
    "as it comes": {}, "sinusoidal": {"positions": "sinusoidal"}, "untied": {"tie_weights": False},
    "no bias": {"bias": False}, "head sizes": {"d_k": 3, "d_v": 5}, "relu": {"activation": "relu"},
    "llama": {"norm": "rmsnorm", "ffn": "gated", "activation": "silu", "positions": "rope", "n_heads": 4,
              "n_kv_heads": 2},
}


@pytest.mark.parametrize(("dtype", "tolerance"), [
    ("float64", 1e-12),
    ("float32", 1e-4),  # another shape of product sums in another order: some hundred roundings of 6e-8 each
])
@pytest.mark.parametrize("steps", [[1] * 6, [6], [3, 1, 2], [1, 5], [5, 1]], ids=str)
@pytest.mark.parametrize("rows", [2, 128])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_cached_logits_are_those_of_the_whole_sequence(config, rows, steps, dtype, tolerance, make_gpt, make_batch,
                                                       monkeypatch):
    monkeypatch.setattr(causal_attention, "ROWS", rows)  # with 2, a piece of three tokens after others is two blocks
    model, (x, _) = make_gpt(dtype=dtype, **config).eval(), make_batch()
    logits, _ = model(x)
    caches, end = new_caches(model, 3), 0
    for new in steps:
        start, end = end, end + new
        last = next_logits(model, x[:, start:end], caches)
        assert last.dtype == logits.dtype and {cache.length for cache in caches} == {end}
        scale = np.abs(logits).max()
        np.testing.assert_allclose(last, logits[:, end - 1], rtol=0, atol=tolerance * scale)


def test_every_position_of_a_cached_piece_is_right(make_gpt, make_batch):
    model, (x, _) = make_gpt(), make_batch()
    whole, caches = model.hidden(x), new_caches(model, 3)
    pieces = [model.hidden(x[:, :2], caches), model.hidden(x[:, 2:5], caches), model.hidden(x[:, 5:], caches)]
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), whole, rtol=1e-10, atol=1e-12)


def writer(make_gpt, **changes):
    """A model whose greedy text does not end in one token repeated: no biases, and weights of deviation 1."""
    model, rng = make_gpt(fresh=True, tie_weights=False, bias=False, **changes), np.random.default_rng(3)
    for param in model.params().values():
        if param.ndim == 2:
            param[...] = rng.standard_normal(param.shape)
    return model


def crop_and_recompute(model, ids, n, how, slide=1):
    """The definition: each step computes the logits of all visible tokens, without a cache. The visible tokens begin at
    `start`, which moves by `slide` whenever more than max_len would be visible."""
    rngs = [np.random.default_rng([0, i]) for i in range(len(ids))]
    start = max(0, ids.shape[1] - model.max_len)
    for _ in range(n):
        if ids.shape[1] - start > model.max_len:
            start += slide
        logits, _ = model(ids[:, start:])
        ids = np.concatenate([ids, sample(logits[:, -1], how, rngs)[:, None]], axis=1)
    return ids


@pytest.mark.parametrize("temperature", [0, 1])
@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "rope"])
@pytest.mark.parametrize("given", [1, 4, 6, 9])
def test_generation_past_the_context_crops_to_the_last_tokens(given, positions, temperature, make_gpt, make_batch):
    model, (x, _) = writer(make_gpt, positions=positions), make_batch(shape=(3, given))
    ids = model.generate(x, 20, temperature)
    assert ids.shape == (3, given + 20)
    np.testing.assert_array_equal(ids, crop_and_recompute(model, x, 20, Sampling(temperature)))
    assert len(np.unique(ids[:, -15:])) > 3, "with one token repeated a wrong context could go unnoticed"


def test_greedy_generation_is_the_loop_that_everyone_writes(make_gpt, make_batch):
    model, (x, _) = writer(make_gpt), make_batch(shape=(3, 4))
    ids = x
    for _ in range(20):
        logits, _ = model(ids[:, -model.max_len :])
        ids = np.concatenate([ids, logits[:, -1].argmax(axis=-1)[:, None]], axis=1)
    np.testing.assert_array_equal(model.generate(x, 20, temperature=0), ids)


@pytest.mark.parametrize("slide", [2, 3, 5, 6])
@pytest.mark.parametrize("given", [1, 6, 9])
def test_a_longer_slide_is_its_definition(given, slide, make_gpt, make_batch):
    model, (x, _) = writer(make_gpt), make_batch(shape=(3, given))
    for temperature in (0, 1):
        ids = model.generate(x, 25, temperature, slide=slide)
        np.testing.assert_array_equal(ids, crop_and_recompute(model, x, 25, Sampling(temperature), slide))
        assert not np.array_equal(ids, model.generate(x, 25, temperature, slide=1))


@pytest.mark.parametrize(("slide", "expected"), [(1, [6] * 7), (3, [6, 4, 1, 1, 4, 1, 1])])
def test_a_longer_slide_recomputes_less(slide, expected, make_gpt, make_batch):
    model, (x, _) = make_gpt(), make_batch(shape=(1, 6))
    seen, hidden = [], model.hidden

    def counting(new, *rest):
        seen.append(new.shape[1])
        return hidden(new, *rest)

    model.hidden = counting
    model.generate(x, 7, slide=slide)
    assert seen == expected


def test_nothing_is_kept_from_one_generation_to_the_next(make_gpt):
    model = make_gpt()
    first = model.generate([[1, 2, 3]], 5, temperature=0)
    model.generate([[4, 4, 4, 4, 4]], 5, temperature=0)
    np.testing.assert_array_equal(model.generate([[1, 2, 3]], 5, temperature=0), first)
