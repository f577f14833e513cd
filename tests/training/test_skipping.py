"""Products in float16 in a run: which steps are skipped, and what of the run sees the loss scale."""

import math
import re

import numpy as np
import pytest
import strict
import tiny

from numpygpt.data import TokenDataset
from numpygpt.inspection.step import TracedStep, restored
from numpygpt.inspection.walk import walk
from numpygpt.nn import backend
from numpygpt.nn.finite import NotFinite
from numpygpt.optim.loss_scale import FIRST
from numpygpt.training.checkpoint import load_checkpoint
from numpygpt.training.config import Config
from numpygpt.training.trainer import Trainer

SMALL = {"context": 8, "d_model": 16, "n_heads": 2, "n_layers": 2, "batch_size": 4, "steps": 12, "warmup": 2,
         "dropout": 0.1, "device": "strict", "lr": 1e-2, "min_lr": 1e-3}


@pytest.fixture(autouse=True)
def device(monkeypatch):
    monkeypatch.setitem(backend.DEVICES, "strict", lambda index: strict.DEVICE)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return TokenDataset.load(tiny.make_data(tmp_path_factory.mktemp("data") / "hamlet"))


def trainer(dataset, precision="float16", at=(), **changes):
    """A trainer whose gradient overflows at the steps `at`."""
    t = Trainer(Config.of(data=str(dataset.folder), precision=precision, **(SMALL | changes)), dataset)
    plain = t.gradients

    def gradients(batches):
        loss = plain(batches)
        if t.step + 1 in at:
            t.model.flat().grads[7] = np.inf
        return loss

    t.gradients = gradients
    return t


@pytest.mark.parametrize("changes", [{}, {"optimizer": "sgd", "lr": 0.1, "accumulate": 2, "clip": 0.0},
                                     {"clip": 0.01, "recompute": True}], ids=str)
def test_norm_and_loss_are_those_of_the_loss_itself(changes, dataset):
    plain, half = trainer(dataset, "float32", **changes), trainer(dataset, **changes)
    for _ in range(6):
        expected, found = plain.update(), half.update()
        assert found["loss"] == pytest.approx(expected["loss"], rel=2e-3)
        assert found["grad_norm"] == pytest.approx(expected["grad_norm"], rel=5e-2)
        assert found["skipped"] == 0 and "skipped" not in expected
    assert found["loss"] != expected["loss"]


def test_an_overflow_is_no_spike_and_not_in_the_history_of_norms(dataset):
    t = trainer(dataset, at={2, 3}, skip_spikes=5.0)
    t.update()
    before, taken = t.model.state_dict(), t.optimizer.steps
    for _ in range(2):
        numbers = t.update()
        assert numbers["skipped"] == 1 and math.isinf(numbers["grad_norm"])
    for name, param in t.model.state_dict().items():
        np.testing.assert_array_equal(param, before[name])
    assert (t.step, t.optimizer.steps, t.skipping.scale, t.skipping.skipped) == (3, taken, FIRST / 4, 2)
    assert t.skipping.spikes.skipped == 0 and len(t.skipping.spikes.norms) == 1
    assert t.update()["skipped"] == 0


def test_a_run_with_skipped_steps_resumes_to_the_last_bit(dataset, tmp_path):
    whole, first, second = (trainer(dataset, at={2, 7}) for _ in range(3))
    expected = [whole.update() for _ in range(9)]
    found = [first.update() for _ in range(4)]
    first.save(tmp_path / "ckpt.npz")
    second.load(load_checkpoint(tmp_path / "ckpt.npz"))
    assert second.skipping.state_dict() == {"loss_scale": {"scale": FIRST / 2, "good": 2, "skipped": 1}}
    assert found + [second.update() for _ in range(5)] == expected
    assert second.skipping.state_dict() == whole.skipping.state_dict()


def test_a_checkpoint_without_a_loss_scale_begins_with_a_new_one(dataset, tmp_path):
    first, second = trainer(dataset, "float32"), trainer(dataset)
    first.update()
    first.save(tmp_path / "ckpt.npz")
    second.load(load_checkpoint(tmp_path / "ckpt.npz"))
    assert second.skipping.scale == FIRST and second.update()["skipped"] == 0


def test_a_loss_that_is_not_finite_ends_the_run_whatever_the_scale(dataset):
    t = trainer(dataset)
    t.model.wte.W[:] = 1e30  # beyond float16 in the head
    with pytest.raises(NotFinite, match="loss of step 1"):
        t.update()
    assert t.skipping.scale == FIRST and t.step == 0


def test_bfloat16_has_no_loss_scale(dataset):
    pytest.importorskip("ml_dtypes")
    t = trainer(dataset, "bfloat16")
    assert t.skipping.loss_scale is None and t.skipping.scale == 1 and "skipped" not in t.update()


def test_a_trace_shows_the_gradients_of_the_loss_itself(dataset):
    rows = []
    for precision in ("float32", "float16"):
        t = trainer(dataset, precision, dropout=0.0)
        with restored(t):
            step = TracedStep(t)
            step.apply()
            rows.append(step.row())
        assert t.skipping.state_dict() == trainer(dataset, precision).skipping.state_dict()
    for name in ("grad/blocks.0.ffn.fc.W", "dout_norm/blocks.1.ffn.fc", "update/wte.W"):
        assert rows[1][name] == pytest.approx(rows[0][name], rel=2e-2)


def test_the_walk_through_a_step_on_a_device_shows_the_gradients_of_the_loss_itself(dataset):
    found = []
    for precision in ("float32", "float16"):
        text = walk(trainer(dataset, precision, dropout=0.0))
        tied = text[text.index("wte.W is used twice"):].split("\n\n")[0]
        found.append([float(number) for number in re.findall(r"\d+\.\d+", tied)])
    assert len(found[0]) == 3 and found[1] == pytest.approx(found[0], rel=2e-2)
