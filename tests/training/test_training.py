"""Training as train.py does it: exact resume, what is measured, what is said."""

import math
from dataclasses import replace

import numpy as np
import pytest

from numpygpt.data import Corpus, eval_batches, prepare
from numpygpt.nn.finite import NotFinite
from numpygpt.optim.lr_scheduler import WarmupCosineLR
from numpygpt.parallel import DataParallel
from numpygpt.training import Trainer
from numpygpt.training.base import Base
from numpygpt.training.baselines import bigram_loss, unigram_loss
from numpygpt.training.checkpoint import load_checkpoint
from numpygpt.training.config import Config
from numpygpt.training.diagnose import first_not_finite
from numpygpt.training.report import introduction, overfitting
from numpygpt.training.trainer import evaluate, make_optimizer
from numpygpt.utils.text import duration
from numpygpt.utils.units import bits_per_byte

SMALL = {"n_layers": 2, "n_heads": 2, "d_model": 8, "context": 8, "batch_size": 3, "steps": 12, "warmup": 3,
         "dropout": 0.2, "lr": 1e-2, "min_lr": 1e-3, "workers": 2, "seed": 5}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    text = "the quick brown fox jumps over the lazy dog. " * 40
    corpus = Corpus.of("pangram", text, "a test")
    return prepare(corpus, tmp_path_factory.mktemp("data") / "pangram", context=8)


def trainer(dataset, **changes):
    return Trainer(Config.of(**(SMALL | changes)), dataset)


def run(t, steps):
    with t.parallel:
        return [t.update() for _ in range(steps)]


@pytest.mark.parametrize("changes", [{}, {"workers": 1}, {"accumulate": 2}, {"optimizer": "sgd", "momentum": 0.9},
                                     {"optimizer": "adam"}, {"batches": "sequential"},
                                     {"sync_every": 5, "eval_every": 5}], ids=str)
def test_a_resumed_run_equals_an_unbroken_one_to_the_last_bit(dataset, tmp_path, changes):
    whole = trainer(dataset, **changes)
    expected = run(whole, 12)
    first = trainer(dataset, **changes)
    run(first, 5)
    first.save(tmp_path / "ckpt.npz")
    second = trainer(dataset, **changes)
    second.load(load_checkpoint(tmp_path / "ckpt.npz"))
    assert run(second, 7) == expected[5:]
    for name, param in whole.model.params().items():
        assert np.array_equal(param, second.model.params()[name]), name
    assert (second.step, second.tokens) == (whole.step, whole.tokens)


def test_an_outer_velocity_that_no_run_has_is_refused_and_changes_nothing(dataset, tmp_path):
    apart = {"sync_every": 2, "eval_every": 2}
    saved, path = trainer(dataset, **apart), tmp_path / "ckpt.npz"
    run(saved, 2)
    saved.save(path)
    good = load_checkpoint(path)
    name = "outer/velocity/blocks.0.norm1.beta"
    assert good.arrays[name].any()
    for array, shown in ((np.full(8, np.nan, np.float32), "finite"), (np.zeros(9, np.float32), "(9,)"), (None, "b")):
        arrays = {key: value for key, value in (good.arrays | {name: array}).items() if value is not None}
        resumed = trainer(dataset, **apart)
        before = resumed.model.flat().params.copy()
        with pytest.raises(ValueError, match="velocity") as caught:
            resumed.load(replace(good, arrays=arrays))
        assert shown in str(caught.value)
        assert np.array_equal(resumed.model.flat().params, before)


def test_a_run_that_shared_every_step_can_train_apart_from_its_checkpoint_on_and_back(dataset, tmp_path):
    path, apart = tmp_path / "ckpt.npz", {"sync_every": 2, "eval_every": 2}
    for changes, velocity in (({}, False), (apart, True), ({}, False)):
        t = trainer(dataset, **changes)
        if path.exists():
            t.load(load_checkpoint(path))
        run(t, 2)
        t.save(path)
        assert bool(load_checkpoint(path).group("outer/velocity")) == velocity
    assert t.step == 6


