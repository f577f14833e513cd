"""A model of Llama's shape (rotary positions, gated feed-forward, grouped heads, LoRA) in every inspection."""

import numpy as np
import pytest
from llama import llama, tokenizer_of

from numpygpt import summary, trace
from numpygpt.data import Corpus, prepare
from numpygpt.inspection import score as scoring
from numpygpt.inspection.blueprint import blueprint
from numpygpt.inspection.explore import GOOD_BYTES, MIN_LAYERS, choose_layers, explore, packed_bytes
from numpygpt.inspection.flow import flow
from numpygpt.inspection.probe import attention_weights, next_probabilities, residual_stream, stream_gradients
from numpygpt.inspection.walk import walk
from numpygpt.models import generate
from numpygpt.models.generate import Sampling, new_caches, next_logits, steps
from numpygpt.nn import apply_lora
from numpygpt.tokenizer.display import token_signs
from numpygpt.training import Trainer
from numpygpt.training.config import Config

RUN = {"n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "d_model": 16, "d_ff": 24, "context": 8, "batch_size": 4,
       "steps": 3, "warmup": 1, "workers": 2, "dropout": 0.0, "norm": "rmsnorm", "positions": "rope", "ffn": "gated",
       "activation": "silu", "bias": False}  # fmt: skip


@pytest.fixture
def model():
    return llama(vocab_size=11, max_len=16, dtype="float64")


@pytest.fixture
def ids():
    return np.random.default_rng(0).integers(0, 11, 9)


def test_probes_of_some_layers_are_those_of_all(model, ids):
    whole = attention_weights(model, ids)
    assert whole.shape == (3, 4, 9, 9)
    np.testing.assert_allclose(whole.sum(axis=-1), 1)
    np.testing.assert_array_equal(attention_weights(model, ids, [2, 0]), whole[[2, 0]])
    assert residual_stream(model, ids).shape == (4, 9, 16)
    np.testing.assert_allclose(next_probabilities(model, ids).sum(axis=-1), 1)


def test_gradients_of_the_stream_are_what_moving_it_does_to_the_loss(model, ids):
    """The vector of a token enters the stream once, so moving it in the table moves the stream at its places."""
    model = llama(vocab_size=11, max_len=16, dtype="float64", tie_weights=False)
    x, y = ids[None, :-1], ids[None, 1:]
    found = stream_gradients(model, x, y)[0, 0]  # (T, C)
    token, column, step = int(x[0, 0]), 3, 1e-5
    moved = []
    for sign in (1, -1):
        model.wte.W[token, column] += sign * step
        moved.append(model.loss(x, y))
        model.wte.W[token, column] -= sign * step
    assert found[x[0] == token, column].sum() == pytest.approx((moved[0] - moved[1]) / (2 * step), rel=1e-6)
    assert not model.flat().grads.any()


def test_the_flow_shows_the_gates_activation(model, ids):
    found = flow(model, ids[None, :-1], ids[None, 1:])
    assert [middle.shape for middle in found.middle] == [(1, 8, 24)] * 3 and found.norms.shape == (4,)


def test_trace_summary_and_blueprint_agree(model, ids):
    with trace(model.train()) as t:
        model.loss(ids[None, :-1], ids[None, 1:])
        model.backward()
    rows = {row.name: row for row in summary(model, 1, 8).rows}
    for record in t:
        row = rows[record.name]
        assert (row.n_params, row.forward_flops, row.backward_flops) == (
            record.n_params, record.forward_flops, record.backward_flops), record.name
    plan = blueprint(model, 2)
    block = next(part for part in plan.parts if part.name == "blocks.0")
    attn = {part.name.rpartition(".")[2]: part for part in block.inside[1].inside}
    assert plan.input_shape == (2, 16) and block.repeats == 3
    assert attn["qkv"].shape == (2, 16, 32) and attn["rotary"].shape == (2, 4 + 2, 16, 4)
    assert sum(plan.counts.values()) == model.n_params() and "wpe" not in plan.counts
    assert {"RMSNorm", "Rotary", "GatedFeedForward", "SiLU"} <= set(plan.formulas)


def test_a_blueprint_does_not_run_the_context():
    plan = blueprint(llama(vocab_size=11, max_len=1 << 17), 1)  # its activations would be many gigabytes
    assert next(part for part in plan.parts if part.name == "norm_f").shape == (1, 1 << 17, 16)


