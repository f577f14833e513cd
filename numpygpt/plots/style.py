"""One look for every picture: colours, sizes, axes, legends, and how a file is written.

Figures are made with matplotlib's objects, not with `pyplot`: nothing is global, nothing opens a window, and a picture
comes out the same on a server without a screen.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend

from numpygpt.plots.drawn import write_file

# Okabe and Ito's colours, told apart with every common colour blindness (Nature Methods 8, 441, 2011). Their yellow is
# left out: it cannot be read on white.
BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, BLACK = "#E69F00", "#56B4E9", "#000000"
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)
INK, GREY, GRID = "#222222", "#666666", "#E3E3E3"

FONT = 10  # points; on a picture 9 inches wide that is 12 pixels high when a README shows it 800 pixels wide
SIZE = (9.0, 6.6)  # inches
DPI = 200
SUFFIXES = (".png", ".svg", ".pdf")


def new_figure(size: tuple[float, float] = SIZE) -> Figure:
    figure = Figure(figsize=size)
    FigureCanvasAgg(figure)  # draws into memory; the figure takes it as its canvas
    prepare(figure)
    return figure


def prepare(figure: Figure) -> None:
    """Give a figure the look; for one that a window made, which is not ours to construct."""
    figure.set_layout_engine("constrained", h_pad=0.06, w_pad=0.06, hspace=0.04, wspace=0.04)
    figure.set_facecolor("white")  # opaque, so that it is legible on a dark page too


def dress(ax: Axes, title: str, x: str, y: str) -> None:
    """Title and axis labels with their units, a light grid behind the lines, and no box."""
    ax.set_title(title, loc="left", fontsize=FONT + 1, fontweight="bold", color=INK)
    ax.set_xlabel(x, fontsize=FONT, color=INK)
    ax.set_ylabel(y, fontsize=FONT, color=INK)
    ax.tick_params(which="both", labelsize=FONT - 1, colors=INK, labelcolor=INK)  # a short log axis has minor labels
    ax.grid(True, color=GRID, linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.margins(x=0.02)


def head(figure: Figure, title: str) -> None:
    """A title over all panels, as it was typed (a dollar sign starts no formula), on as many lines as it needs."""
    figure.suptitle(textwrap.fill(title, 80), fontsize=FONT + 3, color=INK).set_parse_math(False)


def aside(ax: Axes, text: str) -> None:
    """Small words above a panel, right of its title."""
    ax.set_title(text, loc="right", fontsize=FONT - 1, color=GREY)


def note(ax: Axes, text: str, x: float = 0.5, y: float = 0.5, colour: str = GREY, **place: Any) -> None:
    """Words inside a panel, at a fraction of its width and height: why it is empty, or what it does not show."""
    words = ax.text(x, y, text, transform=ax.transAxes, fontsize=FONT - 1, color=colour, ha="center", va="center")
    words.set(parse_math=False, **place)
    words.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5})


def legend(host: Axes | Figure, entries: Sequence[tuple[Artist, str]], **place: Any) -> Legend:
    """A legend whose names stand as they are: matplotlib would hide `_name` and read `$` as a formula."""
    box = host.legend(
        [artist for artist, _ in entries],
        [str(i) for i in range(len(entries))],  # stand-ins, replaced below
        fontsize=FONT - 1,
        labelcolor=INK,
        framealpha=0.85,
        edgecolor=GRID,
        **place,
    )
    for text, (_, name) in zip(box.get_texts(), entries, strict=True):
        text.set_parse_math(False)
        text.set_text(name)
    return box


def shorten_middle(name: str, limit: int = 60) -> str:
    """A long name without its middle: what tells runs apart is at either end."""
    half = (limit - 1) // 2
    return name if len(name) <= limit else f"{name[:half]}…{name[-half:]}"


def check_suffix(path: str | Path, suffixes: tuple[str, ...] = SUFFIXES) -> None:
    """A file's format is its suffix."""
    if Path(path).suffix.lower() not in suffixes:
        raise ValueError(f"{path}: the file's name must end in {'one of ' * (len(suffixes) > 1)}{', '.join(suffixes)}")


def save(figure: Figure, path: str | Path) -> None:
    """Write the figure in the format that the suffix names. The same numbers give the same bytes: no date goes in.

    It is drawn in memory first: an error in the midst of it, or a full disk, leaves an older picture as it was.
    """
    path = Path(path)
    check_suffix(path)
    kind = path.suffix.lower()
    metadata = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}[kind]
    content = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "numpygpt"}):  # else an SVG's ids are random
        figure.savefig(content, dpi=DPI, format=kind[1:], metadata=metadata)
    write_file(path, content.getvalue())