def test_training_reduces_the_loss_and_repeats_with_its_seed(dataset):
    first, second = run(trainer(dataset), 12), run(trainer(dataset), 12)
    assert first == second
    assert first[-1]["loss"] < first[0]["loss"] - 0.1
    assert run(trainer(dataset, seed=6), 1) != first[:1]


def test_batches_come_in_the_order_of_the_text_where_that_is_asked_for(dataset):
    loader = trainer(dataset, batches="sequential").loader
    x, y = loader.next_batch()
    assert x.tolist() == dataset.train[:24].reshape(3, 8).tolist()
    assert y.tolist() == dataset.train[1:25].reshape(3, 8).tolist()
    assert trainer(dataset).loader.next_batch()[0].tolist() != x.tolist()


def test_accumulated_batches_take_the_same_step_as_one_large_batch(dataset):
    same = {"dropout": 0.0, "dtype": "float64", "clip": 0.0}
    large, small = trainer(dataset, batch_size=6, **same), trainer(dataset, batch_size=3, accumulate=2, **same)
    a, b = run(large, 4), run(small, 4)
    assert np.allclose([x["loss"] for x in a], [x["loss"] for x in b], rtol=1e-12)
    for name, param in large.model.params().items():
        assert np.allclose(param, small.model.params()[name], rtol=1e-9, atol=1e-12), name


def test_a_checkpoint_of_other_data_or_without_an_optimiser_is_refused(dataset, tmp_path):
    t = trainer(dataset)
    t.save(tmp_path / "ckpt.npz")
    t.save_model(tmp_path / "best.npz")
    other = prepare(Corpus.of("other", "abcdefgh " * 100, "a test"), tmp_path / "other", context=8)
    with pytest.raises(ValueError):
        trainer(other).load(load_checkpoint(tmp_path / "ckpt.npz"))
    with pytest.raises(ValueError):
        trainer(dataset).load(load_checkpoint(tmp_path / "best.npz"))
    base = Base.find(str(tmp_path / "best.npz"))
    base.check_tokenizer(dataset)
    with pytest.raises(ValueError, match="tokenizer"):
        base.check_tokenizer(other)


def test_starting_from_a_checkpoint_takes_its_parameters_and_a_new_optimiser(dataset, tmp_path):
    old = trainer(dataset)
    run(old, 3)
    old.save(tmp_path / "ckpt.npz")
    new = Trainer(old.config.changed({"seed": 9}), dataset, Base.find(str(tmp_path / "ckpt.npz")))
    assert all(np.array_equal(p, old.model.params()[n]) for n, p in new.model.params().items())
    assert new.step == new.optimizer.steps == 0
    assert not new.optimizer.m.any()


def test_evaluation_is_the_mean_over_every_validation_token_and_changes_nothing(dataset):
    t = trainer(dataset)
    before = t.parallel.generators()["0.dropout.rng"].bit_generator.state
    loss = evaluate(t.parallel, eval_batches(dataset.val, 3, 8))
    assert t.parallel.generators()["0.dropout.rng"].bit_generator.state == before
    assert t.model.training
    t.model.eval()
    val = np.asarray(dataset.val, np.int64)
    losses = []  # token by token, each with the context that its window gives it
    for i in range(len(val) - 1):
        start = i // 8 * 8
        logits, _ = t.model(val[None, start : i + 1])
        row = logits[0, -1].astype(np.float64)
        losses.append(math.log(np.exp(row).sum()) - row[val[i + 1]])
    assert loss == pytest.approx(np.mean(losses), rel=1e-5)


