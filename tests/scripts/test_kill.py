"""train.py killed (SIGKILL) at random moments, some in the middle of a save, and resumed each time; and datagen.py with
a worker or its whole process group killed.

The suite kills 12 times, and a third as often in datagen.py; NUMPYGPT_KILLS=300 kills 300 times.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from running import script
from tiny import TINY, assert_same_run, make_data, rows

from numpygpt.training.checkpoint import load_checkpoint
from numpygpt.utils.paths import ROOT

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
                assert f"step {saved:,} of {STEPS:,}" in text
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


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("".join(f"The {k % 997}th line, of {k % 89} words {k * k}.\n" for k in range(150_000)))
    return path


@contextlib.contextmanager
def preparing(text, out):
    """datagen.py with two workers, in a process group of its own, once it has started them; and their numbers."""
    arguments = ["--input", text, "--tokenizer", "word", "--vocab-size", 2000, "--workers", 2, "--out", out]
    process = subprocess.Popen([sys.executable, ROOT / "datagen.py", *map(str, arguments)], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, encoding="utf-8", start_new_session=True,
                               preexec_fn=heed_signals)  # fmt: skip
    try:
        while process.poll() is None and len(workers := workers_of(process.pid)) < 2:
            time.sleep(0.01)
        yield process, workers
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def heed_signals():
    """In the child: a signal that was ignored for the tests, as nohup does, ends datagen.py nevertheless."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def workers_of(parent):
    found = subprocess.run(["ps", "-Aww", "-o", "pid=,ppid=,args="], capture_output=True, encoding="utf-8").stdout
    rows = [line.split(maxsplit=2) for line in found.splitlines()]
    return [int(row[0]) for row in rows if row[1] == str(parent) and "spawn_main" in row[2]]


def hidden(out):
    return sorted(path.name for path in out.parent.iterdir() if path.name.startswith("."))


@pytest.mark.skipif(not shutil.which("ps"), reason="no ps here")
def test_a_killed_worker_ends_datagen_with_a_sentence(text, tmp_path):
    rng, out = np.random.default_rng(5), tmp_path / "out"
    for number in range(max(2, KILLS // 3)):
        kill = (signal.SIGKILL, signal.SIGTERM)[number % 2]
        with preparing(text, out) as (process, workers):
            time.sleep(rng.uniform(0, 2))
            with contextlib.suppress(ProcessLookupError):  # it has ended before
                os.kill(workers[number % len(workers)], kill)
            said, _ = process.communicate(timeout=60)
            assert process.returncode in (0, 2), said
            assert "Traceback" not in said and (process.returncode == 0 or kill.name in said), said
        assert hidden(out) == [] and out.exists() == (process.returncode == 0)
        shutil.rmtree(out, ignore_errors=True)


@pytest.mark.skipif(not shutil.which("ps"), reason="no ps here")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_to_the_group_ends_datagen_in_silence(name, text, tmp_path):
    number, rng = getattr(signal, name), np.random.default_rng(6)
    for _ in range(max(1, KILLS // 12)):
        with preparing(text, tmp_path / "out") as (process, _):
            time.sleep(rng.uniform(0, 0.5))
            os.killpg(process.pid, number)
            said, _ = process.communicate(timeout=60)
        assert process.returncode == 128 + number and said == ""
        assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not shutil.which("ps"), reason="no ps here")
def test_the_next_run_removes_what_a_killed_one_left_and_nothing_of_a_living_one(text, tmp_path):
    out = tmp_path / "out"
    with preparing(text, out) as (process, _):
        while process.poll() is None and not any(name.endswith(".new") for name in hidden(out)):
            time.sleep(0.01)
        left = hidden(out)
        os.killpg(process.pid, signal.SIGSTOP)  # it lives, and waits
        short = tmp_path / "short.txt"
        short.write_text("to be or not to be\n" * 40)
        assert script("datagen.py", "--input", short, "--context", 8, "--out", out).returncode == 0
        assert hidden(out) == left and len(left) == 2
    assert script("datagen.py", "--input", short, "--context", 8, "--out", out).returncode == 0
    assert hidden(out) == []
