"""What a command of plot.py returns: a file to write, its path, and lines for the terminal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.figure import Figure

from numpygpt.utils.files import replacing, writing

NewFigure = Callable[[tuple[float, float]], Figure]  # makes a figure of this size in inches, with or without a window


@dataclass
class Output:
    """`write(path)` writes the file. `path` is where it goes by default; `lines` are printed."""

    write: Callable[[Path], None]
    path: Path
    lines: list[str] = field(default_factory=list)


def write_file(path: Path, content: bytes) -> None:
    """Write the file completely or not at all: if the disk is full, an older picture stays."""
    with writing(path, "An older file is unchanged"), replacing(path) as file:
        file.write(content)
