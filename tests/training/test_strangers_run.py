"""A run folder from a stranger: what goes on in it writes nowhere else, and believes nothing that no run has saved."""

import json
import os
import signal

import numpy as np
import pytest
from running import script
from tiny import TINY, make_data, train_module

from numpygpt.training.checkpoint import load_checkpoint, save_checkpoint
from numpygpt.training.run import RunLoop

posix = pytest.mark.skipif(os.name != "posix", reason="needs links and pipes")


@pytest.fixture
def run(tmp_path):
    data = make_data(tmp_path / "data")
    done = script("train.py", *TINY, "--steps", 6, "--data", data, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    return tmp_path / "run"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def refused(run, *more):
    """The sentence with which going on is refused; no file has changed."""
    before = contents(run)
    done = script("train.py", "--resume", run, "--steps", 8, *more)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done
    assert contents(run) == before
    return done.stderr


def spoil(run, change, arrays=lambda arrays: None):
    """Save the checkpoint again with another header or other arrays; its checksums are right."""
    checkpoint = load_checkpoint(run / "ckpt.npz")
    header, values = json.loads(json.dumps(checkpoint.header)), {k: v.copy() for k, v in checkpoint.arrays.items()}
    change(header)
    arrays(values)
    save_checkpoint(run / "ckpt.npz", header, values)


@posix
@pytest.mark.parametrize("name", [".lock", "samples.txt", "metrics.jsonl"])
def test_a_link_in_the_folder_is_not_written_to(run, name, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(victim)
    assert f"{name} is a link" in refused(run)
    assert victim.read_text() == "precious"


@posix
@pytest.mark.parametrize("name", [".lock", "samples.txt", "metrics.jsonl"])
def test_a_pipe_in_the_folder_hangs_nothing(run, name):
    (run / name).unlink(missing_ok=True)
    os.mkfifo(run / name)
    assert f"{name} is a pipe" in refused(run)


@posix
@pytest.mark.parametrize("name", [".config.toml.tmp", ".ckpt.npz.tmp", ".metrics.jsonl.tmp", "config.toml", "ckpt.npz"])
def test_a_link_under_a_name_that_is_replaced_is_not_followed(run, name, tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes((run / name).read_bytes() if (run / name).exists() else b"precious")
    before = victim.read_bytes()
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(victim)
    assert script("train.py", "--resume", run, "--steps", 8).returncode == 0
    assert victim.read_bytes() == before
    assert not (run / name).is_symlink() and load_checkpoint(run / "ckpt.npz").header["step"] == 8


@pytest.mark.parametrize(("change", "said"), [
    (lambda h: h.update(generators={}), "generators 0."),
    (lambda h: h["optimizer"].update(name="sgd"), "adamw"),
    (lambda h: h["optimizer"].update(steps=7), "more steps"),
    (lambda h: h["loader"].update(position=10**9), "1000000000"),
    (lambda h: h["data"].update(corpus="\x1b[31m"), r"('\x1b[31m')"),
    (lambda h: h.update(data=None), "unknown name"),
    (lambda h: h.update(tokens=1 << 62), "its tokens should be a whole number"),
])
def test_a_state_that_no_run_has_saved_is_refused_with_the_file_named(run, change, said):
    spoil(run, change)
    told = refused(run)
    assert f"{run / 'ckpt.npz'}" in told and said in told


@pytest.mark.parametrize(("name", "value", "said"), [
    ("model/wte.W", np.nan, "model/wte.W"),
    ("model/blocks.0.norm1.beta", np.inf, "model/blocks.0.norm1.beta"),
    ("optimizer/m/wte.W", np.nan, "m of wte.W"),
    ("optimizer/v/wte.W", -1.0, "v of wte.W"),
])
def test_numbers_that_no_run_has_saved_are_refused(run, name, value, said):
    spoil(run, lambda header: None, lambda arrays: arrays[name].__setitem__(1, value))
    assert said in refused(run)
    if name.startswith("model/"):
        for command in (["sample.py", run / "ckpt.npz"], ["train.py", "--init-from", run / "ckpt.npz", "--dry-run"]):
            done = script(*command)
            assert done.returncode == 2 and said in done.stderr


def test_nothing_evaluated_yet_may_be_written_as_null(run):
    spoil(run, lambda header: header.update(last=None, best=None))
    done = script("train.py", "--resume", run, "--steps", 8)
    assert done.returncode == 0 and load_checkpoint(run / "ckpt.npz").header["best"]["step"] in (6, 8), done.stderr


def test_a_model_alone_is_nothing_to_go_on_from(run):
    done = script("train.py", "--resume", run / "best.npz")
    assert done.returncode == 2 and str(run / 'best.npz') in done.stderr
    assert "ckpt.npz" in done.stderr


def test_metrics_that_cannot_be_read_leave_every_file_as_it_was(run):
    with open(run / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write("null\n")
    assert "line 9" in refused(run)


def test_a_run_that_another_one_has_gone_on_with_meanwhile_is_not_gone_on_with(run, monkeypatch):
    """Between reading the checkpoint and taking the lock, another session begins and ends."""
    train = train_module()
    opened = train.open_data

    def slowly(*args, **options):
        monkeypatch.setattr(train, "open_data", opened)
        assert script("train.py", "--resume", run, "--steps", 9).returncode == 0
        return opened(*args, **options)

    monkeypatch.setattr(train, "open_data", slowly)
    with pytest.raises(ValueError, match=r"ckpt\.npz"):
        train.main(["--resume", str(run), "--steps", "8"])
    assert load_checkpoint(run / "ckpt.npz").header["step"] == 9


def test_the_best_state_survives_a_stop_after_it(tmp_path):
    """A run whose loss does nothing but rise: what is best is not what is last, before the stop and after it."""
    data, out = make_data(tmp_path / "data"), tmp_path / "run"
    rates = ["--lr", 10, "--min-lr", 10, "--clip", 0]
    first = script("train.py", *TINY, *rates, "--steps", 20, "--data", data, "--out", out)
    kept = (out / "best.npz").read_bytes()
    done = script("train.py", "--resume", out, "--steps", 30)
    assert first.returncode == done.returncode == 0, first.stderr + done.stderr
    header = load_checkpoint(out / "ckpt.npz").header
    assert header["best"]["step"] < 20 and header["last"]["step"] == 30
    assert header["last"]["val_loss"] > header["best"]["val_loss"]
    assert (out / "best.npz").read_bytes() == kept
    assert load_checkpoint(out / "best.npz").header["step"] == header["best"]["step"]


def test_the_second_ctrl_c_stops_at_once(run):
    """The first lets the step finish; from then on Python's own handler, which raises KeyboardInterrupt, has it."""
    before = signal.getsignal(signal.SIGINT)
    try:
        going = RunLoop.__new__(RunLoop)
        going.stopping = False
        going.stop(signal.SIGINT, None)
        assert going.stopping and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


@posix
def test_metrics_and_samples_are_on_the_disk_before_the_checkpoint_that_counts_them(tmp_path, monkeypatch):
    """Of each evaluation: the disk has confirmed all bytes of both files, and only then does ckpt.npz change."""
    out, done, fsync, replace = tmp_path / "run", [], os.fsync, os.replace

    def noting_fsync(handle):
        found = os.fstat(handle)
        for name in ("metrics.jsonl", "samples.txt"):
            if (out / name).exists() and os.path.samestat((out / name).stat(), found):
                done.append((name, found.st_size))
        fsync(handle)

    def noting_replace(old, new):
        if new == out / "ckpt.npz":
            sizes = [(name, (out / name).stat().st_size) for name in ("metrics.jsonl", "samples.txt")
                     if (out / name).exists()]
            done.append(("ckpt.npz", [size for size in sizes if size[1] and size not in done]))
        replace(old, new)

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(os, "replace", noting_replace)
    data = make_data(tmp_path / "data")
    assert script("train.py", *TINY, "--data", data, "--out", out).returncode == 0
    saves = [missing for name, missing in done if name == "ckpt.npz"]
    assert len(saves) == 5 and saves == [[]] * 5  # the first, and after each evaluation
    assert {name for name, _ in done} == {"metrics.jsonl", "samples.txt", "ckpt.npz"}
