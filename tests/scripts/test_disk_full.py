"""A disk that fills up while a run writes: what was whole stays whole, and a sentence says how to go on."""

import contextlib
import os
import shutil
import subprocess
import sys

import pytest
from running import script
from tiny import TINY, assert_same_run, make_data

from numpygpt.parallel.group import LOCAL
from numpygpt.training.checkpoint import load_checkpoint
from numpygpt.training.folder import RunFiles, Samples
from numpygpt.utils.files import NotSaved, writing
from numpygpt.utils.paths import ROOT, command

resource = pytest.importorskip("resource")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("full") / "data")


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """30 steps in one go, and the same run stopped after 25."""
    folder = tmp_path_factory.mktemp("whole")
    assert script("train.py", *TINY, "--data", data, "--out", folder / "run").returncode == 0
    return folder / "run"


@pytest.fixture
def half(data, whole, tmp_path, monkeypatch):
    """The run as it stands with its checkpoint of step 25."""
    from numpygpt.training.run import RunLoop

    out, update = tmp_path / "half", RunLoop.update

    def stopping(self, bar):
        update(self, bar)
        self.stopping = self.trainer.step == 25

    with monkeypatch.context() as patch:
        patch.setattr(RunLoop, "update", stopping)
        assert script("train.py", *TINY, "--data", data, "--out", out).returncode == 0
    assert load_checkpoint(out / "ckpt.npz").header["step"] == 25
    return out


@contextlib.contextmanager
def largest_file(size):
    """No file may grow beyond this size: a write ends short, the next one fails. Python ignores the signal SIGXFSZ."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def contents(out):
    return {path.name: path.read_bytes() for path in out.iterdir()}


@pytest.mark.parametrize("name", ["ckpt.npz", "best.npz", "metrics.jsonl"])
def test_a_file_that_does_not_fit_leaves_the_checkpoint_before_whole(name, half, whole):
    before = contents(half)
    limit = len(before[name]) + (300 if name == "metrics.jsonl" else -300)
    assert limit > len(before["config.toml"])
    with largest_file(limit):
        done = script("train.py", "--resume", half)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    values = sum(array.nbytes for array in load_checkpoint(half / name).arrays.values()) if name.endswith("z") else 0
    needs = f" (it needs about {values / 1e3:,.1f} kB)" if values else ""
    assert f"train.py: error: {half / name}" in done.stderr and f"File too large{needs}" in done.stderr
    assert f"{half / 'ckpt.npz'} of step 25" in done.stderr and command("train.py", "--resume", half) in done.stderr
    after = contents(half)
    assert after.keys() == before.keys()  # nothing temporary is left
    for kept in ("ckpt.npz", *(["best.npz"] if name != "ckpt.npz" else [])):
        assert after[kept] == before[kept], kept
    assert after["metrics.jsonl"].startswith(before["metrics.jsonl"]) and after["metrics.jsonl"].endswith(b"}\n")
    assert script("train.py", "--resume", half).returncode == 0
    assert_same_run(half, whole)


def test_a_disk_that_is_full_from_the_start_leaves_a_folder_that_can_be_begun_with(data, whole, tmp_path):
    out = tmp_path / "run"
    larger = len(contents(whole)["config.toml"]) + 100
    for limit, name, rest in ((1000, "config.toml", ["metrics.jsonl"]),
                              (larger, "ckpt.npz", ["config.toml", "metrics.jsonl"])):
        with largest_file(limit):
            done = script("train.py", *TINY, "--data", data, "--out", out)
        assert done.returncode == 2 and name in done.stderr and "File too large" in done.stderr
        assert ("no checkpoint" in done.stderr) == (name == "ckpt.npz")
        assert (sorted(contents(out)) if out.exists() else []) == rest
    assert script("train.py", *TINY, "--data", data, "--out", out).returncode == 0
    assert_same_run(out, whole)


def test_half_of_a_sample_is_taken_back(tmp_path):
    samples = Samples(tmp_path / "samples.txt", 0)
    samples.add(0, "whole")
    with largest_file(samples.size + 5), pytest.raises(OSError, match="File too large"):
        samples.add(10, "does not fit")
    assert samples.path.read_bytes() == b"--- step 0\nwhole\n"
    samples.add(10, "fits")
    assert samples.path.read_bytes() == b"--- step 0\nwhole\n--- step 10\nfits\n" and samples.size == 34


def test_a_sample_that_does_not_fit_is_told_as_a_checkpoint_is(tmp_path):
    class Standing:
        step, sample_bytes, group = 20, 0, LOCAL

    files = RunFiles(Standing, tmp_path, None)
    with largest_file(5), pytest.raises(NotSaved, match=r"samples\.txt.*File too large.*no checkpoint"):
        files.add_sample("does not fit")
    assert os.path.getsize(tmp_path / "samples.txt") == 0


def test_only_errors_of_the_disk_are_told_as_such(tmp_path):
    with pytest.raises(ValueError, match="ours"), writing(tmp_path / "x", "kept"):
        raise ValueError("ours")


def small_disk(folder, kilobytes, *commands):
    """The commands (of sh) in a namespace where `folder` is a file system of this size."""
    lines = [f"mount -t tmpfs -o size={kilobytes}k none '{folder}'", *commands]
    return subprocess.run(["unshare", "-rm", "sh", "-c", " && ".join(lines)], capture_output=True, encoding="utf-8")


def test_a_file_system_that_fills_up_keeps_the_checkpoint(half, whole, tmp_path):
    disk, back = tmp_path / "disk", tmp_path / "back"
    disk.mkdir()
    if not shutil.which("unshare") or small_disk(disk, 64, "true").returncode:
        pytest.skip("this user may not mount a file system")
    pages = sum(-(-path.stat().st_size // 4096) for path in half.iterdir())
    done = small_disk(disk, 4 * (pages + 6), f"cp -r '{half}' '{disk}/run'",
                      f"{{ '{sys.executable}' '{ROOT / 'train.py'}' --resume '{disk}/run'; echo status $?; }}",
                      f"cp -r '{disk}/run' '{back}'")
    assert "status 2" in done.stdout and done.stderr.count("\n") == 1, done.stdout + done.stderr
    assert "No space left on device" in done.stderr and "of step 25" in done.stderr and "--resume" in done.stderr
    assert (back / "ckpt.npz").read_bytes() == (half / "ckpt.npz").read_bytes()
    assert sorted(contents(back)) == sorted(contents(half))
    assert script("train.py", "--resume", back).returncode == 0
    assert_same_run(back, whole)
