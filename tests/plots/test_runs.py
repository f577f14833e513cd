"""Loading a run folder, finding the newest, and the line that sums a run up."""

import math
import os
from pathlib import Path

import numpy as np
import pytest

from numpygpt.plots.runs import METRICS, load_run, load_runs, read_clip, same_tokens, summary
from numpygpt.training.metrics import MetricsLog
from numpygpt.training.runs import newest_run


def write(folder, losses=(3.0, 2.0), evals=()):
    folder.mkdir(parents=True, exist_ok=True)
    with MetricsLog(folder / "metrics.jsonl") as log:
        for step, loss in enumerate(losses, 1):
            log.log("train", step, tokens=step * 600_000, seconds=step * 47.5, loss=loss)
        for step, val in evals:
            log.log("eval", step, tokens=step * 600_000, seconds=step * 47.5, val_loss=val, bits_per_byte=val * 1.5)
    return folder


def test_summary_of_a_run(tmp_path):
    run = load_run(write(tmp_path / "a", [3.0, 2.0], [(1, 2.5), (2, 2.75)]))
    words = summary(run, span=0)
    assert all(number in words for number in ("1.20 M", "1 min 35 s", "2.000", "2.750", "2.500 at step 1", "3.75"))
    assert "train loss 2.333" in summary(run, span=2)  # (3 / 2 + 2) / (1 / 2 + 1)


def test_summary_of_less(tmp_path):
    one = load_run(write(tmp_path / "one", [3.0]))
    assert all(number in summary(one, 5) for number in ("one:", "600 k", "48 s", "3.000"))
    nan = float("nan")
    run = load_run(write(tmp_path / "nan", [3.0, nan], [(2, nan)]))
    assert "train loss 3.000" in summary(run, 1) and "1 of 2" in summary(run, 1) and "best" not in summary(run, 1)


def test_the_best_evaluation_skips_nan(tmp_path):
    run = load_run(write(tmp_path, evals=[(1, float("nan")), (2, 2.0), (3, 2.5)]))
    assert run.best() == 1 and run.total("step") == 3


def test_a_run_is_its_folder_or_its_file(tmp_path):
    write(tmp_path / "a")
    assert load_run(tmp_path / "a").name == load_run(tmp_path / "a" / "metrics.jsonl").name == "a"
    (tmp_path / "a" / "metrics.jsonl").rename(tmp_path / "a" / "old.jsonl")
    assert load_run(tmp_path / "a" / "old.jsonl").name == "old"


def test_what_is_no_run_is_said(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_run(tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match=r"metrics\.jsonl"):
        load_run(tmp_path)
    (tmp_path / "metrics.jsonl").touch()
    with pytest.raises(ValueError):
        load_run(tmp_path)


def test_the_newest_run_is_the_one_written_to_last(tmp_path):
    with pytest.raises(FileNotFoundError):
        newest_run(METRICS, tmp_path / "gone")
    for age, name in enumerate(["b", "c", "a"]):
        os.utime(write(tmp_path / name) / "metrics.jsonl", (1e9 - age, 1e9 - age))
    (tmp_path / "z").mkdir()  # a run folder without numbers is none to draw
    assert newest_run(METRICS, tmp_path) == tmp_path / "b"


@pytest.mark.parametrize(
    ("text", "clip"),
    [
        ("clip = 1.5", 1.5),
        ("[optim]\nclip = 2", 2.0),
        ("clip = 0", None),
        ("clip = inf", None),
        ("clip = 1e300", None),
        (f"clip = 1{'0' * 400}", None),
        ('clip = "no"', None),
        ("clip = true", None),
        ("steps = 5", None),
    ],
)
def test_the_clip_level_comes_from_the_config(tmp_path, text, clip):
    (tmp_path / "config.toml").write_text(text)
    assert read_clip(tmp_path / "config.toml") == clip
    assert read_clip(tmp_path / "gone.toml") is None


BROKEN = {
    "cut off": b"clip = ", "encoding": b"\xff\xfe", "brackets": b"a=" + b"[" * 4000,
    "more brackets": b"a=" + b"[" * 50_000, "a key of many parts": b".".join([b"a"] * 20_000) + b" = 1",
}  # fmt: skip


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN)
def test_a_broken_config_is_named(tmp_path, raw):
    (tmp_path / "config.toml").write_bytes(raw)
    with pytest.raises(ValueError, match=r"config\.toml"):
        read_clip(tmp_path / "config.toml")
    run = load_run(write(tmp_path / "whole"))
    run.folder = tmp_path
    assert math.isnan(run.train_bits_per_nat)


@pytest.mark.parametrize("name", ["config.toml", "metrics.jsonl"])
@pytest.mark.parametrize("make", [os.mkdir, pytest.param(getattr(os, "mkfifo", None), marks=pytest.mark.skipif(
    not hasattr(os, "mkfifo"), reason="this system has no named pipes"))])
def test_what_is_no_file_is_not_opened(tmp_path, name, make):
    """A pipe that no one writes to would make the reader wait for ever."""
    write(tmp_path)
    (tmp_path / name).unlink(missing_ok=True)
    make(tmp_path / name)
    with pytest.raises(ValueError, match=name):
        load_run(tmp_path)


def test_numbers_that_no_picture_can_show_are_none(tmp_path):
    """Of such ones sums and squares overflow."""
    file = tmp_path / "metrics.jsonl"
    file.write_text("".join(f'{{"kind": "train", "step": {i}, "tokens": {i}, "seconds": 95, "loss": {loss}}}\n'
                            for i, loss in enumerate(["3", "1e300", "-1e300", "null", "1e-300"])))
    losses = load_run(tmp_path).metrics.train["loss"]
    np.testing.assert_array_equal(losses, [3, np.nan, np.nan, np.nan, 0])
    file.write_text(file.read_text().replace('"seconds": 95', '"seconds": 1e300'))
    with pytest.raises(ValueError, match=r"metrics\.jsonl"):
        load_run(tmp_path)


def test_bits_per_nat_is_what_every_evaluation_of_the_run_has(tmp_path):
    nan = float("nan")
    assert load_run(write(tmp_path / "a", evals=[(1, 2.0), (2, nan), (3, 3.0)])).bits_per_nat == 1.5
    assert math.isnan(load_run(write(tmp_path / "b")).bits_per_nat)
    assert math.isnan(load_run(write(tmp_path / "c", evals=[(1, nan)])).bits_per_nat)
    old = write(tmp_path / "d", evals=[(1, 2.0)]) / "metrics.jsonl"
    old.write_text(old.read_text().replace("bits_per_byte", "accuracy"))
    assert math.isnan(load_run(old).bits_per_nat)


def test_tokens_are_the_same_where_the_two_units_go_together(tmp_path):
    a, b, c = (load_run(write(tmp_path / name, evals=[(1, 2.0 + i), (2, 1.7)])) for i, name in enumerate("abc"))
    unknown = load_run(write(tmp_path / "unknown"))
    assert same_tokens([a, b, unknown]) and same_tokens([unknown]) and same_tokens([a])
    c.metrics.eval["bits_per_byte"] *= 1.001
    assert not same_tokens([a, c, unknown])


def test_runs_are_loaded_once_and_named_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("x/run", "y/run", "other"):
        write(tmp_path / name)
    runs = load_runs([Path("x/run"), Path("other"), tmp_path / "x" / "run", Path("y/run")])
    assert [run.name for run in runs] == [os.path.join("x", "run"), "other", os.path.join("y", "run")]
