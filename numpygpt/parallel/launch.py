"""Starts a script as several processes on this machine: the ranks of one job of mpiexec."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

from numpygpt.parallel.together import TOLD
from numpygpt.utils.cores import cores

MAX_PROCESSES = 256
STREAMS = "NUMPYGPT_STREAMS"  # the files of rank 0's stdout and stderr, each as descriptor:device:inode
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
PARENT_DEATH = 1  # Linux: the number of prctl's PR_SET_PDEATHSIG
READ_SECONDS = 1.0  # for the last lines of a job that has ended
# What MPICH's mpiexec writes about the end of a job.
MPICH = re.compile(rb"\[(mpiexec|proxy:\d+)@|={9}|=   |YOUR APPLICATION TERM|This typically refers|Please see the FAQ"
                   rb"|Ctrl-C caught|\s*$")
DIED = re.compile(rb"EXIT STRING: (.*)")


def missing() -> str:
    """Why no ranks can be started here; empty if they can."""
    if os.name != "posix":
        return "several processes need Linux or macOS"
    absent = "mpi4py" if find_spec("mpi4py") is None else "mpiexec" if mpiexec() is None else ""
    return absent and f"{absent} is not installed"


def mpiexec() -> str | None:
    """The mpiexec beside this Python, or else the one on PATH."""
    beside = Path(sys.executable).with_name("mpiexec")
    return str(beside) if os.access(beside, os.X_OK) else shutil.which("mpiexec")


class Job:
    """`words`, a script and its arguments, as `n` ranks.

    Rank 0 has this process's stdout and stderr, be they a terminal, a pipe or a file, and writes as this process would.
    What other ranks and mpiexec write comes through a pipe. The job is in a session of its own, so that this process
    alone gets a terminal's signals, and passes each on once. If this process is killed, the job stops (on Linux).
    RuntimeError if mpi4py or mpiexec is missing.
    """

    def __init__(self, n: int, words: Sequence[str]):
        if reason := missing():
            raise RuntimeError(f'`processes={n}` is not possible: {reason}. In this project: pip install -e ".[mpi]"')
        self.n, self.words = n, words
        self.signals: list[int] = []  # those passed on so far
        self.kept: list[bytes] = []  # what mpiexec has written about the end

    def run(self, advice: str) -> int:
        """Run the job and return its exit status. RuntimeError with `advice` if a process was killed, and
        KeyboardInterrupt if Ctrl-C ended the job before it could say so."""
        with self.handlers():
            self.process = self.start()
            reader = Thread(target=self.read, daemon=True)
            reader.start()
            status = self.process.wait()
            reader.join(READ_SECONDS)
        died = DIED.search(b"".join(self.kept))
        if self.signals and (died or status not in (0, *TOLD)):
            if self.signals[0] == signal.SIGINT:
                raise KeyboardInterrupt
            return 128 + self.signals[0]
        if died:
            raise RuntimeError(f"one of {self.n} processes has ended: {died[1].decode(errors='replace').strip()}. Did "
                               f"the memory run out? {advice}")
        if status not in (0, *TOLD):
            os.write(2, b"".join(self.kept))
        return status

    def start(self) -> subprocess.Popen[bytes]:
        program = str(mpiexec())
        version = subprocess.run([program, "--version"], capture_output=True, stdin=subprocess.DEVNULL).stdout
        # MPICH else looks up this machine's name, which fails on some laptops, and uses a network that may go away.
        more = ["-localhost", "127.0.0.1"] if b"HYDRA" in version.upper() else []
        threads = dict.fromkeys(THREADS, str(max(1, cores() // self.n)))
        streams = [os.dup(1), os.dup(2)]
        process = subprocess.Popen(
            [program, *more, "-n", str(self.n), sys.executable, *self.words],
            env=os.environ | threads | {STREAMS: " ".join(map(identity, streams))}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=streams, start_new_session=True,
            preexec_fn=stop_with_parent if sys.platform == "linux" else None)  # fmt: skip
        for descriptor in streams:
            os.close(descriptor)
        return process

    def read(self) -> None:
        """Show what other ranks write, and keep what mpiexec does."""
        with self.process.stdout as lines:  # type: ignore[union-attr]
            for line in lines:
                if MPICH.match(line):
                    self.kept.append(line)
                else:
                    os.write(2, line)

    @contextmanager
    def handlers(self) -> Iterator[None]:
        """A block in which signals are passed on, except those that this process ignores, such as SIGHUP with nohup."""
        own: dict[int, Any] = dict.fromkeys((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), self.stop)
        own[signal.SIGTSTP] = self.suspend
        before = {s: signal.signal(s, own[s]) for s in own if signal.getsignal(s) != signal.SIG_IGN}
        try:
            yield
        finally:
            for s, handler in before.items():
                signal.signal(s, handler)

    def stop(self, number: int, frame: Any) -> None:
        """Let the ranks stop after this step; a second Ctrl-C stops them at once, and a third one kills them."""
        again = number == signal.SIGINT and len(self.signals) > 0
        self.signals.append(number)
        with suppress(AttributeError):  # a signal came before the job was started: it ends this process
            self.process.send_signal(signal.SIGINT if again else signal.SIGTERM)
            return
        raise KeyboardInterrupt

    def suspend(self, number: int, frame: Any) -> None:
        """Ctrl-Z: suspend the ranks, which are in other sessions, and then this process, until the shell's `fg`."""
        for signalled in (signal.SIGSTOP, signal.SIGCONT):
            for pid in descendants(self.process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signalled)
            if signalled == signal.SIGSTOP:
                os.kill(os.getpid(), signal.SIGSTOP)


def stop_with_parent() -> None:
    ctypes.CDLL(None).prctl(PARENT_DEATH, signal.SIGTERM)


def descendants(pid: int) -> list[int]:
    """The processes that `pid` has started, those that they have started, and so on."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, encoding="utf-8").stdout
    children: dict[int, list[int]] = {}
    for child, parent in (map(int, line.split()) for line in listed.splitlines()):
        children.setdefault(parent, []).append(child)
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def identity(descriptor: int) -> str:
    status = os.fstat(descriptor)
    return f"{descriptor}:{status.st_dev}:{status.st_ino}"


def adopt_streams() -> None:
    """In rank 0 of a `Job`: write to that process's stdout and stderr. They stay as they are if they were not
    inherited, because not every mpiexec hands them down."""
    for own, given in zip((1, 2), os.environ.pop(STREAMS, "").split(), strict=False):
        descriptor = int(given.split(":")[0])
        with suppress(OSError):
            if identity(descriptor) == given:
                os.dup2(descriptor, own)