def test_baselines_match_counts_by_hand():
    train, val = np.array([0, 0, 1, 0]), np.array([0, 1])
    # add-one: p = (3 + 1, 1 + 1, 0 + 1) / 7; the bigram 01 was seen once, and 0 came before something twice
    assert unigram_loss(train, val, 3) == pytest.approx(-math.log(2 / 7))
    assert bigram_loss(train, val, 3) == pytest.approx(-math.log((1 + 2 / 7) / (2 + 1)))
    assert bits_per_byte(math.log(2), tokens=10, n_bytes=40) == pytest.approx(0.25)


def test_the_bigram_probabilities_of_every_token_sum_to_one():
    rng = np.random.default_rng(0)
    train = rng.integers(0, 5, 60)
    total = sum(math.exp(-bigram_loss(train, np.array([2, b]), 6)) for b in range(6))
    assert total == pytest.approx(1)


@pytest.mark.parametrize("where", ["blocks.1.ffn.fc", "wte", "norm_f"])
def test_the_first_layer_that_is_not_finite_is_named(dataset, where):
    t = trainer(dataset, dropout=0.0)
    layer = dict(t.model.named_modules())[where]
    forward = layer.forward
    vars(layer)["forward"] = lambda X: forward(X) * np.inf
    x, y = t.loader.next_batch()
    message = first_not_finite(t.model, [(x, y)])
    assert f"{where} (" in message and "its output" in message
    assert "forward" not in vars(t.model.blocks[0])  # the watch is taken off


def test_a_gradient_and_a_parameter_that_are_not_finite_are_named(dataset):
    t = trainer(dataset, dropout=0.0)
    x, y = t.loader.next_batch()
    layer = t.model.blocks[0].ffn
    backward = layer.backward
    vars(layer)["backward"] = lambda dY: backward(dY) * np.nan
    assert "blocks.0.ffn (FeedForward): the gradient" in first_not_finite(t.model, [(x, y)])
    t.model.norm_f.gamma[2] = np.nan
    assert first_not_finite(t.model, [(x, y)]) == "the parameter norm_f.gamma is not finite"


def test_a_loss_that_is_not_finite_stops_the_update_before_it_touches_the_parameters(dataset):
    t = trainer(dataset)
    t.model.wte.W[:] = np.inf
    before = t.model.state_dict()
    with pytest.raises(NotFinite, match="1"):
        run(t, 1)
    assert t.step == 0
    assert all(np.array_equal(p, before[n], equal_nan=True) for n, p in t.model.params().items())


def test_the_fault_is_looked_for_in_every_batch_that_was_accumulated(dataset):
    t = trainer(dataset, accumulate=2, dropout=0.0)
    first, second = t.loader.next_batch(), t.loader.next_batch()
    only = np.setdiff1d(first[0], second[0])
    assert len(only), "the two batches need a character that one of them lacks"
    forward = t.model.wte.forward
    vars(t.model.wte)["forward"] = lambda ids: forward(ids) * (np.nan if np.isin(only[0], ids) else 1)
    assert "wte (Embedding): its output" in first_not_finite(t.model, [first, second])
    assert "was finite" in first_not_finite(t.model, [second])


def test_an_evaluation_and_a_save_that_are_not_finite_are_refused(dataset, tmp_path):
    t = trainer(dataset)
    t.model.blocks[1].norm2.gamma[0] = np.inf
    with pytest.raises(NotFinite, match="1.*gamma"):
        evaluate(t.parallel, eval_batches(dataset.val, 3, 8))
    with pytest.raises(NotFinite):
        t.save(tmp_path / "ckpt.npz")
    assert not (tmp_path / "ckpt.npz").exists()


@pytest.mark.parametrize(("optimizer", "clip", "refused"), [
    ("adamw", 0.0, True), ("adam", 0.0, True), ("adamw", 1.0, False), ("sgd", 0.0, False)])
