"""Work on several processes: in order, a few at a time, and ended with the process that asked for it."""

import multiprocessing
import os
import signal
import subprocess
import sys
from multiprocessing.context import SpawnProcess

import pytest

from numpygpt.tokenizer.workers import ordered_map
from numpygpt.utils.paths import ROOT


def test_an_error_in_a_worker_reaches_the_caller():
    with pytest.raises(ValueError):
        list(ordered_map(int, ["1", "x", *["2"] * 50], workers=2))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_workers_end_with_a_process_that_is_killed(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, signal, time\n"
        "from numpygpt.tokenizer.workers import ordered_map\n"
        "def items():\n"
        "    yield 0.1\n"
        "    yield from [0.01] * 9\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "if __name__ == '__main__':\n"
        "    for _ in ordered_map(time.sleep, items(), workers=2): pass\n"
    )
    # Workers hold the pipe as the main process does: it ends when the last of them has ended.
    done = subprocess.run([sys.executable, str(script)], env={**os.environ, "PYTHONPATH": str(ROOT)},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)  # fmt: skip
    assert done.returncode == -signal.SIGKILL


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_a_worker_that_ends_while_it_sends_is_an_error_at_once(name, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, signal, threading\n"
        "from multiprocessing import active_children\n"
        "from multiprocessing.connection import wait\n"
        "from numpygpt.tokenizer.workers import ordered_map\n"
        "def work(item):\n"
        f"    threading.Timer(0.2, os.kill, (os.getpid(), signal.{name})).start()\n"
        "    return bytes(50_000_000)\n"  # more than a pipe holds: it is still being sent when the timer ends
        "def items():\n"
        "    yield 0\n"
        "    wait([child.sentinel for child in active_children()])\n"  # nobody reads until the worker has ended
        "if __name__ == '__main__':\n"
        "    try: list(ordered_map(work, items(), workers=2))\n"
        "    except RuntimeError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, str(script)], env={**os.environ, "PYTHONPATH": str(ROOT)},
                          capture_output=True, encoding="utf-8", timeout=60)  # fmt: skip
    assert done.returncode == 0 and done.stderr == "" and name in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_worker_that_ends_is_an_error_while_another_one_works():
    items = [signal.SIGKILL, *[0] * 9]
    with pytest.raises(RuntimeError):
        list(ordered_map(signal.raise_signal, iter(items), workers=2))
    assert not multiprocessing.active_children()


def test_a_worker_that_cannot_begin_is_an_error_with_its_status():
    with pytest.raises(RuntimeError, match="1"):
        list(ordered_map(Unreadable(), ["1", "2"], workers=2))
    assert not multiprocessing.active_children()


class Unreadable:
    """What can be pickled and not be read again."""

    def __call__(self, item):
        return item

    def __reduce__(self):
        return int, ("x",)


def test_a_signal_waits_until_the_workers_are_started(monkeypatch):
    class Stopped(Exception):
        pass

    def stop(number, frame):
        raise Stopped

    def start(process):
        signal.raise_signal(signal.SIGTERM)
        plain(process)
        started.append(process)

    started, plain = [], SpawnProcess.start
    monkeypatch.setattr(SpawnProcess, "start", start)
    before = signal.signal(signal.SIGTERM, stop)
    try:
        with pytest.raises(Stopped):
            list(ordered_map(int, ["1", "2"], workers=2))
        assert signal.getsignal(signal.SIGTERM) is stop  # and the next one does not wait
    finally:
        signal.signal(signal.SIGTERM, before)
    assert len(started) == 2 and not multiprocessing.active_children()


def test_few_items_are_under_way_at_a_time():
    taken = []

    def items():
        for number in range(100):
            taken.append(number)
            yield str(number)

    results = ordered_map(int, items(), workers=2)
    assert [next(results) for _ in range(10)] == list(range(10))
    assert len(taken) < 20  # a text larger than memory is not read ahead
    results.close()
