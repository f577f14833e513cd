"""How much more memory this process may use, as far as the system reports it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

SYSTEM = Path("/")  # where /proc and /sys are
GROUPS = (  # of cgroups v2 and v1: where they are, then the files with the limit and the use, and what can be dropped
    ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def available() -> tuple[int, str] | None:
    """Return (bytes, what limits them): the minimum over the machine, its control groups (such as a container) and
    `ulimit -v`, or None if the system does not report it."""
    found = [*_machine(), *_groups(), *_address_space()]
    return min(found, default=None)


def _machine() -> Iterator[tuple[int, str]]:
    """On Linux the memory available without harm to other programs, with swap; elsewhere all memory."""
    try:
        lines = (SYSTEM / "proc/meminfo").read_text().splitlines()
        values = {line.split(":")[0]: 1024 * int(line.split()[1]) for line in lines}
        yield values["MemAvailable"] + values["SwapFree"], "this machine"
    except (OSError, ValueError, KeyError, IndexError):
        with suppress(AttributeError, ValueError, OSError):  # Windows has no sysconf
            yield os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), "this machine"


def _groups() -> Iterator[tuple[int, str]]:
    """The control group of this process, and its parents."""
    names = ["."]
    with suppress(OSError):
        names = [line.split(":", 2)[2].lstrip("/") for line in (SYSTEM / "proc/self/cgroup").read_text().splitlines()
                 if line.startswith("0::") or ":memory:" in line] or names
    for root, limit, used, dropped in GROUPS:
        top = SYSTEM / root
        for folder in {folder for name in names for folder in (top / name, *(top / name).parents)
                       if folder.is_relative_to(top)}:
            with suppress(OSError, ValueError):  # "max" is not a number: there is no limit
                most = int((folder / limit).read_text())
                stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                taken = int((folder / used).read_text()) - int(stat.get(dropped, 0))
                yield max(most - taken, 0), "this container or control group"


def _address_space() -> Iterator[tuple[int, str]]:
    """RLIMIT_AS minus what this process has mapped."""
    if sys.platform == "win32":
        return
    import resource

    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    if most != resource.RLIM_INFINITY:
        with suppress(OSError, ValueError, IndexError):
            mapped = int((SYSTEM / "proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
            yield max(most - mapped, 0), "ulimit -v"
