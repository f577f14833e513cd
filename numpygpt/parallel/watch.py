"""A watch over the ranks of a group: it notices that one of them hangs, or that its machine is gone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np

from numpygpt.parallel.group import Mpi

PAUSE = 2.0  # seconds between two rounds
POLL = 0.1  # seconds between two looks at a round, at most
PATIENCE = 20.0  # seconds that a round may take
SUSPENDED = 1.0  # a poll that took longer was suspended (Ctrl-Z, a laptop's sleep) and counts as this many seconds


class Watch:
    """A thread on every rank that meets those of all others every two seconds, however busy the main threads are.

    If a round is not complete within 20 seconds, a process was stopped, or its machine or its network is gone: then the
    thread calls `lost`. Without that, the others would wait for ever. What is not noticed: a main thread that waits for
    ever in something else, while its process still answers here.

    It needs an MPI library in which several threads may communicate (MPI_THREAD_MULTIPLE). `works` says whether.
    """

    def __init__(self, group: Mpi, lost: Callable[[], None]):
        self.mpi, self.lost, self.closing = group.mpi, lost, threading.Event()
        self.works = self.mpi.Query_thread() == self.mpi.THREAD_MULTIPLE
        if self.works:
            self.comm = group.comm.Dup()  # apart from the main thread's messages
            self.thread = threading.Thread(target=self.run, name="numpygpt-watch", daemon=True)
            self.thread.start()

    def run(self) -> None:
        while not self.round():
            self.closing.wait(PAUSE)

    def round(self) -> bool:
        """Meet all ranks. Returns whether every one is closing: all threads end after the same round."""
        mine, least = np.array([self.closing.is_set()], np.int8), np.empty(1, np.int8)
        request = self.comm.Iallreduce(mine, least, self.mpi.MIN)
        waited, before, poll = 0.0, time.monotonic(), POLL / 16
        while not request.Test():
            time.sleep(poll)
            now, poll = time.monotonic(), min(2 * poll, POLL)
            waited, before = waited + min(now - before, SUSPENDED), now
            if waited > PATIENCE:
                self.lost()
        return bool(least[0])

    def close(self) -> None:
        """End the thread. Every rank must call it, and it returns when all have."""
        if self.works:
            self.closing.set()
            self.thread.join()
