"""Delays signals until a short piece of work is complete."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any, ClassVar

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGBREAK")
NUMBERS = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]


class signals_wait:
    """A `with` block that no signal handler interrupts: signals that arrive in it are delivered at its end, in order.

    Use it for milliseconds of work that must be complete or not done at all. Only the main thread runs signal handlers,
    so the block does nothing in another thread, or inside another such block. A signal without a Python handler acts
    at once.
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
        """Restore the handlers and deliver the signals. From here on a handler may raise at any moment, so each step
        that it may have interrupted is done again."""
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
        else:  # the handlers are being replaced
            self.before[number](number, frame)

    def restore(self) -> None:
        for number, handler in list(self.before.items()):
            signal.signal(number, handler)
            del self.before[number]

    def deliver(self) -> None:
        """Raise every signal that arrived, even if the handler of one raises an exception."""
        try:
            while self.came:
                signal.raise_signal(self.came.pop(0))
        finally:
            if self.came:
                self.deliver()


def _in_child() -> None:
    """After a fork by another thread, a block of the parent's main thread does not end in this process."""
    if signals_wait.outermost is not None:
        signals_wait.outermost.came.clear()
        signals_wait.outermost.end()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
