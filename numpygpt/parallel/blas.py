"""How many threads BLAS may use. The number belongs to the process: it holds for the products of every thread."""

from __future__ import annotations

import os
import threading
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

from numpygpt.utils.signals import signals_wait


@cache
def blas() -> list[Any]:
    """The BLAS libraries of this process. The search takes milliseconds, so it is done once."""
    return ThreadpoolController().select(user_api="blas").lib_controllers


class _Limits:
    """The open `with` blocks of all threads. The smallest of their limits holds, and the last block restores.

    Blocks of several threads may end in any order. If each restored the number that it found, the last to end could
    leave a limit behind.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.open: dict[blas_threads, int] = {}  # block -> the thread that it is in
        self.before: list[tuple[Any, int]] = []  # each library, and its threads without a limit

    def add(self, block: blas_threads) -> None:
        with self.lock:
            if not self.open:
                self.before = [(library, library.num_threads) for library in blas()]
            self.open[block] = threading.get_ident()
            self.apply()

    def remove(self, block: blas_threads) -> None:
        with self.lock:
            if self.open.pop(block, None) is not None:
                self.apply()

    def apply(self) -> None:
        for library, threads in self.before:
            # threadpoolctl lets the first thread that sets a limit control it, and then ignores all others (3.8).
            release = getattr(library, "clear_controlling_thread", lambda force: None)
            release(force=True)
            library.set_num_threads(min([threads, *(block.n for block in self.open)]))
            release(force=True)

    def in_child(self) -> None:
        """After a fork: the threads of the other blocks are not in this process."""
        others = [block for block, thread in self.open.items() if thread != threading.get_ident()]
        for block in others:
            del self.open[block]
        if others:
            self.apply()
        self.lock.release()


class blas_threads:
    """A `with` block in which BLAS uses at most n threads. Afterwards it uses as many as before."""

    def __init__(self, n: int):
        self.n = n

    def __enter__(self) -> None:
        try:
            with signals_wait():
                _limits.add(self)
        except BaseException:  # a signal that waited
            _limits.remove(self)
            raise

    def __exit__(self, *_: object) -> None:
        with signals_wait():
            _limits.remove(self)


_limits = _Limits()
if hasattr(os, "register_at_fork"):  # a lock that is held at a fork would stay locked in the child
    os.register_at_fork(before=_limits.lock.acquire, after_in_parent=_limits.lock.release,
                        after_in_child=_limits.in_child)
