"""One thread at a time in a model: its layers store what backward needs, so two threads would mix their batches."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

Method = TypeVar("Method", bound=Callable[..., Any])

_users: dict[int, int] = {}  # identity of an object in use -> the thread that uses it


@contextmanager
def alone(thing: object) -> Iterator[None]:
    """A `with` block in which no other thread may use `thing`. RuntimeError if another thread uses it already."""
    me, key = threading.get_ident(), id(thing)
    outermost = _users.get(key) != me
    try:
        if _users.setdefault(key, me) != me:  # one step: of two threads, one gets it
            outermost = False  # the entry belongs to the other thread
            raise RuntimeError(f"another thread is using this {type(thing).__name__}, whose layers store what "
                               "backward() needs: call it from one thread at a time, or give each thread its own "
                               "model.replica(). generate() and stream() may run in any thread")
        yield
    finally:
        if outermost:
            _users.pop(key, None)


def exclusive(method: Method) -> Method:
    """A method that runs `alone` with its object."""

    @functools.wraps(method)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        with alone(self):
            return method(self, *args, **kwargs)

    return guarded  # type: ignore[return-value]


def _in_child() -> None:
    """After a fork: the other threads are not in this process."""
    me = threading.get_ident()
    for key in [key for key, user in _users.items() if user != me]:
        del _users[key]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
