"""Map a function over chunks of a text on several processes, in order, a few at a time.

Each worker has its own pipe to the main process. They share nothing else: no queue and no lock that a killed process
could keep. The system closes the pipe of a process that ends, so the other side notices at once.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import cycle
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeVar

from numpygpt.utils.signals import signals_wait

MAX_WORKERS = 61  # Windows can wait for no more processes
STOPS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]

Item = TypeVar("Item")
Result = TypeVar("Result")


class Worker(NamedTuple):
    process: SpawnProcess
    link: Connection


def ordered_map(function: Callable[[Item], Result], items: Iterable[Item], workers: int = 1) -> Iterator[Result]:
    """Yield `map(function, items)`, computed on `workers` processes, in order, with a few items in progress at a time.

    `function` and the items must be picklable; `function` is sent once. A script that uses more than one worker needs
    `if __name__ == "__main__":`, because each worker imports it. Raises RuntimeError if a worker ends too early.
    """
    if workers == 1:
        yield from map(function, items)
        return
    started: list[Worker] = []
    pending: deque[Worker] = deque()  # in the order of their items
    try:
        with signals_wait():
            _start(min(workers, MAX_WORKERS), started)
        for worker in started:
            _send(worker, function, started)
        for item, worker in zip(items, cycle(started), strict=False):
            _send(worker, item, started)
            pending.append(worker)
            if len(pending) > 2 * len(started):
                yield _result(pending.popleft(), started)
        while pending:
            yield _result(pending.popleft(), started)
    finally:
        for process, link in started:
            process.kill()  # a worker has nothing to save
            link.close()
        for process, _ in started:
            process.join()


def _start(number: int, started: list[Worker]) -> None:
    """Append `number` new workers to `started`.

    They start with signals blocked, so that none is stopped during its imports with a traceback. multiprocessing's
    resource tracker keeps SIGHUP blocked and ends with the main process.
    """
    spawn = multiprocessing.get_context("spawn")  # the same on every system, and safe beside threads
    with _blocked():
        if os.name == "posix":
            resource_tracker.ensure_running()
    with _blocked():  # again: starting the tracker unblocks some signals
        for _ in range(number):
            link, theirs = spawn.Pipe()
            process = spawn.Process(target=_serve, args=(theirs,), daemon=True)
            with theirs:  # only the worker holds its end, so that the end closes with the worker
                process.start()
            started.append(Worker(process, link))


@contextmanager
def _blocked() -> Iterator[None]:
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _send(worker: Worker, message: Any, started: list[Worker]) -> None:
    try:
        worker.link.send(message)
    except OSError as error:
        raise _ended(started) from error


def _result(worker: Worker, started: list[Worker]) -> Any:
    """Return the worker's next result or raise its exception; raise RuntimeError as soon as any worker has ended."""
    try:
        if worker.link not in wait([worker.link, *(other.process.sentinel for other in started)]):
            raise EOFError
        done, result = worker.link.recv()  # EOFError if the worker ends in the middle of it
    except (EOFError, OSError) as error:
        raise _ended(started) from error
    if not done:
        raise result
    return result


def _ended(started: list[Worker]) -> RuntimeError:
    """Return the error for a worker that ended, with its signal or its status."""
    code = 0
    gone = wait([worker.process.sentinel for worker in started], timeout=5)  # its pipe may close a moment earlier
    for process, _ in started:
        if process.sentinel in gone:
            process.join()
            code = process.exitcode or 0
    if code > 0:
        return RuntimeError(f"a worker process ended with status {code}: see its own message above, or use `workers=1`")
    by = f" by {signal.Signals(-code).name}" if code else ""
    return RuntimeError(f"a worker process was ended from outside{by}, probably because memory ran out: use fewer, "
                        "such as `workers=1`")


def _serve(link: Connection) -> None:
    """Run a worker: the function arrives first, then items."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process handles Ctrl-C
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    inbox: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_receive, args=(link, inbox), daemon=True).start()
    function = inbox.get()
    while True:
        item = inbox.get()
        try:
            message = True, function(item)
        except Exception as error:
            error.add_note(traceback.format_exc())  # the worker's lines, which a pickled exception lacks
            message = False, error
        try:
            link.send(message)
        except OSError:
            os._exit(1)  # the main process has ended


def _receive(link: Connection, inbox: SimpleQueue[Any]) -> None:
    """Take every message at once, so that the main process never waits for a busy worker; end with the main process."""
    try:
        while True:
            inbox.put(link.recv())
    except (EOFError, OSError):  # the main process has ended, or needs no more
        pass
    except Exception:  # a message that cannot be unpickled here
        traceback.print_exc()
    os._exit(1)
