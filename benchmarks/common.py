"""Shared by benchmarks and experiments: Markdown tables, the machine they were measured on, time and memory."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]] = ()) -> list[str]:
    """Return the lines of a Markdown table."""
    return [row(columns), "|---" * len(columns) + "|", *map(row, rows)]


def row(cells: Iterable[str]) -> str:
    """Return one line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def show(lines: list[str]) -> list[str]:
    """Print the lines at once, and return them."""
    print("\n".join(lines), flush=True)
    return lines


def write(path: str | Path, lines: Iterable[str]) -> None:
    """Write the lines, each with a newline."""
    Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="")


def measured_on(*packages: str) -> str:
    """Return a line with the processor, Python, and the versions of the packages that are installed."""
    versions = [f"Python {platform.python_version()}"]
    versions += [f"{name} {version(name)}" for name in packages if version(name)]
    return f"Measured on {processor()}, {os.cpu_count()} cores, {', '.join(versions)}."


def version(package: str) -> str:
    """Return the version of an installed package, or an empty string."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def processor() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def seconds(function: Callable[..., Any], *arguments: Any) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def peak_memory() -> float:
    """Return the largest resident size of this process so far, in MB."""
    try:  # what getrusage says of a process may be that of the one that started it
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024 / 1e6
    except (OSError, StopIteration):
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
