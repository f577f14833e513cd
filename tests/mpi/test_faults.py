"""What can end a rank, and with it the job: every rank ends, one sentence says why, and the run can be resumed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mpi.launch import MPIEXEC, mpiexec, needs_mpi
from running import script
from tiny import TINY as SMALL
from tiny import make_data, rows

from numpygpt.training.checkpoint import load_checkpoint
from numpygpt.utils.paths import ROOT

pytestmark = needs_mpi
FAULTY = Path(__file__).with_name("faulty.py")
PATHS = {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests")))}
TINY = [*SMALL, "--workers", "1"]
FAILED, SAVED = 15, 10  # the step at which a rank fails, and that of the last save before it
SECONDS = 30  # in which every rank must have ended


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("faults") / "data")


def faulty(*words, ranks=2):
    return mpiexec(ranks, FAULTY, *words, seconds=SECONDS, **PATHS)


def step(out):
    return load_checkpoint(out / "ckpt.npz").header["step"]


def one_sentence(done, *parts, status=2):
    assert done.returncode == status, done
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("train.py: error: "), done.stderr
    assert all(part in done.stderr for part in parts), done.stderr


def check_resumes(out):
    """One process resumes it and reaches the end; nothing of the step that failed is left."""
    assert not list(out.glob(".*.tmp"))
    assert script("train.py", "--resume", out, "--workers", 2).returncode == 0
    assert step(out) == 30 and [row["step"] for row in rows(out) if row["kind"] == "train"] == list(range(1, 31))


@pytest.mark.parametrize("words, part", [(["--lr", "much"], "much"), (["--data", "no_such_folder"], "no_such_folder"),
                                         (["no_such_preset"], "no_such_preset")])
def test_a_mistake_that_all_ranks_find_is_printed_once(words, part, tmp_path):
    one_sentence(mpiexec(3, ROOT / "train.py", *words, "--out", tmp_path / "run", seconds=SECONDS), part)
    assert not (tmp_path / "run").exists()


def test_help_is_printed_once():
    done = mpiexec(2, ROOT / "train.py", "--help", seconds=SECONDS)
    assert done.returncode == 0 and done.stdout.count("usage:") == 1 and not done.stderr


@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_of_one_rank_before_training_ends_all(rank, data, tmp_path):
    done = faulty("error", rank, 0, *TINY, "--data", data, "--out", tmp_path / "run")
    one_sentence(done, "the disk is gone", *["rank 1 on "] * rank)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("fault, rank, part", [
    ("error", 1, "the disk is gone"), ("memory", 1, "no room"), ("memory", 0, "no room"), ("nan", 1, "not finite"),
    ("data", 1, "train.bin has changed")])  # fmt: skip
def test_an_error_of_one_rank_in_training_ends_all(fault, rank, part, data, tmp_path):
    out = tmp_path / "run"
    one_sentence(faulty(fault, rank, FAILED, *TINY, "--data", data, "--out", out), part)
    assert step(out) == SAVED
    check_resumes(out)


def test_a_bug_keeps_its_traceback(data, tmp_path):
    done = faulty("bug", 1, FAILED, *TINY, "--data", data, "--out", tmp_path / "run")
    assert done.returncode == 1 and done.stderr.count("Traceback") == 1 and "KeyError: 'a bug'" in done.stderr


@pytest.mark.parametrize("fault, rank", [("SIGKILL", 0), ("SIGKILL", 1), ("exit", 1)])
def test_a_rank_that_dies_ends_all(fault, rank, data, tmp_path):
    out = tmp_path / "run"
    assert faulty(fault, rank, FAILED, *TINY, "--data", data, "--out", out).returncode
    assert step(out) == SAVED
    check_resumes(out)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_hangs_ends_all(rank, data, tmp_path):
    out = tmp_path / "run"
    one_sentence(faulty("SIGSTOP", rank, FAILED, *TINY, "--data", data, "--out", out), "not answered", status=3)
    assert step(out) == SAVED


def test_a_rank_that_works_for_long_ends_nothing(data, tmp_path):
    done = faulty("busy", 0, FAILED, *TINY, "--data", data, "--out", tmp_path / "run")
    assert done.returncode == 0 and not done.stderr and step(tmp_path / "run") == 30


@pytest.mark.parametrize("fault", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_to_one_rank_stops_all_after_this_step(fault, data, tmp_path):
    out = tmp_path / "run"
    done = faulty(fault, 1, FAILED, *TINY, "--data", data, "--out", out)
    assert done.returncode == 0 and "--resume" in done.stdout and step(out) == FAILED
    check_resumes(out)


@pytest.mark.parametrize("name", ["ckpt.npz", "metrics.jsonl"])
def test_a_full_disk_of_rank_0_keeps_the_last_save(name, data, tmp_path):
    out = tmp_path / "run"
    one_sentence(faulty(name, 0, FAILED, *TINY, "--data", data, "--out", out), "File too large", f"of step {SAVED}")
    assert step(out) == SAVED
    check_resumes(out)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_to_mpiexec_ends_all_ranks(number, data, tmp_path):
    out, log = tmp_path / "run", tmp_path / "log"
    words = [*TINY, "--steps", "100000", "--eval-every", "1000", "--data", data, "--out", out]
    with open(log, "w") as file:
        job = subprocess.Popen([MPIEXEC, "-n", "2", sys.executable, ROOT / "train.py", *words], stdout=file,
                               stderr=file, stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            wait_for(lambda: "ms per step" in log.read_text())
            ranks = running(out)
            assert len(ranks) == 2
            job.send_signal(number)
            assert job.wait(SECONDS) == (-9 if number == signal.SIGKILL else 0)
            wait_for(lambda: not running(out))
        finally:
            job.kill()
    assert (step(out) > 0) == (number != signal.SIGKILL)


def wait_for(condition, seconds=SECONDS):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def running(out):
    """The processes, other than mpiexec, that train in this folder."""
    listed = subprocess.run(["ps", "-Aww", "-o", "pid=,stat=,args="], capture_output=True, encoding="utf-8").stdout
    words = [line.split() for line in listed.splitlines() if str(out) in line]
    return [int(pid) for pid, state, program, *_ in words if state[0] != "Z" and not program.endswith("mpiexec")]
