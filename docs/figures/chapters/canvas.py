"""What the figures of the book have in common: sizes, boxes, arrows, arrays of numbers, and the list of all figures.

A drawing without axes measures in tenths of an inch from the lower left corner. Forward is blue, backward vermillion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from numpygpt.plots.style import BLUE, GREEN, GREY, INK, VERMILLION, dress, legend, new_figure

FORWARD, BACKWARD = BLUE, VERMILLION
WIDTH, TEXT, SMALL = 8.0, 12, 10  # inches; points: 17 and 14 pixels on a page that is 800 pixels wide
PALE = {BLUE: "#DCEBF5", VERMILLION: "#FBE6D8", GREEN: "#DDF2EB", GREY: "#EFEFEF", "white": "white"}  # backgrounds
SIGNED = LinearSegmentedColormap.from_list("signed", [BLUE, "white", VERMILLION])  # negative, 0, positive

FIGURES: dict[str, Callable[[], Figure]] = {}


def figure(function: Callable[[], Figure]) -> Callable[[], Figure]:
    """Add a function that draws a figure to the list."""
    FIGURES[function.__name__] = function
    return function


def drawing(height: float) -> tuple[Figure, Axes]:
    """Return a figure of this height in inches, and axes without marks that measure in tenths of an inch."""
    page = new_figure((WIDTH, height))
    page.set_layout_engine("none")
    ax = page.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, 10 * WIDTH), ylim=(0, 10 * height))
    ax.axis("off")
    return page, ax


def plot(ax: Axes, title: str, x: str, y: str) -> None:
    """Dress axes in the book's sizes."""
    dress(ax, title, x, y)
    ax.tick_params(which="both", labelsize=SMALL)
    ax.title.set_fontsize(TEXT)
    ax.xaxis.label.set_fontsize(TEXT)
    ax.yaxis.label.set_fontsize(TEXT)


def key(ax: Axes, entries: Sequence[tuple[Artist, str]], **place: Any) -> None:
    """Draw a legend in the book's sizes."""
    for words in legend(ax, entries, **place).get_texts():
        words.set_fontsize(SMALL)


def write(ax: Axes, x: float, y: float, words: str, colour: str = INK, size: float = TEXT, **more: Any) -> None:
    """Write words around a point."""
    ax.text(x, y, words, **{"color": colour, "fontsize": size, "ha": "center", "va": "center"} | more)


def box(ax: Axes, x: float, y: float, words: str, w: float = 8, h: float = 5, colour: str = GREY,
        size: float = TEXT) -> None:
    """Draw a box around a point, with words in it."""
    ax.add_patch(Rectangle((x - w / 2, y - h / 2), w, h, facecolor=PALE.get(colour, "white"), edgecolor=colour,
                           linewidth=1.2))
    write(ax, x, y, words, size=size)


def arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], colour: str = INK, bend: float = 0,
          width: float = 1.4) -> None:
    """Draw an arrow; `bend` curves it to one side."""
    ax.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=13, color=colour, linewidth=width,
                                 shrinkA=0, shrinkB=0, connectionstyle=f"arc3,rad={bend}"))


def cells(ax: Axes, x: float, y: float, array: np.ndarray | Sequence, side: float = 4, colour: str = FORWARD,
          digits: int = 0, fill: Callable[[int, int], str] | None = None, size: float = TEXT) -> None:
    """Draw a matrix with its numbers; (x, y) is its upper left corner. `fill(row, column)` chooses backgrounds."""
    for (i, j), value in np.ndenumerate(np.atleast_2d(array)):
        shade = fill(i, j) if fill else PALE[colour]
        ax.add_patch(Rectangle((x + j * side, y - (i + 1) * side), side, side, facecolor=shade, edgecolor=colour,
                               linewidth=0.8))
        if np.isfinite(value):
            number = f"{value:.{digits}f}".replace("-", "\u2212")
            write(ax, x + (j + 0.5) * side, y - (i + 0.5) * side, number, size=size)


def block(ax: Axes, x: float, y: float, rows: float, columns: float, name: str, colour: str = FORWARD,
          shape: str = "", size: float = TEXT) -> None:
    """Draw a matrix as a block of these sizes, its name inside, its shape below; (x, y) is its centre."""
    ax.add_patch(Rectangle((x - columns / 2, y - rows / 2), columns, rows, facecolor=PALE.get(colour, "white"),
                           edgecolor=colour, linewidth=1.2))
    write(ax, x, y, name, size=size)
    if shape:
        write(ax, x, y - rows / 2 - 1.6, shape, GREY, SMALL)
