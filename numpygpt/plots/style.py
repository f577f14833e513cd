"""One look for every picture: colours, sizes, axes, legends, and how a file is written.

Figures use matplotlib's objects, not `pyplot`: nothing is global, no window opens, and a server without a screen draws
the same picture.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend

from numpygpt.plots.output import Output, write_file

# Okabe and Ito's colours, which people with every common colour blindness can tell apart (Nature Methods 8, 441, 2011).
# Their yellow is left out: it cannot be read on white.
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
    FigureCanvasAgg(figure)  # draws into memory, and becomes the figure's canvas
    prepare(figure)
    return figure


def prepare(figure: Figure) -> None:
    """Give a figure its layout and background; a window makes its figure itself."""
    figure.set_layout_engine("constrained", h_pad=0.06, w_pad=0.06, hspace=0.04, wspace=0.04)
    figure.set_facecolor("white")  # opaque, so that it can be read on a dark page


def dress(ax: Axes, title: str, x: str, y: str) -> None:
    """Set the title and the axis labels, draw a light grid behind the lines, and remove the box."""
    ax.set_title(title, loc="left", fontsize=FONT + 1, fontweight="bold", color=INK)
    ax.set_xlabel(x, fontsize=FONT, color=INK)
    ax.set_ylabel(y, fontsize=FONT, color=INK)
    ax.tick_params(which="both", labelsize=FONT - 1, colors=INK, labelcolor=INK)  # a short log axis has minor labels
    ax.grid(True, color=GRID, linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.margins(x=0.02)


def head(figure: Figure, title: str, facts: str = "", size: float = FONT) -> None:
    """Write a title over all panels, as it was typed (a dollar sign starts no formula), and the `facts` below it."""
    words = "\n".join([*balanced(title), *balanced(facts, 90)])
    figure.suptitle(words, fontsize=size + 2, color=INK, linespacing=1.3).set_parse_math(False)


def balanced(text: str, width: int = 80) -> list[str]:
    """Break a text between words into as few lines of `width` characters as possible, of about the same length."""
    lines = len(textwrap.wrap(text, width, break_on_hyphens=False))
    narrowest = max(1, len(text) // max(1, lines))
    return next(found for limit in range(min(narrowest, width), width + 1)
                if len(found := textwrap.wrap(text, limit, break_on_hyphens=False)) <= lines)


def aside(ax: Axes, text: str) -> None:
    ax.set_title(text, loc="right", fontsize=FONT - 1, color=GREY)


def note(ax: Axes, text: str, x: float = 0.5, y: float = 0.5, colour: str = GREY, **place: Any) -> None:
    """Write words inside a panel, at a fraction of its width and height: why it is empty, or what it does not show."""
    words = ax.text(x, y, text, transform=ax.transAxes, fontsize=FONT - 1, color=colour, ha="center", va="center")
    words.set(parse_math=False, **place)
    words.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5})


def legend(host: Axes | Figure, entries: Sequence[tuple[Artist, str]], **place: Any) -> Legend:
    """Draw a legend with the names as they are: matplotlib would hide `_name` and read `$` as a formula."""
    box = host.legend(
        [artist for artist, _ in entries],
        [str(i) for i in range(len(entries))],  # replaced below
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


def check_suffix(path: str | Path, suffixes: tuple[str, ...] = SUFFIXES) -> None:
    """Raise ValueError unless the suffix is one of these: it is the file's format."""
    if Path(path).suffix.lower() not in suffixes:
        raise ValueError(f"{path}: the file's name must end in {'one of ' * (len(suffixes) > 1)}{', '.join(suffixes)}")


def save(figure: Figure, path: str | Path) -> None:
    """Write the figure in the format of the suffix. The same numbers give the same bytes: no date is written.

    It is drawn in memory first: after an error or on a full disk, an older picture is unchanged.
    """
    path = Path(path)
    check_suffix(path)
    kind = path.suffix.lower()
    metadata = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}[kind]
    content = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "numpygpt"}):  # otherwise an SVG's ids are random
        figure.savefig(content, dpi=DPI, format=kind[1:], metadata=metadata)
    write_file(path, content.getvalue())


def picture(figure: Figure, path: Path, lines: Sequence[str]) -> Output:
    return Output(partial(save, figure), path, list(lines))
