"""Steps that are skipped because their gradient is far beyond what came before."""

import copy
import json

import numpy as np
import pytest

from numpygpt.data import Corpus, prepare
from numpygpt.inspection.step import TracedStep, restored
from numpygpt.training import Trainer
from numpygpt.training.checkpoint import load_checkpoint
from numpygpt.training.config import Config
from numpygpt.training.spikes import Spikes

SMALL = {"n_layers": 1, "n_heads": 2, "d_model": 8, "context": 8, "batch_size": 3, "steps": 60, "warmup": 3,
         "dropout": 0.2, "lr": 1e-2, "min_lr": 1e-3, "workers": 2, "seed": 5, "skip_spikes": 10.0}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    corpus = Corpus.of("pangram", "the quick brown fox jumps over the lazy dog. " * 40, "a test")
    return prepare(corpus, tmp_path_factory.mktemp("data") / "pangram", context=8)


def spiky(dataset, at, **changes):
    """A trainer whose gradients are a thousand times too large at the steps `at`."""
    t = Trainer(Config.of(**(SMALL | changes)), dataset)
    plain = t.gradients

    def gradients(batches):
        loss = plain(batches)
        if t.step + 1 in at:
            t.model.flat().grads[...] *= 1000
        return loss

    t.gradients = gradients
    return t


def run(t, steps):
    return [t.update() for _ in range(steps)]


def skips(norms, factor=3.0):
    spikes = Spikes(factor)
    return [spikes.is_spike(norm) for norm in norms], spikes


def test_a_norm_far_above_the_median_is_a_spike_once_there_is_a_history():
    assert skips([1.0] * 19 + [100.0])[0] == [False] * 20
    assert skips([1.0] * 20 + [3.0, 3.1, 1.0, 50.0, 1.0])[0] == [False] * 21 + [True, False, True, False]
    assert skips([1.0] * 20 + [100.0] * 9 + [3.1])[1].skipped == 10  # ten spikes do not raise the median


def test_the_median_is_that_of_the_last_hundred():
    assert skips([50.0] * 100 + [1.0] * 51 + [4.0])[0][-1]
    assert not skips([50.0] * 100 + [1.0] * 49 + [4.0])[0][-1]


def test_a_resumed_history_goes_on_where_it_stood():
    whole, first = Spikes(3.0), Spikes(3.0)
    norms = [1.0] * 30 + [100.0] * 9
    for norm in norms:
        whole.is_spike(norm)
        first.is_spike(norm)
    second = Spikes(3.0)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for norm in (100.0, 100.0, 1.0):  # the tenth in a row is the last
        assert second.is_spike(norm) == whole.is_spike(norm) and second.gave_up == whole.gave_up
    assert second.state_dict() == whole.state_dict() and whole.skipped == 10


def test_more_in_a_row_than_there_can_be_still_ends():
    spikes = Spikes(3.0)
    spikes.load_state_dict({"norms": [1.0] * 30, "skipped": 50, "in_a_row": 50})
    assert spikes.is_spike(100.0) and spikes.gave_up and not spikes.is_spike(100.0)


def test_no_run_skips_for_ever():
    found, spikes = skips([1.0] * 30 + [100.0] * 10)
    assert found == [False] * 30 + [True] * 10 and spikes.gave_up
    assert not any(spikes.is_spike(100.0) for _ in range(200)) and not spikes.gave_up
    assert spikes.skipped == 10
    found, spikes = skips([1.0] * 30 + ([100.0] * 9 + [1.0]) * 3)  # nine in a row, three times
    assert sum(found) == spikes.skipped == 27 and not spikes.gave_up


def test_a_skipped_step_changes_no_parameter_and_no_moment_and_counts_like_any_other(dataset):
    t = spiky(dataset, at=[25])
    with t.parallel:
        numbers = run(t, 24)
        assert not any(n["skipped"] for n in numbers)
        params, steps, rate = t.model.state_dict(), t.optimizer.steps, t.optimizer.lr
        moments = {name: getattr(t.optimizer, name).copy() for name in t.optimizer.moments}
        loader = copy.deepcopy(t.loader.state_dict())
        skipped = t.update()
        assert skipped["skipped"] == 1 and skipped["grad_norm"] > 10 * numbers[-1]["grad_norm"]
        assert all(np.array_equal(p, params[name]) for name, p in t.model.params().items())
        assert all(np.array_equal(getattr(t.optimizer, name), m) and m.any() for name, m in moments.items())
        assert not t.model.flat().grads.any()
        assert (t.step, t.optimizer.steps, t.tokens) == (25, steps, 25 * 24)
        assert t.optimizer.lr != rate and t.loader.state_dict() != loader
        assert t.update()["skipped"] == 0
        assert t.optimizer.steps == steps + 1 == 25
    assert t.skipping.spikes.skipped == 1


def test_without_the_setting_every_step_is_taken(dataset):
    t = spiky(dataset, at=[25], skip_spikes=0.0)
    with t.parallel:
        numbers = run(t, 26)
    assert all("skipped" not in n for n in numbers) and t.optimizer.steps == 26


def test_the_history_is_part_of_the_checkpoint(dataset, tmp_path):
    at = [22, 26, 40]
    whole, first, second = (spiky(dataset, at) for _ in range(3))
    with whole.parallel:
        expected = run(whole, 45)
    with first.parallel:
        run(first, 24)
        first.save(tmp_path / "ckpt.npz")
    second.load(load_checkpoint(tmp_path / "ckpt.npz"))
    with second.parallel:
        assert run(second, 21) == expected[24:]
    assert [i + 1 for i, n in enumerate(expected) if n["skipped"]] == at
    assert second.skipping.state_dict() == whole.skipping.state_dict() and second.skipping.skipped == 3


def test_a_run_may_begin_to_skip_when_it_is_resumed(dataset, tmp_path):
    off = spiky(dataset, [], skip_spikes=0.0)
    off.save(tmp_path / "ckpt.npz")
    on = spiky(dataset, [])
    on.load(load_checkpoint(tmp_path / "ckpt.npz"))
    assert on.skipping.spikes.state_dict() == {"norms": [], "skipped": 0, "in_a_row": 0}


@pytest.mark.parametrize("change", [{"norms": "abc"}, {"norms": [1]}, {"norms": [1.0] * 101}, {"skipped": -1},
                                    {"in_a_row": 1.0}, {"skipped": None}, {"norms": [-1.0]},
                                    {"skipped": 10**400}, {"in_a_row": True}])
def test_a_history_that_is_none_is_refused(change):
    state = {"norms": [1.0], "skipped": 0, "in_a_row": 0}
    Spikes(3.0).load_state_dict(state)
    with pytest.raises(ValueError):
        Spikes(3.0).load_state_dict(state | change)


def test_a_look_inside_leaves_the_history_as_it_was(dataset):
    looked, plain = spiky(dataset, [25]), spiky(dataset, [25])
    with looked.parallel, plain.parallel:
        run(looked, 24)
        expected = run(plain, 30)[24:]
        with restored(looked):
            assert TracedStep(looked).apply()["skipped"] == 1
        assert looked.skipping.spikes.skipped == 0
        assert run(looked, 6) == expected


@pytest.mark.parametrize("value", [-1.0, 0.5, 1.0, float("inf"), float("nan")])
def test_a_factor_that_would_skip_half_of_the_steps_is_refused(value):
    with pytest.raises(ValueError, match="skip_spikes.*1.*0"):
        Config.of(skip_spikes=value)
