"""Signals that wait until a short piece of work is complete."""

from __future__ import annotations

import signal
import threading
from typing import Any

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGBREAK")
NUMBERS = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]


class signals_wait:
    """A `with` block that no signal handler interrupts: signals that arrive inside are delivered at its end, in order.

    Use it around work of milliseconds that must be done completely or not at all. Only the main thread runs signal
    handlers, so in another thread the block does nothing. A signal without a handler in Python acts at once.
    """

    def __init__(self) -> None:
        self.before: dict[int, Any] = {}
        self.came: list[int] = []
        self.holding = False

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        try:
            for number in NUMBERS:
                if callable(handler := signal.getsignal(number)):
                    self.before[number] = handler
                    signal.signal(number, self.arrived)
            self.holding = True
        except BaseException:  # a signal came before the block began
            self.restore()
            raise

    def __exit__(self, *_: object) -> None:
        self.holding = False
        try:
            self.restore()
        finally:
            self.deliver()

    def arrived(self, number: int, frame: Any) -> None:
        if self.holding:
            self.came.append(number)
        else:  # the handlers are just being exchanged
            self.before[number](number, frame)

    def restore(self) -> None:
        """Put the handlers back: all of them, also when a signal arrives meanwhile."""
        try:
            while self.before:
                number, handler = next(iter(self.before.items()))
                signal.signal(number, handler)
                del self.before[number]
        finally:
            if self.before:
                self.restore()

    def deliver(self) -> None:
        """Raise every signal that came: all of them, also when the handler of one raises an exception."""
        try:
            while self.came:
                signal.raise_signal(self.came.pop(0))
        finally:
            if self.came:
                self.deliver()
