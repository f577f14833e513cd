"""Trainings side by side: the same runs as one by one; what fails, what is interrupted, what is complete already."""

import math
import signal
import subprocess
import sys
import time
from argparse import ArgumentTypeError

import pytest
from tiny import TINY, make_data, rows, train_module

from experiments import sweep
from experiments.runs import best_loss, is_complete, load_run
from numpygpt.utils.lock import check_unlocked
from numpygpt.utils.paths import ROOT

FLAGS = dict(zip(TINY[::2], TINY[1::2], strict=True))
SMALL = [word for flag in FLAGS if flag not in ("--lr", "--workers", "--dropout") for word in (flag, FLAGS[flag])]
LONG = ["--steps", "200000", "--eval-every", "200000", "--sample-tokens", "0"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("sweep") / "data")


@pytest.fixture
def small(data):
    return [*SMALL, "--data", str(data)]


def started(*arguments):
    return subprocess.Popen([sys.executable, str(ROOT / "experiments" / "sweep.py"), *map(str, arguments)],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8")


def cells(table):
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in table.splitlines()[2:]]


def test_runs_side_by_side_are_those_of_one_after_the_other(small, tmp_path):
    swept = tmp_path / "swept"
    words = ["quick", "--vary", "lr=1e-2,2e-2", "--seeds", 1, 2, "--runs", swept, "--", *small]
    process = started(*words)
    table, progress = process.communicate()
    assert process.returncode == 0
    names = [f"quick_lr_{lr}_{seed}" for seed in (1, 2) for lr in ("1e_2", "2e_2")]
    assert sorted(out.name for out in swept.iterdir()) == sorted(names)
    assert all(sum(f"{name}:" in line for line in progress.splitlines()) == 1 for name in names)
    train_module().main(["quick", *small, "--lr", "2e-2", "--seed", "2", "--workers", "1", *sweep.COMPARABLE,
                         "--out", str(tmp_path / "alone")])
    assert rows(swept / "quick_lr_2e_2_2") == rows(tmp_path / "alone")
    losses = {name: best_loss(load_run(swept / name)) for name in names}
    assert [row[:3] for row in cells(table)] == [
        [f"quick, lr {lr}", *(f"{losses[f'quick_lr_{lr}_{seed}'.replace('-', '_')]:.4f}" for seed in (1, 2))]
        for lr in ("1e-2", "2e-2")]
    before = [load_run(swept / name).total("seconds") for name in names]
    assert started(*words).communicate()[0] == table
    assert [load_run(swept / name).total("seconds") for name in names] == before  # nothing was trained again


def test_a_run_that_fails_is_named_and_the_others_go_on(small, tmp_path):
    process = started("quick", "--vary", "lr=1e30,1e-2", "--seeds", 3, "--runs", tmp_path, "--", *small,
                      "--weight-decay", 0)
    table, errors = process.communicate()
    assert process.returncode == 2
    failed, well = cells(table)
    assert failed[:2] == ["quick, lr 1e30", "failed"]
    assert well[1] == f"{best_loss(load_run(tmp_path / 'quick_lr_1e_2_3')):.4f}"
    assert "quick_lr_1e30_3" in errors.splitlines()[-1] and "quick_lr_1e_2_3" not in errors.splitlines()[-1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_all_trainings_end_with_a_sweep_and_are_resumed_by_the_next(number, small, tmp_path, monkeypatch, capsys):
    runs = [tmp_path / f"quick_{seed}" for seed in (1, 2)]
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    process = started("quick", "--seeds", 1, 2, "--runs", tmp_path, "--", *small, *LONG)
    end = time.monotonic() + 60
    while not all((out / "ckpt.npz").exists() for out in runs):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    for out in runs:
        check_unlocked(out)  # its training has ended
        assert not is_complete(out)
    words = {}
    monkeypatch.setattr(sweep, "side_by_side", lambda trainings, at_once, ranks: words.update(trainings) or
                        dict.fromkeys(trainings, "not trained"))
    with pytest.raises(sweep.Failed, match="quick_1.*quick_2"):
        sweep.train_all(sweep.jobs({"quick": ["quick"]}, (1, 2), tmp_path, [*small, *LONG]))
    assert words == {out: ["--resume", str(out)] for out in runs}


def test_at_most_so_many_run_at_once_and_in_order(tmp_path, monkeypatch):
    running, most, order = set(), [], []

    class Fake:
        def __init__(self, out, words, ranks):
            self.out, self.process, self.left = out, self, 2
            running.add(out)
            most.append(len(running))
            order.append(words)

        def poll(self):
            self.left -= 1
            return None if self.left else 0

        def failure(self):
            running.discard(self.out)
            return f"of {self.out.name}"

    monkeypatch.setattr(sweep, "Training", Fake)
    monkeypatch.setattr(sweep, "POLL", 0)
    wanted = {tmp_path / str(i): [i] for i in range(7)}
    assert sweep.side_by_side(wanted, 3) == {out: f"of {out.name}" for out in wanted}
    assert order == list(wanted.values()) and max(most) == 3 and not running


def test_an_error_in_one_training_is_reported_before_any_is_started(small, tmp_path):
    process = started("quick", "--vary", "d-model=8,9", "--seeds", 1, "--runs", tmp_path, "--", *small)
    assert process.communicate()[0] == "" and process.returncode == 2 and not list(tmp_path.iterdir())


def test_values_are_flags_and_all_combinations_are_trained():
    choices = [sweep.varied("lr=1e-3,3e-3"), sweep.varied("tie_weights=true,false")]
    assert sweep.combinations(["configs/quick.toml", "--steps", "9"], choices) == {
        f"quick, lr {lr}, tie-weights {word}": ("configs/quick.toml", "--steps", "9", "--lr", lr, flag)
        for lr in ("1e-3", "3e-3") for word, flag in (("true", "--tie-weights"), ("false", "--no-tie-weights"))}
    for wrong in ("lr", "lr=", "=3", "lr=1,,2"):
        with pytest.raises(ArgumentTypeError):
            sweep.varied(wrong)


def test_the_table_has_mean_spread_and_the_difference_to_the_first_row():
    lines = sweep.loss_table({"base": [1.0, 1.25, 1.5], "x": [1.0, 1.0, 1.3], "y": [1.0, math.nan, 1.0]}, (1, 2, 3),
                             "changed", "`quick`", {"steps": ["5", "6", "7"]})
    assert cells("\n".join(lines)) == [
        ["base", "5", "1.0000", "1.2500", "1.5000", "1.250", "0.500", ""],
        ["x", "6", "1.0000", "1.0000", "1.3000", "1.100", "0.300", "-0.150"],
        ["y", "7", "1.0000", "failed", "1.0000", "nan", "nan", "+nan"]]
    assert lines[0].count("|") == lines[2].count("|")
