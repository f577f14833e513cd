"""A run that was broken off and went on is the run that was never broken, to the last bit."""

import numpy as np
import pytest
from running import script
from tiny import TINY, assert_same_run, make_data, rows, train_module

from numpygpt.training.checkpoint import load_checkpoint
from numpygpt.training.folder import RunFiles, Samples
from numpygpt.training.metrics import MetricsLog
from numpygpt.training.run import RunLoop
from numpygpt.training.trainer import Trainer


class Killed(BaseException):
    """Ends the run where it stands, as a kill does: nothing catches it."""


@pytest.fixture(scope="module")
def train():
    return train_module()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return {kind: make_data(tmp_path_factory.mktemp("resume") / kind, kind) for kind in ("char", "word", "bpe")}


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory, train):
    """An unbroken run, by kind of tokenizer and number of workers; each is made once."""
    made = {}

    def make(kind="char", workers=2):
        if (kind, workers) not in made:
            made[kind, workers] = tmp_path_factory.mktemp("whole") / "run"
            assert train.main(begin(data[kind], made[kind, workers], "--workers", str(workers))) == 0
        return made[kind, workers]

    return make


def begin(data, out, *more):
    return [*TINY, "--data", str(data), "--out", str(out), "--skip-spikes", "1.01", "--trace-every", "7", *more]


def killed_at(monkeypatch, owner, name, call, before):
    """The given call of a method ends the run, before or after it has done its work."""
    method, calls = getattr(owner, name), []

    def wrapped(self, *args, **kwargs):
        calls.append(name)
        if len(calls) == call and before:
            raise Killed
        result = method(self, *args, **kwargs)
        if len(calls) == call:
            raise Killed
        return result

    monkeypatch.setattr(owner, name, wrapped)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("kind", ["char", "word", "bpe"])
def test_a_run_that_was_killed_twice_equals_an_unbroken_one(kind, workers, data, whole, train, tmp_path, monkeypatch):
    out = tmp_path / "run"
    arguments = begin(data[kind], out, "--workers", str(workers))
    for step in (14, 9):  # the second after that of the checkpoint at step 10
        with monkeypatch.context() as patch, pytest.raises(Killed):
            killed_at(patch, RunLoop, "update", step, before=False)
            train.main(arguments)
        arguments = ["--resume", str(out)]
    assert load_checkpoint(out / "ckpt.npz").header["step"] == 10
    assert train.main(arguments) == 0
    assert_same_run(out, whole(kind, workers))
    found = [(row["kind"], row["step"]) for row in rows(out)]
    assert [step for kind, step in found if kind == "train"] == list(range(1, 31))
    assert [step for kind, step in found if kind == "eval"] == [0, 10, 20, 30]
    assert sum(row.get("skipped", 0) for row in rows(out)) > 0  # that history was resumed too


WRITES = [(MetricsLog, "flush"), (Samples, "add"), (Trainer, "save_model"), (Trainer, "save"), (RunFiles, "save")]


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("call", [1, 2, 3])
@pytest.mark.parametrize(("owner", "name"), WRITES, ids=[f"{owner.__name__}.{name}" for owner, name in WRITES])
def test_a_kill_between_any_two_writes_leaves_nothing_doubled_or_missing(
        owner, name, call, before, data, whole, train, tmp_path, monkeypatch):
    out = tmp_path / "run"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        killed_at(patch, owner, name, call, before)
        train.main(begin(data["char"], out))
    again = ["--resume", str(out)] if (out / "ckpt.npz").exists() else begin(data["char"], out)
    assert train.main(again) == 0
    assert_same_run(out, whole())


def test_ctrl_c_between_two_evaluations_adds_no_row_and_no_sample(data, whole, train, tmp_path, monkeypatch):
    out, update = tmp_path / "run", RunLoop.update

    def stopping(self, bar):
        update(self, bar)
        self.stopping = self.trainer.step in (3, 10, 17)

    monkeypatch.setattr(RunLoop, "update", stopping)
    assert train.main(begin(data["char"], out)) == 0
    for step in (3, 10, 17):
        assert load_checkpoint(out / "ckpt.npz").header["step"] == step
        assert train.main(["--resume", str(out)]) == 0
    assert_same_run(out, whole())