def test_adam_does_not_take_a_gradient_whose_square_overflows(dataset, optimizer, clip, refused):
    t = trainer(dataset, optimizer=optimizer, clip=clip)
    batches = t.next_batches()
    loss = t.gradients(batches)
    t.model.wte.dW[0, 0] = 1e20
    if refused:
        with pytest.raises(NotFinite, match=r"1.*1\.0.*20"):
            t.apply(batches, loss)
    else:
        t.apply(batches, loss)
    moments = [array for name in t.optimizer.moments for array in t.optimizer.state_dict()[name].values()]
    assert t.step == (not refused) and all(np.isfinite(array).all() for array in moments)


def test_overfitting_is_told_from_noise():
    falling = [(0, 4.0, math.nan), (1, 2.0, 2.5), (2, 1.9, 2.0), (3, 1.85, 1.8), (4, 1.86, 1.7)]
    assert overfitting(falling) == ""
    rising = [*falling, (5, 1.9, 1.6), (6, 1.95, 1.5)]
    assert all(number in overfitting(rising) for number in ("1.850", "step 3", "1.950", "1.800", "1.500"))
    assert overfitting([*falling, (5, 1.95, 1.9), (6, 1.97, 2.0)]) == ""  # training rises too: something else is wrong


def test_unknown_tokens_are_said_to_flatter_the_bits_per_byte(tmp_path):
    text = "one two three four five six seven eight nine ten " * 30 + "eleven twelve thirteen " * 7
    words = prepare(Corpus.of("numbers", text, "a test"), tmp_path / "words", tokenizer="word", context=8)
    unknown = words.tokenizer.special_tokens["<unk>"]
    share = np.mean(np.asarray(words.val) == unknown)
    assert share > 0.1
    assert f"{share:.1%}" in introduction(trainer(words).config, words)


def test_durations_read_like_a_clock():
    assert [duration(s) for s in (0.4, 59.6, 61, 3599.9, 7500)] == ["0 s", "1 min 00 s", "1 min 01 s", "1 h 00 min",
                                                                    "2 h 05 min"]


def test_the_introduction_states_parameters_passes_and_baselines(dataset):
    t = trainer(dataset)
    text = introduction(t.config, dataset)
    V = dataset.vocab_size
    assert f"{t.model.n_params():,} parameters" in text
    assert f"uniform {math.log(V):.2f} (ln V)" in text
    assert f"unigram {unigram_loss(dataset.train, dataset.val, V):.2f}" in text
    assert f"bigram {bigram_loss(dataset.train, dataset.val, V):.2f}" in text
    assert "2 workers" in text and "24 tokens (3 x 8)" in text


@pytest.mark.parametrize("width", [40, 80, 100])
def test_the_introduction_fits_the_terminal_and_breaks_no_word(dataset, width):
    plain = introduction(trainer(dataset).config, dataset, 1 << 20, ["a note"])
    text = introduction(trainer(dataset).config, dataset, width, ["a note"])
    assert text.split() == plain.split() and "a note" in text
    words = set(plain.split())
    assert all(len(line) <= width or any(word in words and len(word) > width - 20 for word in line.split())
               for line in text.splitlines())


def test_a_run_with_frozen_parameters_resumes_to_the_bit(dataset, tmp_path):
    def frozen():
        t = trainer(dataset)
        t.parallel.close()
        t.model.requires_grad_(False, "wte", "blocks.0")
        t.parallel = DataParallel(t.model, 2)
        t.optimizer = make_optimizer(t.model, t.config)
        t.schedule = WarmupCosineLR(t.optimizer, t.config.warmup, t.config.steps, t.config.min_lr)
        return t

    t, other = frozen(), frozen()
    other.model.flat().params[:] = 0
    table = t.model.wte.W.copy()
    for _ in range(3):
        t.update()
    t.save(tmp_path / "ckpt.npz")
    other.load(load_checkpoint(tmp_path / "ckpt.npz"))
    assert run(t, 3) == run(other, 3)
    np.testing.assert_array_equal(t.model.wte.W, table)
    assert all(np.array_equal(param, other.model.params()[name]) for name, param in t.model.params().items())