def trainer(folder, **changes):
    data = prepare(Corpus.of("pangram", "the quick brown fox jumps over the lazy dog. " * 40, "a test"), folder,
                   context=8)
    return Trainer(Config.of(**(RUN | changes)), data)


def test_the_walk_shows_every_layer(tmp_path):
    t = trainer(tmp_path / "data")
    with t.parallel:
        text = walk(t)
        for replica in t.parallel.replicas:
            replica.recompute = True
        assert walk(t) == text  # with fewer caches
    for name in ("norm1", "attn.qkv", "attn.rotary", "attn.proj", "norm2", "ffn.fc", "ffn.act", "ffn.proj"):
        assert text.count(f"\nblocks.0.{name} ") >= 2, name
    assert "(4,4,8,4)" in text and "(4,2,8,4)" in text and "(4,8,48)" in text and "wpe" not in text


def test_the_walk_of_an_adapter_says_what_is_frozen(tmp_path):
    t = trainer(tmp_path / "data")
    n_params = t.model.n_params()
    apply_lora(t.model, ("attn.qkv",), rank=2)
    fresh = Trainer(t.config, t.dataset)
    fresh.model = t.model
    fresh.parallel = type(t.parallel)(t.model, 2)
    fresh.optimizer = type(t.optimizer)(t.model, 1e-3)
    with fresh.parallel:
        text = walk(fresh)
    learned = sum(grad.size for grad in t.model.grads().values())
    assert f"{learned:,} gradients" in text and f"{n_params:,} frozen" in text
    assert "blocks.0.attn.qkv.base" in text and "wte.W is frozen" in text


@pytest.mark.parametrize("T", [3, 16, 40])
def test_scores_in_pieces_are_those_of_whole_windows(model, monkeypatch, T):
    ids = np.random.default_rng(1).integers(0, 11, T)
    whole = scoring.scores(model, ids)
    monkeypatch.setattr(scoring, "BATCH_TOKENS", 5)
    counted = []
    pieces = scoring.scores(model, ids, progress=counted.append)
    np.testing.assert_allclose(pieces.losses, whole.losses, rtol=1e-9)
    np.testing.assert_array_equal(pieces.likeliest, whole.likeliest)
    assert sum(counted) == T - 1


def test_a_prompt_in_pieces_gives_the_same_logits_and_caches_have_room_for_what_is_asked(model, ids, monkeypatch):
    whole = next_logits(model, ids[None], new_caches(model, 1))
    made, plain = [], generate.KVCache
    monkeypatch.setattr(generate, "PIECE", 4)
    monkeypatch.setattr(generate, "KVCache", lambda *sizes: made.append(sizes[2]) or plain(*sizes))
    np.testing.assert_allclose(next_logits(model, ids[None], new_caches(model, 1)), whole, rtol=1e-9)
    made.clear()
    assert len(list(steps(model, ids[None], 3, Sampling(0), 0, None, 1))) == 3
    assert set(made) == {9 + 3}
    made.clear()
    list(steps(model, ids[None], 20, Sampling(0), 0, None, 4))
    assert set(made) == {16}


def test_layers_are_left_out_of_a_large_page_alone():
    assert choose_layers(60, 30, 9) == list(range(30)) and choose_layers(128, 12, 12) == list(range(12))
    for T in (110, 150, 200):
        chosen = choose_layers(T, 30, 9)
        assert chosen[0] == 0 and chosen[-1] == 29 and MIN_LAYERS <= len(chosen) < 30
        assert packed_bytes(T, len(chosen), 9) <= GOOD_BYTES
    assert len(choose_layers(300, 30, 9)) >= MIN_LAYERS
    with pytest.raises(ValueError, match="2,000"):
        choose_layers(2000, 30, 9)


def test_a_page_of_some_layers_has_their_numbers(model, ids, monkeypatch):
    tokenizer = tokenizer_of()
    whole = explore(model, tokenizer, ids)
    monkeypatch.setattr("numpygpt.inspection.explore.choose_layers", lambda *sizes: [0, 2])
    some = explore(model, tokenizer, ids)
    assert (whole["layers"], some["layers"]) == ([0, 1, 2], [0, 2])
    assert some["stream"] == [whole["stream"][place] for place in (0, 1, 3)]
    assert len(some["attention"]) == pytest.approx(len(whole["attention"]) * 2 / 3, abs=4)


def test_an_id_without_a_text_has_a_sign():
    tokenizer = tokenizer_of()
    assert token_signs(tokenizer, tokenizer.vocab_size) == [f"<{tokenizer.vocab_size}>"]
