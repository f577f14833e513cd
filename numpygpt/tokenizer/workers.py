"""Chunks of a text on several processes, in order, a few at a time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from numpygpt.utils.signals import signals_wait

MOST_WORKERS = 61  # Windows can wait for no more processes

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(function: Callable[[Item], Result], items: Iterable[Item], workers: int = 1) -> Iterator[Result]:
    """`map(function, items)` on `workers` processes, in order, with a few items under way at a time.

    `function` and the items must be picklable; `function` travels once. A script that asks for more than one worker
    needs `if __name__ == "__main__":`, since each worker imports it.
    """
    if workers == 1:
        yield from map(function, items)
        return
    spawn = multiprocessing.get_context("spawn")  # the same on every system, and safe beside threads
    pool = ProcessPoolExecutor(min(workers, MOST_WORKERS), mp_context=spawn, initializer=_begin, initargs=(function,))
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            with signals_wait():  # the first one starts the processes: half a pool cannot be shut down
                pending.append(pool.submit(_work, item))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    except BrokenProcessPool as error:
        raise RuntimeError("a worker process was ended from outside, most often for want of memory: use fewer workers "
                           "(--workers 1)") from error
    finally:
        pool.shutdown(cancel_futures=True)


_function: Callable[[Any], Any]  # in a worker process: what it was started for


def _begin(function: Callable[[Any], Any]) -> None:
    global _function
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's business
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _function = function


def _end_with_parent() -> None:
    """A main process that is killed cannot tell its workers."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _work(item: Any) -> Any:
    return _function(item)
