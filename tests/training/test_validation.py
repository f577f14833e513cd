"""What an evaluation reads, what is best, and what is said of a run that goes wrong."""

import json
import math

import numpy as np
import pytest
from running import script
from tiny import TINY, assert_same_run, make_data, rows, train_module

from numpygpt.data import TokenDataset, eval_batches
from numpygpt.optim.lr_scheduler import warmup_cosine
from numpygpt.plots.runs import load_run
from numpygpt.training.checkpoint import load_checkpoint, save_checkpoint
from numpygpt.training.config import Config
from numpygpt.training.metrics import comparable_losses, read_metrics
from numpygpt.training.report import diverged, overfitting, result
from numpygpt.training.run import Run
from numpygpt.training.validation import tokens_read

SOME = ["--eval-tokens", "64"]  # of 308


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("validation") / "data")


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    done = script("train.py", *TINY, *SOME, "--data", data, "--out", out)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


@pytest.mark.parametrize(("changes", "expected"), [
    ({}, 500 * 2048 // 10), ({"accumulate": 4}, 4 * 500 * 2048 // 10), ({"eval_every": 1}, 10 * 2048),
    ({"eval_every": 10**9, "steps": 1000, "warmup": 1}, 1000 * 2048 // 10), ({"eval_tokens": 1}, 128),
    ({"eval_tokens": 129}, 256), ({"eval_tokens": -1}, 10**7), ({"eval_tokens": 10**9}, 10**7),
])  # fmt: skip
def test_an_evaluation_reads_a_tenth_of_what_was_trained_on_or_what_was_asked_for(changes, expected):
    assert tokens_read(Config.of(**changes), 10**7) == expected
    assert tokens_read(Config.of(**changes), 100) == 100  # never more than there are


@pytest.mark.parametrize("at_most", [1, 8, 9, 50, 99, 100, 10**6])
@pytest.mark.parametrize("count", [3, 57, 101, 130])
def test_some_windows_are_whole_spread_evenly_and_the_same_whatever_the_batch_size(count, at_most):
    tokens = np.arange(count)
    windows = [np.concatenate(pair) for pair in
               (list(part) for part in zip(*eval_batches(tokens, 3, 8, at_most), strict=True))]
    x, y = windows
    one = list(eval_batches(tokens, 1, 8, at_most))
    assert np.array_equal(x, np.concatenate([x for x, _ in one]))
    counted = (y != -1).sum()
    assert counted == min(count - 1, -(-at_most // 8) * 8)
    assert np.array_equal(y[y != -1], x[y != -1] + 1) and len(np.unique(x[:, 0])) == len(x)
    if counted < count - 1:
        assert (y != -1).all() and not (x[:, 0] % 8).any()
        gaps = np.diff(x[:, 0])
        assert not len(gaps) or gaps.max() - gaps.min() <= 8


def test_evaluations_compare_and_the_last_one_reads_all(run, data, tmp_path):
    out, text = run
    found = [row for row in rows(out) if row["kind"] == "eval"]
    targets = len(TokenDataset.load(data).val) - 1
    assert [row["tokens_evaluated"] for row in found] == [64, 64, 64, targets]
    assert ["sampled_loss" in row for row in found] == [False, False, False, True]
    whole = tmp_path / "whole"
    assert script("train.py", *TINY, "--eval-tokens", -1, "--data", data, "--out", whole).returncode == 0
    plain = [row for row in rows(whole) if row["kind"] == "eval"]
    assert [row["tokens_evaluated"] for row in plain] == [targets] * 4
    assert found[-1]["val_loss"] == plain[-1]["val_loss"] and found[0]["val_loss"] != plain[0]["val_loss"]
    assert f"val {plain[-1]['val_loss']:.3f}" in text
    a, b = (load_checkpoint(folder / "ckpt.npz") for folder in (out, whole))
    assert all(np.array_equal(array, b.arrays[name]) for name, array in a.arrays.items())  # training is the same
    assert a.header["generators"] == b.header["generators"]
    losses = comparable_losses(read_metrics(out / "metrics.jsonl"))
    assert losses[-1] == found[-1]["sampled_loss"] and losses[:-1].tolist() == [r["val_loss"] for r in found[:-1]]
    assert a.header["best"]["step"] == found[int(np.argmin(losses))]["step"]
    picture = load_run(out)
    assert picture.metrics.eval["val_loss"].tolist() == losses.tolist()  # what is joined by a line is comparable
    ratio = found[0]["bits_per_byte"] / found[0]["val_loss"]
    assert picture.metrics.eval["bits_per_byte"] == pytest.approx(losses * ratio)


@pytest.mark.parametrize("stops", [(13,), (20, 29), (30,)], ids=str)
def test_a_resumed_run_reads_the_same_tokens(stops, run, data, tmp_path, monkeypatch):
    out, update, train = tmp_path / "cut", Run.update, train_module()

    def stopping(self, bar):
        update(self, bar)
        self.stopping = self.trainer.step in stops

    with monkeypatch.context() as patch:
        patch.setattr(Run, "update", stopping)
        assert train.main([*TINY, *SOME, "--data", str(data), "--out", str(out)]) == 0
        for _ in stops[1:]:
            assert train.main(["--resume", str(out)]) == 0
    assert load_checkpoint(out / "ckpt.npz").header["step"] == stops[-1]
    assert train.main(["--resume", str(out)]) == 0
    assert_same_run(out, run[0])


def test_the_automatic_number_is_kept_when_the_run_is_resumed_with_other_settings(data, tmp_path):
    out = tmp_path / "run"
    small = [*TINY, "--accumulate", 1, "--batch-size", 1, "--context", 8, "--eval-every", 10, "--data", data]
    assert script("train.py", *small, "--out", out).returncode == 0
    assert load_checkpoint(out / "ckpt.npz").header["config"]["eval_tokens"] == 80
    assert script("train.py", "--resume", out, "--steps", 40, "--eval-every", 5).returncode == 0
    found = [(row["step"], row["tokens_evaluated"]) for row in rows(out) if row["kind"] == "eval"]
    assert found == [(0, 80), (10, 80), (20, 80), (30, 305), (35, 80), (40, 305)]


def test_a_run_of_an_earlier_version_goes_on_reading_all(run, tmp_path):
    out, _ = run
    checkpoint = load_checkpoint(out / "ckpt.npz")
    header = json.loads(json.dumps(checkpoint.header))
    del header["config"]["eval_tokens"], header["last"]["sampled_loss"]
    (tmp_path / "old").mkdir()
    save_checkpoint(tmp_path / "old" / "ckpt.npz", header, checkpoint.arrays)
    assert script("train.py", "--resume", tmp_path / "old", "--steps", 40, "--eval-every", 5).returncode == 0
    found = [row["tokens_evaluated"] for row in rows(tmp_path / "old") if row["kind"] == "eval"]
    assert len(found) == 2 and len(set(found)) == 1 and found[0] > 300


def test_a_finished_run_that_is_trained_longer_says_how_its_learning_rate_jumps(run, tmp_path):
    out, _ = run
    done = script("train.py", "--resume", out, "--steps", 60, "--dry-run")
    before, after = (warmup_cosine(step, 1e-2, 3e-5, 5, steps) for step, steps in ((29, 30), (30, 60)))
    text = " ".join(done.stdout.split())
    assert f"from {before:.3g} in step 30 to {after:.3g} in step 31 ({after / before:,.3g} times)" in text
    assert "--init-from" in text and "--lr 3e-05" in text
    for flags in ([], ["--steps", 60, "--lr", "3e-5"], ["--clip", 0.5]):
        quiet = script("train.py", "--resume", out, *flags, "--dry-run").stdout
        assert "the learning rate goes" not in quiet
    assert "the learning rate goes" not in script("train.py", "--resume", out, "--dry-run").stdout
    workers = script("train.py", "--resume", out, "--workers", 1, "--dry-run").stdout
    assert "2 workers before, 1 now" in " ".join(workers.split())


def test_a_finished_run_that_is_resumed_names_what_trains_it_longer(run):
    out, _ = run
    done = script("train.py", "--resume", out)
    assert done.returncode == 0 and f"--resume {out} --steps" in done.stdout


LN_V = math.log(65)


@pytest.mark.parametrize(("history", "verdict"), [
    ([(0, 4.2, math.nan)], False),
    ([(0, 4.2, math.nan), (10, 3.0, 3.4), (20, 19.8, 12.0)], True),
    ([(0, 4.2, math.nan), (10, 19.8, 25.0)], True),  # from the first evaluation on
    ([(0, 4.2, math.nan), (10, 1e7, 9e6), (20, 2e7, 1e7), (30, 3e7, 2e7)], True),
    ([(0, 4.2, math.nan), (10, 1.6, 1.7), (20, 3.3, 3.3)], True),  # below ln V, and far above where it was
    ([(0, 4.2, math.nan), (10, 1.6, 1.7), (20, 1.9, 2.0)], False),  # noise
    ([(0, 4.2, math.nan), (10, 4.75, 4.5), (20, 5.76, 2.5), (30, 7.0, 1.0)], False),  # overfitting
    ([(0, 4.2, math.nan), (10, 4.21, 4.2)], False),  # has not begun to learn
    ([(0, 4.2, math.nan), (10, 9.0, 9.0), (20, 2.5, 3.0)], False),  # recovered
])  # fmt: skip
def test_divergence_is_told_from_noise_and_from_overfitting(history, verdict):
    found = diverged(history, 65)
    assert bool(found) == verdict
    if verdict:
        assert f"{history[-1][1]:.3f} at step {history[-1][0]}" in found and f"{LN_V:.2f}" in found
        assert not overfitting(history)


@pytest.mark.parametrize(("flags", "status", "word"), [
    (["--lr", "10"], 0, "the run has diverged"), (["--lr", "1e30", "--weight-decay", "0"], 2, "not finite"),
    (["--optimizer", "sgd", "--lr", "1e30"], 2, "not finite"), (["--weight-decay", "1e9"], 2, "weight_decay 1e+09"),
    (["--lr", "1e300", "--weight-decay", "0", "--dtype", "float64"], 2, "not finite"),
    (["--beta2", "0.9999999", "--clip", "1e-30"], 0, "done: 30 steps"),
], ids=str)  # fmt: skip
def test_absurd_settings_end_in_words_and_without_a_warning_of_numpy(flags, status, word, data, tmp_path):
    done = script("train.py", *TINY, "--warmup", 0, *flags, "--data", data, "--out", tmp_path / "run")
    assert done.returncode == status and word in (done.stderr if status else done.stdout), done  # warnings are errors
    if "diverged" in word:
        assert "--lr 3e-03" in done.stdout
        assert all(len(line) < 400 for line in done.stdout.splitlines())


def test_a_scaled_warm_up_is_said_and_a_given_one_is_not(data, tmp_path):
    text = script("train.py", "quick", "--steps", 60, "--data", data, "--context", 8, "--dry-run").stdout
    assert "warmup 3 is scaled with --steps" in text and "in 3 steps (warm-up)" in text
    text = script("train.py", "quick", "--steps", 60, "--warmup", 7, "--data", data, "--context", 8, "--dry-run").stdout
    assert "scaled" not in text and "in 7 steps (warm-up)" in text


def test_the_result_compares_losses_on_the_same_tokens():
    last = {"step": 45, "val_loss": 3.2, "sampled_loss": 3.3}
    best = {"step": 40, "val_loss": 3.4, "sampled_loss": 3.1}
    assert all(word in result(last, best, 512) for word in ("3.2000", "3.3000", "3.1000 at step 40", "512"))
    assert "3.4000" not in result(last, best, 512)
    assert "3.2000 at step 45" in result(last, last, 512)
