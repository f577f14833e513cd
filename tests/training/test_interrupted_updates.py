"""The trainer after an error or an interrupt, and evaluation, which leaves every module in the mode that it was in."""

import numpy as np
import pytest
from interrupts import interrupted

from numpygpt.data import Corpus, eval_batches, prepare
from numpygpt.nn.finite import NotFinite
from numpygpt.training import Trainer
from numpygpt.training.config import Config
from numpygpt.training.diagnose import first_not_finite
from numpygpt.training.trainer import evaluate

SMALL = {"n_layers": 2, "n_heads": 2, "d_model": 8, "context": 8, "batch_size": 3, "steps": 5000, "warmup": 3,
         "dropout": 0.0, "lr": 1e-2, "min_lr": 1e-3, "workers": 2, "seed": 5}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    text = "the quick brown fox jumps over the lazy dog. " * 40
    return prepare(Corpus.of("pangram", text, "a test"), tmp_path_factory.mktemp("data") / "pangram", context=8)


def trainer(dataset, **changes):
    return Trainer(Config.of(**(SMALL | changes)), dataset)


def modes(model):
    return [module.training for _, module in model.named_modules()]


@pytest.mark.parametrize("mode", ["training", "evaluation", "mixed"])
def test_evaluation_leaves_every_module_in_its_mode_also_when_it_fails(dataset, mode):
    t = trainer(dataset, dropout=0.3)
    t.model.train(mode != "evaluation")
    if mode == "mixed":
        t.model.blocks[1].eval()
    before = modes(t.model)

    def broken():
        yield from eval_batches(dataset.val, 3, 8)
        raise MemoryError

    with t.parallel:
        loss = evaluate(t.parallel, eval_batches(dataset.val, 3, 8))
        assert modes(t.model) == before
        assert loss == evaluate(t.parallel, eval_batches(dataset.val, 3, 8))  # no dropout
        with pytest.raises(MemoryError):
            evaluate(t.parallel, broken())
        assert modes(t.model) == before
        t.model.norm_f.gamma[0] = np.nan
        with pytest.raises(NotFinite, match="norm_f.*gamma"):
            evaluate(t.parallel, eval_batches(dataset.val, 3, 8))
        assert modes(t.model) == before


def test_replicas_follow_the_mode_of_each_module(dataset):
    t = trainer(dataset, dropout=0.5)
    t.model.blocks[0].eval()
    with t.parallel:
        t.parallel.loss(*t.next_batches()[0])
    assert [modes(replica) for replica in t.parallel.replicas] == [modes(t.model)] * 2
    assert len(set(modes(t.model))) == 2


@pytest.mark.parametrize("training", [True, False])
def test_the_search_for_what_is_not_finite_keeps_the_modes(dataset, training):
    t = trainer(dataset)
    batches = t.next_batches()
    t.model.train(training)
    t.model.blocks[0].norm1.gamma[...] = 3e38
    t.model.blocks[0].norm1.beta[...] = 3e38
    grads = t.model.flat().grads
    grads.fill(1)
    assert "blocks.0.norm1" in first_not_finite(t.model, batches)
    assert modes(t.model) == [training] * len(modes(t.model))
    assert (grads == (0 if training else 1)).all()


@pytest.mark.parametrize("accumulate", [1, 2])
def test_an_update_that_failed_leaves_no_gradient_for_the_next(dataset, accumulate):
    t, other = (trainer(dataset, accumulate=accumulate) for _ in range(2))
    with t.parallel, other.parallel:
        calls, backward = [], t.parallel.backward

        def fail(scale):
            backward(scale)
            calls.append(scale)
            if len(calls) == accumulate:
                raise MemoryError

        t.parallel.backward = fail
        with pytest.raises(MemoryError):
            t.update()
        del t.parallel.backward
        other.next_batches()  # those that t has lost
        assert [t.update() for _ in range(3)] == [other.update() for _ in range(3)]
    np.testing.assert_array_equal(t.model.flat().params, other.model.flat().params)


@pytest.mark.parametrize("workers", [1, 2])
def test_interrupts_at_random_moments_take_a_step_wholly_or_not_at_all(dataset, workers):
    """Parameters, moments, learning rate and all counts belong to the same number of steps."""
    t, other = (trainer(dataset, workers=workers) for _ in range(2))
    batches, hits = t.next_batches(), 0
    for each in (t, other):
        each.next_batches = lambda: batches  # an interrupt may lose a batch
    with t.parallel, other.parallel:
        for seed in range(40):
            hits += interrupted(lambda: [t.update() for _ in range(3)], seed, longest=0.01)
            assert t.step == t.optimizer.steps == t.schedule.state_dict()["step"]
        assert hits > 5 and t.step > 0
        for _ in range(t.step):
            other.update()
    assert t.tokens == other.tokens and t.optimizer.lr == other.optimizer.lr
    np.testing.assert_array_equal(t.model.flat().params, other.model.flat().params)
    np.testing.assert_array_equal(t.optimizer.v, other.optimizer.v)
