"""Signals that wait until a short piece of work is complete."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any, ClassVar

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGBREAK")
NUMBERS = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]


class signals_wait:
    """A `with` block that no signal handler interrupts: signals that arrive inside are delivered at its end, in order.

    Use it around work of milliseconds that must be done completely or not at all. Only the main thread runs signal
    handlers, so in another thread the block does nothing; nor does it inside another such block. A signal without a
    handler in Python acts at once.
    """

    outermost: ClassVar[signals_wait | None] = None  # the block that the main thread is in

    def __init__(self) -> None:
        self.before: dict[int, Any] = {}
        self.came: list[int] = []
        self.holding = False

    def __enter__(self) -> None:
        if signals_wait.outermost is not None or threading.current_thread() is not threading.main_thread():
            return
        try:
            for number in NUMBERS:
                if callable(handler := signal.getsignal(number)):
                    self.before[number] = handler
                    signal.signal(number, self.arrived)
            self.holding, signals_wait.outermost = True, self
        except BaseException:  # a signal came before the block began
            self.end()
            raise

    def __exit__(self, *_: object) -> None:
        if signals_wait.outermost is self:
            self.end()

    def end(self) -> None:
        """Put the handlers back and deliver what came. From here on a handler may raise an exception at any moment, so
        what its signal may have ended half-way is done a second time."""
        self.holding, signals_wait.outermost = False, None
        try:
            self.restore()
        finally:
            try:
                self.restore()
            finally:
                try:
                    self.deliver()
                finally:
                    self.deliver()

    def arrived(self, number: int, frame: Any) -> None:
        if self.holding:
            self.came.append(number)
        else:  # the handlers are just being exchanged
            self.before[number](number, frame)

    def restore(self) -> None:
        for number, handler in list(self.before.items()):
            signal.signal(number, handler)
            del self.before[number]

    def deliver(self) -> None:
        """Raise every signal that came: all of them, also when the handler of one raises an exception."""
        try:
            while self.came:
                signal.raise_signal(self.came.pop(0))
        finally:
            if self.came:
                self.deliver()


def _in_child() -> None:
    """After a fork: a block of the parent's main thread does not end in this process, if another thread forked."""
    if signals_wait.outermost is not None:
        signals_wait.outermost.came.clear()
        signals_wait.outermost.end()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
