"""What a command of plot.py hands back: something to write, where to, and what to say of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.figure import Figure

NewFigure = Callable[[tuple[float, float]], Figure]  # a figure of this size in inches, with or without a window


@dataclass
class Drawn:
    """`write(path)` makes the file; it goes to `out` unless the user names another; `lines` are for the terminal."""

    write: Callable[[Path], None]
    out: Path
    lines: list[str] = field(default_factory=list)
