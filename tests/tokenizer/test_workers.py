"""Work on several processes: in order, a few at a time, and ended with the process that asked for it."""

import multiprocessing
import os
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor

import pytest

from numpygpt.tokenizer.workers import ordered_map
from numpygpt.utils.cli import ROOT


def test_an_error_in_a_worker_reaches_the_caller():
    with pytest.raises(ValueError, match="invalid literal for int"):
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


def test_a_signal_waits_until_the_pool_is_started(monkeypatch):
    class Stopped(Exception):
        pass

    def stop(number, frame):
        raise Stopped

    def submit(pool, *work):  # where a pool starts its processes and its thread
        signal.raise_signal(signal.SIGTERM)
        future = start(pool, *work)
        started.append(future)
        return future

    started, start = [], ProcessPoolExecutor.submit
    monkeypatch.setattr(ProcessPoolExecutor, "submit", submit)
    before = signal.signal(signal.SIGTERM, stop)
    try:
        with pytest.raises(Stopped):
            list(ordered_map(int, ["1", "2"], workers=2))
        assert signal.getsignal(signal.SIGTERM) is stop  # and the next one does not wait
    finally:
        signal.signal(signal.SIGTERM, before)
    assert len(started) == 1 and not multiprocessing.active_children()


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