def test_an_evaluation_that_a_kill_left_uncounted_is_told_as_it_was(data, train, tmp_path, monkeypatch, capsys):
    out, update = tmp_path / "run", RunLoop.update

    def stopping(self, bar):
        update(self, bar)
        self.stopping = self.trainer.step == 17

    with monkeypatch.context() as patch:
        patch.setattr(RunLoop, "update", stopping)
        assert train.main(begin(data["char"], out)) == 0
    train_loss = np.mean([row["loss"] for row in rows(out) if row["kind"] == "train" and row["step"] > 10])
    last = ["--resume", str(out), "--steps", "17"]
    with monkeypatch.context() as patch, pytest.raises(Killed):
        killed_at(patch, MetricsLog, "flush", 1, before=False)  # the row of step 17 is written, the checkpoint is not
        train.main(last)
    assert rows(out)[-1]["kind"] == "eval" and rows(out)[-1]["step"] == 17
    capsys.readouterr()
    assert train.main(last) == 0
    assert f"step     17  train {train_loss:.3f}  val {rows(out)[-1]['val_loss']:.3f}" in capsys.readouterr().out
    assert [row["step"] for row in rows(out) if row["kind"] == "eval"] == [0, 10, 17]


def test_skipped_steps_are_told(data, train, tmp_path, monkeypatch, capsys):
    gradients = Trainer.gradients

    def spiky(self, batches):
        loss = gradients(self, batches)
        if self.step + 1 >= 26:
            self.model.flat().grads[...] *= 1e6
        return loss

    monkeypatch.setattr(Trainer, "gradients", spiky)
    assert train.main(begin(data["char"], tmp_path / "run", "--skip-spikes", "100", "--steps", "40")) == 0
    text = capsys.readouterr().out
    told = {line.split()[1]: "skipped" in line and line.split("  ")[-1 - line.endswith("best")]
            for line in text.splitlines() if " val " in line and line.startswith("step ")}
    assert told == {"0": False, "10": False, "20": False, "30": "5 steps skipped", "40": "10 steps skipped"}
    assert "note: step 35 is the 10th in a row that was skipped" in text
    skipped = [row["step"] for row in rows(tmp_path / "run") if row.get("skipped")]
    assert skipped == list(range(26, 36))


def test_samples_of_another_checkpoint_are_cut_off_and_of_an_old_one_kept(tmp_path):
    samples = Samples(tmp_path / "samples.txt", 0)
    assert not samples.path.exists()
    samples.add(0, "é")
    first = samples.size
    samples.add(5, "--- step 7")  # a text that looks like another sample's first line
    assert samples.path.read_bytes() == "--- step 0\né\n--- step 5\n--- step 7\n".encode()
    assert Samples(samples.path).size == samples.size == samples.path.stat().st_size  # a checkpoint that says nothing
    assert Samples(samples.path, 1 << 40).size == samples.size  # the user has shortened it
    assert Samples(samples.path, first).size == first
    assert samples.path.read_bytes() == "--- step 0\né\n".encode()


def test_evaluating_more_often_changes_no_parameter_and_the_seed_repeats_all(data, train, tmp_path):
    outs = [tmp_path / name for name in ("often", "seldom", "again")]
    for out, every in zip(outs, ("3", "30", "3"), strict=True):
        assert train.main(begin(data["char"], out, "--eval-every", every)) == 0
    often, seldom, _ = (load_checkpoint(out / "ckpt.npz") for out in outs)
    assert all((array == seldom.arrays[name]).all() for name, array in often.arrays.items())
    for key in ("generators", "loader", "optimizer", "spikes"):
        assert often.header[key] == seldom.header[key]
    assert [[row for row in rows(out) if row["kind"] != "eval"] for out in outs[:1]] == [
        [row for row in rows(out) if row["kind"] != "eval"] for out in outs[1:2]]
    assert_same_run(outs[0], outs[2])


def test_what_a_kill_has_left_is_cleared_and_other_files_stay(data, tmp_path):
    out = tmp_path / "run"
    assert script("train.py", *begin(data["char"], out)).returncode == 0
    for name in (".ckpt.npz.tmp", ".best.npz.tmp", "metrics.jsonl.tmp", ".config.toml.tmp", "mine.tmp", ".lock"):
        (out / name).write_bytes(b"half")
    assert script("train.py", "--resume", out).returncode == 0
    assert sorted(path.name for path in out.iterdir()) == ["best.npz", "ckpt.npz", "config.toml", "metrics.jsonl",
                                                           "mine.tmp", "samples.txt"]
