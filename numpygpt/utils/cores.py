"""The number of cores, and the name of threads that use them."""

from __future__ import annotations

import os

THREADS = "numpygpt-worker"  # the names of all our threads that only work while somebody waits for them begin with this


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
