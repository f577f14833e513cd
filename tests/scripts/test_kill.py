"""train.py killed (SIGKILL) at random moments, some in the middle of a save, and resumed each time.

The suite kills 12 times; NUMPYGPT_KILLS=300 kills 300 times.
"""

import contextlib
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from running import script
from tiny import TINY, assert_same_run, make_data, rows

from numpygpt.utils.checkpoint import load_checkpoint
from numpygpt.utils.cli import ROOT

KILLS = int(os.environ.get("NUMPYGPT_KILLS", "12"))
STEPS = 160
MANY_SAVES = [*TINY, "--steps", STEPS, "--eval-every", 2, "--sample-tokens", 4, "--skip-spikes", "1.5"]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGKILL")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("kill") / "data")


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    assert script("train.py", *MANY_SAVES, "--data", data, "--out", out).returncode == 0
    return out


def killed(arguments, out, wait, in_save):
    """Start train.py and kill it `wait` seconds after its first line; with `in_save`, when it is next writing a
    temporary file. What it said, whether it was killed and had not ended, and whether within a file."""
    before = being_written(out)
    process = subprocess.Popen([sys.executable, ROOT / "train.py", *map(str, arguments)], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, encoding="utf-8")
    with process:
        text = process.stdout.readline()
        time.sleep(wait)
        while in_save and process.poll() is None and being_written(out) <= before:
            pass
        process.kill()
        text += process.stdout.read()
    assert process.returncode in (-9, 0), text
    return text, process.returncode == -9, bool(being_written(out) - before)


def test_a_run_that_is_killed_at_random_moments_ends_like_an_unbroken_one(data, whole, tmp_path):
    rng, done, runs, during, resumed = np.random.default_rng(4), 0, 0, 0, 0
    while done < KILLS:
        out, saved = tmp_path / f"run{runs}", -1
        runs += 1
        while done < KILLS:
            has = (out / "ckpt.npz").exists()
            arguments = ["--resume", out] if has else [*MANY_SAVES, "--data", data, "--out", out]
            text, was_killed, within = killed(arguments, out, rng.uniform(0, 0.15), in_save=bool(rng.integers(2)))
            if "resumed" in text:
                assert f"resumed  at step {saved:,} of {STEPS:,}" in text
                resumed += 1
            if not was_killed:
                break  # it has reached its end before
            done += 1
            during += within
            saved = saved_step(out, saved)
        if (out / "ckpt.npz").exists() and was_killed:
            assert script("train.py", "--resume", out).returncode == 0
        elif was_killed:
            assert script("train.py", *MANY_SAVES, "--data", data, "--out", out).returncode == 0
        assert_same_run(out, whole)
        assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in whole.iterdir())
    print(f"{done} kills in {runs} runs, {during} of them while a file was written; {resumed} times it was resumed")
    assert during >= KILLS // 6 and resumed >= KILLS // 3


def being_written(out):
    """The temporary files in the folder, each with the time of its last change; of a kill before, or of this moment."""
    found = set()
    for path in out.glob(".*.tmp"):
        with contextlib.suppress(FileNotFoundError):
            found.add((path.name, path.stat().st_mtime_ns))
    return found


def saved_step(out, before):
    """The step of the checkpoint that a kill has left: one that can be read, with all the rows that it counts."""
    if not (out / "ckpt.npz").exists():
        assert before == -1
        return -1
    step = load_checkpoint(out / "ckpt.npz").header["step"]
    assert step >= before
    trained = [row["step"] for row in rows(out) if row["kind"] == "train"]
    assert trained[:step] == list(range(1, step + 1))
    if step > 0:
        assert load_checkpoint(out / "best.npz").header["step"] <= step + 2
    return step
