"""Token vectors as words in a plane, and a table of the nearest ones beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from numpygpt.inspection.vocabulary import CLASSES
from numpygpt.plots.placing import place_labels
from numpygpt.plots.style import COLOURS, FONT, GREY, INK, aside, dress, head, legend

COLOUR = dict(zip(CLASSES, (*COLOURS[:5], COLOURS[6], GREY), strict=True))  # without the sky blue, too light for words
FINE = ("punctuation", "white space")  # signs so small that they are drawn larger
MEANS = {"white space": "white space (· a space, ⏎ a new line)"}
LETTER = 0.68  # of the font's size: the width of a letter, roundly


@dataclass(frozen=True)
class Plane:
    """Tokens to draw: `points` (N, 2) along the principal components that hold `shares` (2,) of the variance, and for
    each its `labels` and its class."""

    points: np.ndarray
    shares: np.ndarray
    labels: list[str]
    classes: list[str]


@dataclass(frozen=True)
class Row:
    """A token, and those nearest to it with their cosines."""

    label: str
    near: list[tuple[str, float]]


def size(rows: Sequence[Row]) -> tuple[float, float]:
    return 10.0, max(7.2, 1.4 + 0.19 * table_lines(rows))


def draw_embeddings(figure: Figure, plane: Plane, rows: Sequence[Row], title: str, of: str) -> None:
    """The plane, and the table at its right; `of` says which tokens these are."""
    ax, table = figure.subplots(1, 2, width_ratios=(4.2, 1))
    first, second = plane.shares
    dress(ax, "Principal components", f"first component ({first:.1%} of the variance)",
          f"second component ({second:.1%} of the variance)")  # fmt: skip
    aside(ax, of)
    dots = ax.scatter(*plane.points.T, c=[COLOUR[kind] for kind in plane.classes], linewidths=0)
    ax.margins(0.05)
    draw_table(table, rows)
    entries: list[tuple[Artist, str]] = [
        (Line2D([], [], color=COLOUR[kind], linestyle="", marker="s", markersize=8), MEANS.get(kind, kind))
        for kind in CLASSES if kind in plane.classes
    ]  # fmt: skip
    legend(figure, entries, loc="outside lower left", ncols=len(entries), handletextpad=0.2, columnspacing=1.2)
    head(figure, title)
    figure.draw_without_rendering()  # the panels get their sizes
    on_point = write_labels(ax, plane)
    dots.set_sizes(np.where(on_point, 0, 6))  # a dot in the middle of a letter would spoil it


def write_labels(ax: Axes, plane: Plane) -> np.ndarray:
    """The tokens as words at their points, or beside them with a line to the point; whether each stands right on it.
    (N,) The first of them choose first; where there is no room a point stays without a word."""
    pixels = ax.transData.transform(plane.points)
    font = FONT if len(plane.labels) <= 200 else FONT - 2
    unit, dots = font * ax.figure.dpi / 72, 72 / ax.figure.dpi
    sizes = [((len(label) + 0.4) * LETTER * unit, 1.15 * unit) for label in plane.labels]
    frame = ax.get_window_extent()
    places = place_labels(pixels, sizes, (frame.x0, frame.y0, frame.x1, frame.y1))
    for point, at, place, label, kind in zip(plane.points, pixels, places, plane.labels, plane.classes, strict=True):
        if place is not None:
            moved = tuple(np.subtract(place, at) * dots)
            line = {"arrowstyle": "-", "color": COLOUR[kind], "linewidth": 0.5, "alpha": 0.6}
            words = ax.annotate(
                label, point, xytext=moved, textcoords="offset points", ha="center", va="center",
                fontsize=font + 3 * (kind in FINE), fontweight="bold" if kind in FINE else "normal",
                color=COLOUR[kind], parse_math=False, arrowprops=line if np.hypot(*moved) > font else None,
            )  # fmt: skip
            words.set_in_layout(False)
    if hidden := places.count(None):
        ax.set_xlabel(f"{ax.get_xlabel()}; {hidden:,} of the points have no room for their word")
    return np.array([place is not None and tuple(place) == tuple(at) for place, at in zip(places, pixels, strict=True)])


def draw_table(ax: Axes, rows: Sequence[Row]) -> None:
    """Each token, and below it the nearest with their cosines."""
    ax.set_axis_off()
    ax.set_title("Nearest by cosine", loc="left", fontsize=FONT + 1, fontweight="bold", color=INK)
    lines, at = table_lines(rows), 0.5
    for row in rows:
        cell(ax, 0.0, 1 - at / lines, row.label, fontweight="bold")
        for i, (label, cosine) in enumerate(row.near, 1):
            cell(ax, 0.1, 1 - (at + i) / lines, label)
            cell(ax, 1.0, 1 - (at + i) / lines, f"{cosine:+.2f}".replace("-", "\N{MINUS SIGN}"), ha="right")
        at += len(row.near) + 1.5


def table_lines(rows: Sequence[Row]) -> float:
    """Lines of the table, the space between two tokens included; at least so many that few do not lie far apart."""
    return max(30.0, 0.5 + sum(len(row.near) + 1.5 for row in rows))


def cell(ax: Axes, x: float, y: float, words: str, **look: Any) -> None:
    ax.text(x, y, words, transform=ax.transAxes, va="top", fontsize=FONT, color=INK, parse_math=False, **look)
