"""train.py --processes N behaves as train.py does: its output, its status, signals and a terminal."""

import contextlib
import os
import re
import signal
import struct
import subprocess
import sys
from threading import Thread

import pytest
from mpi.launch import needs_mpi
from mpi.test_faults import SECONDS, SMALL, check_resumes, running, step, wait_for
from running import script
from tiny import make_data

from numpygpt.parallel import launch
from numpygpt.utils.paths import ROOT

pytestmark = needs_mpi
TRAIN = [sys.executable, str(ROOT / "train.py"), "--processes", "2"]
SMALL = [*SMALL, "--workers", "1"]
LONG = ["--steps", "100000", "--eval-every", "1000"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("launch") / "data")


class Job:
    """train.py with these arguments, on a terminal of its own; `text` is what it has written so far."""

    def __init__(self, *words):
        import fcntl
        import termios

        self.terminal, its = os.openpty()
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
        self.process = subprocess.Popen([*TRAIN, *map(str, words)], stdin=its, stdout=its, stderr=its,
                                        start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))  # fmt: skip
        os.close(its)
        self.text = ""
        self.reader = Thread(target=self.read)
        self.reader.start()

    def read(self):
        with contextlib.suppress(OSError):  # nobody writes to the terminal any more
            while found := os.read(self.terminal, 4096):
                self.text += found.decode()

    def press(self, key):
        os.write(self.terminal, key)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.reader.join(SECONDS)
        os.close(self.terminal)


def test_the_output_of_a_run_goes_where_that_of_one_process_goes(data, tmp_path):
    with open(tmp_path / "out", "w") as out, open(tmp_path / "err", "w") as err:
        words = [*TRAIN, *SMALL, "--data", data, "--out", tmp_path / "run"]
        assert subprocess.run(words, stdout=out, stderr=err, timeout=SECONDS).returncode == 0
    assert (tmp_path / "err").read_text() == "" and step(tmp_path / "run") == 30
    assert len(re.findall("^step +30 ", (tmp_path / "out").read_text(), re.MULTILINE)) == 1


def test_a_mistake_is_printed_once(data, tmp_path):
    done = subprocess.run([*TRAIN, *SMALL, "--data", tmp_path / "none", "--out", tmp_path / "run"], text=True,
                          capture_output=True, timeout=SECONDS)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and done.stdout == ""


@pytest.mark.parametrize("name", ["mpi4py", "mpiexec"])
def test_without_mpi_one_line_says_how_to_install_it(name, data, tmp_path, monkeypatch):
    lacking = {"mpi4py": ("find_spec", lambda name: None), "mpiexec": ("mpiexec", lambda: None)}
    monkeypatch.setattr(launch, *lacking[name])
    done = script("train.py", *SMALL, "--processes", 2, "--data", data, "--out", tmp_path / "run")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and name in done.stderr and "[mpi]" in done.stderr


def test_ctrl_c_on_a_terminal_saves_and_ctrl_z_suspends(data, tmp_path):
    out = tmp_path / "run"
    with Job(*SMALL, *LONG, "--data", data, "--out", out) as job:
        wait_for(lambda: "ms per step" in job.text and "steps" in job.text.split("ms per step")[1])  # the bar
        job.press(b"\x1a")
        wait_for(lambda: set(states(out)) == {"T"})
        os.kill(job.process.pid, signal.SIGCONT)
        wait_for(lambda: "T" not in states(out))
        job.press(b"\x03")
        assert job.process.wait(SECONDS) == 0
    assert "--resume" in job.text and "Traceback" not in job.text and step(out) > 0 and not running(out)


def test_a_second_ctrl_c_stops_at_once(data, tmp_path):
    out = tmp_path / "run"
    slow = ["--d-model", "256", "--n-layers", "4", "--context", "64", "--batch-size", "64", "--accumulate", "40"]
    with Job(*SMALL, *LONG, *slow, "--data", data, "--out", out) as job:
        wait_for(lambda: "step      0" in job.text)
        job.press(b"\x03")
        wait_for(lambda: "again" in job.text)
        job.press(b"\x03")
        assert job.process.wait(SECONDS) == 130
    assert "--resume" in job.text and step(out) == 0 and not running(out)


def test_a_rank_that_is_killed_is_told_in_a_sentence(data, tmp_path):
    out = tmp_path / "run"
    with subprocess.Popen([*TRAIN, *SMALL, *LONG, "--data", data, "--out", out], stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True) as job:
        wait_for(lambda: (out / "best.npz").exists())
        os.kill(running(out)[-1], signal.SIGKILL)
        _, said = job.communicate(timeout=SECONDS)
    assert job.returncode == 2 and said.count("\n") == 1 and "--resume" in said
    wait_for(lambda: not running(out))


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG")
def test_the_ranks_stop_and_save_if_the_script_is_killed(data, tmp_path):
    out, log = tmp_path / "run", tmp_path / "log"
    words = [*TRAIN, *SMALL, *LONG, "--data", data, "--out", out]
    with open(log, "w") as file, subprocess.Popen(words, stdout=file) as job:
        wait_for(lambda: "ms per step" in log.read_text())
        job.kill()
    wait_for(lambda: not running(out))
    assert step(out) > 0


def test_one_process_resumes_what_two_have_begun(data, tmp_path):
    out = tmp_path / "run"
    words = [*SMALL, "--steps", "20", "--warmup", "5", "--data", data, "--out", out]
    assert subprocess.run([*TRAIN, *map(str, words)], stdout=subprocess.DEVNULL, timeout=SECONDS).returncode == 0
    assert script("train.py", "--resume", out, "--steps", 30).returncode == 0
    check_resumes(out)


def states(out):
    """The states of the processes that train in this folder, as letters."""
    ids = ",".join(map(str, running(out)))
    listed = subprocess.run(["ps", "-o", "stat=", "-p", ids], capture_output=True, encoding="utf-8").stdout
    return [line[0] for line in listed.split()]
