"""A watched step is the step itself, and its numbers are those of the parameters and layers."""

import math

import numpy as np
import pytest
from parts import PRODUCT

from numpygpt.data import Corpus, prepare
from numpygpt.inspection.step import TracedStep, norms, restored
from numpygpt.nn.finite import NotFinite
from numpygpt.training import Trainer
from numpygpt.training.config import Config

SMALL = {"n_layers": 2, "n_heads": 2, "d_model": 8, "context": 8, "batch_size": 3, "steps": 12, "warmup": 3,
         "dropout": 0.2, "lr": 1e-2, "min_lr": 1e-3, "workers": 2, "seed": 5}
VARIANTS = [{}, {"accumulate": 2}, {"workers": 1}, {"optimizer": "sgd", "momentum": 0.9}, {"clip": 0.0}]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    corpus = Corpus.of("pangram", "the quick brown fox jumps over the lazy dog. " * 40, "a test")
    return prepare(corpus, tmp_path_factory.mktemp("data") / "pangram", context=8)


def trainer(dataset, **changes):
    return Trainer(Config.of(**(SMALL | changes)), dataset)


def state(t):
    """All that the next steps depend on."""
    arrays = [t.model.flat().params, t.model.flat().grads, *(getattr(t.optimizer, m) for m in t.optimizer.moments)]
    drawn = {name: rng.bit_generator.state for name, rng in t.parallel.generators().items()}
    counts = t.step, t.tokens, t.optimizer.steps, t.optimizer.lr, t.schedule.state_dict(), t.loader.state_dict()
    return [array.tobytes() for array in arrays], drawn, counts


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_watched_steps_are_the_steps_to_the_last_bit(dataset, changes):
    plain, watched = trainer(dataset, **changes), trainer(dataset, **changes)
    with plain.parallel, watched.parallel:
        for _ in range(3):
            assert TracedStep(watched).apply() == plain.update()
            assert state(watched) == state(plain)


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_steps_can_be_undone(dataset, changes):
    t, other = trainer(dataset, **changes), trainer(dataset, **changes)
    with t.parallel, other.parallel:
        assert t.update() == other.update()
        before = state(t)
        with restored(t):
            t.update()
            TracedStep(t).apply()
            assert state(t) != before
        assert state(t) == before
        assert [t.update() for _ in range(3)] == [other.update() for _ in range(3)]
        assert state(t) == state(other)


@pytest.mark.parametrize("broken", [0, 1, 2])
def test_a_step_that_fails_in_one_worker_is_undone_in_all(dataset, broken):
    t, other = trainer(dataset, workers=3), trainer(dataset, workers=3)

    def fail(dY):
        raise ZeroDivisionError

    before = state(t)
    layer = t.parallel.replicas[broken].blocks[0].norm1  # the others go all the way back
    with t.parallel, other.parallel:
        layer.backward = fail
        with pytest.raises(ZeroDivisionError), restored(t):
            TracedStep(t)
        del layer.backward
        assert state(t) == before
        assert not any(grads.any() for grads in t.parallel.grads)
        assert [t.update() for _ in range(3)] == [other.update() for _ in range(3)]
        assert state(t) == state(other)


def test_a_step_that_fails_is_undone_too(dataset):
    t = trainer(dataset)
    t.model.wte.W[:] = np.inf
    before = state(t)
    with t.parallel, pytest.raises(NotFinite, match="1"), restored(t):
        TracedStep(t).apply()
    assert state(t) == before


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_the_norms_are_those_of_gradients_weights_and_true_steps(dataset, changes):
    watched, plain = trainer(dataset, **changes), trainer(dataset, **changes)
    with plain.parallel, watched.parallel:
        step = TracedStep(watched)
        before = plain.model.state_dict()
        batches = plain.next_batches()
        loss = plain.gradients(batches)
        grads = {name: grad.copy() for name, grad in plain.model.grads().items()}
        assert step.apply() == plain.apply(batches, loss)
        row = step.row()
    for name, param in plain.model.params().items():
        weight, change = np.linalg.norm(before[name]), np.linalg.norm(param.astype(float) - before[name])
        assert row[f"grad/{name}"] == pytest.approx(np.linalg.norm(grads[name].astype(float)), rel=1e-5), name
        assert row[f"weight/{name}"] == pytest.approx(weight, rel=1e-5), name
        if weight:
            assert row[f"update/{name}"] == pytest.approx(change / weight, rel=1e-4), name
        else:
            assert math.isnan(row[f"update/{name}"])
    assert sum(row[f"grad/{name}"] ** 2 for name in grads) == pytest.approx(step.numbers["grad_norm"] ** 2, rel=1e-5)


