"""What a command of plot.py hands back: something to write, where to, and what to say of it; and how it is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.figure import Figure

from numpygpt.utils.files import replacing, writing

KEPT = "A file that was there before is as it was"
NewFigure = Callable[[tuple[float, float]], Figure]  # a figure of this size in inches, with or without a window


@dataclass
class Drawn:
    """`write(path)` makes the file; it goes to `out` unless the user names another; `lines` are for the terminal."""

    write: Callable[[Path], None]
    out: Path
    lines: list[str] = field(default_factory=list)


def write_file(path: Path, content: bytes) -> None:
    """Write the file whole or not at all: where the disk is full, an older picture stays."""
    with writing(path, KEPT), replacing(path) as file:
        file.write(content)