@pytest.mark.parametrize("size", [1e-23, 1e20, 0.0])
def test_norms_of_very_small_and_very_large_numbers(size):
    """Whose squares float32 does not have."""
    (norm,) = norms({"W": np.full((5, 20), size, np.float32)}).values()
    assert norm == pytest.approx(10 * size, rel=1e-6, abs=0)


def test_the_row_names_every_parameter_and_every_module_but_the_model_and_the_loss(dataset):
    t = trainer(dataset, n_layers=1)
    with t.parallel:
        step = TracedStep(t)
        step.apply()
    block = ["", ".norm1", ".attn", f".attn.{PRODUCT}", ".attn.proj", ".attn.dropout", ".norm2", ".ffn", ".ffn.fc",
             ".ffn.act", ".ffn.proj", ".ffn.dropout"]
    modules = ["wte", "wpe", "dropout", *(f"blocks.0{part}" for part in block), "norm_f"]
    expected = [f"{kind}/{name}" for kind in ("grad", "weight", "update") for name in t.model.params()]
    expected += [f"{kind}/{name}" for kind in ("out_std", "dout_norm") for name in modules]
    assert sorted(step.row()) == sorted(expected)


def test_a_bias_shows_the_gradient_of_an_output(dataset):
    """With one token in the batch, the gradient of a bias is that of its layer's output."""
    t = trainer(dataset, batch_size=1, context=1, dropout=0.0, workers=1, dtype="float64")
    for param in t.model.params().values():
        param += 0.3 * np.random.default_rng(param.size).standard_normal(param.shape)
    with t.parallel:
        step = TracedStep(t)
        step.apply()
    row = step.row()
    layers = {name[5:].rsplit(".", 1)[0]: name for name in row if name.startswith("grad/")
              if name.endswith((".b", ".beta", "wpe.W"))}
    for i in (0, 1):  # what a block, its attention or its feed-forward returns goes where this bias is added
        layers |= {f"blocks.{i}": f"grad/blocks.{i}.ffn.proj.b", f"blocks.{i}.attn": f"grad/blocks.{i}.attn.proj.b",
                   f"blocks.{i}.ffn": f"grad/blocks.{i}.ffn.proj.b"}
    assert len(layers) == 20
    for layer, bias in layers.items():
        assert row[f"dout_norm/{layer}"] == pytest.approx(row[bias], rel=1e-9), layer
    assert row["dout_norm/wte"] == row["dout_norm/wpe"]


@pytest.mark.parametrize("every", [1, 2])
def test_a_step_of_ranks_that_train_apart_is_taken_back(every, dataset):
    t = trainer(dataset, sync_every=every, eval_every=2)
    with t.parallel:
        t.update()
        before = [array.copy() for array in (t.outer.anchor, t.outer.velocity, t.model.flat().params)]
        with restored(t):
            t.update()
            assert not np.array_equal(t.outer.anchor, before[0])
        for array, expected in zip((t.outer.anchor, t.outer.velocity, t.model.flat().params), before, strict=True):
            np.testing.assert_array_equal(array, expected)


def test_workers_and_micro_batches_give_the_numbers_of_one_large_batch(dataset):
    same = {"dropout": 0.0, "dtype": "float64"}
    rows = []
    for changes in ({"batch_size": 6, "workers": 1}, {"batch_size": 6, "workers": 3},
                    {"batch_size": 3, "accumulate": 2}):
        t = trainer(dataset, **same, **changes)
        with t.parallel:
            step = TracedStep(t)
            step.apply()
            rows.append(step.row())
    for row in rows[1:]:
        assert row == pytest.approx(rows[0], rel=1e-9, nan_ok=True)


def test_the_spread_of_outputs_is_that_of_the_layers(dataset):
    t = trainer(dataset, dropout=0.0, workers=1)
    with t.parallel, restored(t):
        x, _ = t.next_batches()[0]
    model = t.model
    X = model.wpe(model.wte(x))
    block = model.blocks[0]
    H = X + block.attn(block.norm1(X))
    expected = {"wte": model.wte(x), "dropout": X, "blocks.0.attn": H - X,
                "blocks.0.ffn.fc": block.ffn.fc(block.norm2(H)), "blocks.0": block(X), "norm_f": model.hidden(x)}
    with t.parallel:
        step = TracedStep(t)
    row = {f"out_std/{name}": array.std() for name, array in expected.items()}
    step.apply()
    assert {name: step.row()[name] for name in row} == pytest.approx(row, rel=1e-4)
