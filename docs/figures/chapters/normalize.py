"""Figures of normalize.md: LayerNorm's rows, its three paths backward, and dropout's mask."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from chapters.canvas import (
    BACKWARD,
    FORWARD,
    PALE,
    SMALL,
    TEXT,
    WIDTH,
    arrow,
    box,
    cells,
    drawing,
    figure,
    plot,
    write,
)
from numpygpt.nn import Dropout, LayerNorm
from numpygpt.plots.style import BLUE, GREEN, GREY, INK, PURPLE, VERMILLION, new_figure


def normalised_rows() -> tuple[np.ndarray, np.ndarray]:
    """Return four rows of six features with different means and spreads, and what LayerNorm makes of them."""
    even = np.array([-1.5, -0.9, -0.3, 0.3, 0.9, 1.5])
    shape = even + np.random.default_rng(3).uniform(-0.3, 0.3, (4, 6))
    X = shape * np.array([[1.2], [2.8], [0.5], [0.9]]) + np.array([[5.0], [0.5], [-3.0], [-6.0]])
    return X, LayerNorm(6, dtype="float64")(X)


@figure
def layernorm_rows() -> Figure:
    """The features of four rows as points, before and after LayerNorm."""
    page = new_figure((WIDTH, 3.6))
    before, after = page.subplots(1, 2, sharey=True)
    for ax, rows, title in zip((before, after), normalised_rows(), ("before", "after LayerNorm"), strict=True):
        for y, (row, colour) in enumerate(zip(rows, (BLUE, VERMILLION, GREEN, PURPLE), strict=True)):
            mean, spread = row.mean(), row.std()
            ax.plot([mean - spread, mean + spread], [y, y], color=colour, linewidth=9, alpha=0.25,
                    solid_capstyle="butt")
            ax.plot([mean, mean], [y - 0.28, y + 0.28], color=INK, linewidth=1.5)
            ax.plot(row, np.full(len(row), y), "o", color=colour, markersize=6.5, markeredgecolor="white")
        plot(ax, title, "value of a feature", "")
        ax.set(xlim=(-8.5, 8), xticks=range(-6, 7, 3))
    before.set_yticks(range(4), [f"row {n}" for n in range(4)])
    before.invert_yaxis()
    after.set_xlabel("black line: mean; band: \u00b1 one standard deviation", fontsize=SMALL)
    return page


def removed() -> np.ndarray:
    """Return dXhat of normalize.md's first row, its two parts that backward removes, and what is left: (4, 3)."""
    X, dY = np.array([[1.0, 2, 3], [0, 6, 0]]), np.array([[3.0, 0, 0], [0, 0, 1]])
    layer = LayerNorm(3, eps=0.0, dtype="float64")
    layer.gamma = np.array([1.0, 2, 3])
    layer(X)
    left = layer.backward(dY) / layer.rstd
    dXhat = dY * layer.gamma
    mean = np.broadcast_to(dXhat.mean(axis=-1, keepdims=True), X.shape)
    return np.stack([dXhat, mean, dXhat - mean - left, left])[:, 0]


@figure
def layernorm_paths() -> Figure:
    """Left: from X_j to a row of Xhat on three paths. Right: what backward subtracts."""
    page, ax = drawing(3.7)
    direct, mean, variance = BLUE, GREEN, VERMILLION
    write(ax, 20, 34, "three paths from an input to the row", weight="bold", size=SMALL + 1)
    box(ax, 4.5, 16, "$X_j$", w=6, h=5)
    box(ax, 20, 27, "mean $m$", w=10.5, h=4.6, colour=mean)
    box(ax, 20, 5, "variance $v$", w=13, h=4.6, colour=variance)
    heights = 25.5, 16.0, 6.5
    for y, name in zip(heights, (r"$\hat{X}_i$", r"$\hat{X}_j$", r"$\hat{X}_k$"), strict=True):
        box(ax, 36, y, name, w=6, h=5)
        arrow(ax, (25.3, 27), (32.9, y + 1), mean)
        arrow(ax, (26.6, 5), (32.9, y - 1), variance)
    arrow(ax, (7.6, 17.5), (15.5, 24.6), mean)
    arrow(ax, (7.6, 14.5), (15.5, 7.4), variance)
    arrow(ax, (7.6, 16), (32.9, 16), direct, width=2.2)
    write(ax, 15.5, 17.5, "direct", direct, SMALL)
    ax.plot([41.5, 41.5], [3, 33], color=GREY, linewidth=0.8)
    write(ax, 61.5, 34, "what backward removes", weight="bold", size=SMALL + 1)
    words = [(r"$\mathrm{d}\hat{X}$, direct path", direct), ("\u2212  its mean", mean),
             (r"$-$  $\hat{X}$ mean($\mathrm{d}\hat{X}$ $\hat{X}$)", variance), (r"=  what is left: dX / $r$", INK)]
    for y, row, (name, colour) in zip((30, 23, 16, 7), removed(), words, strict=True):
        write(ax, 44, y - 2.5, name, colour, size=SMALL + 1, ha="left")
        cells(ax, 63, y, row, side=5, colour=colour, digits=1, fill=lambda i, j: "white")
    ax.plot([44, 78], [9, 9], color=INK, linewidth=1)
    return page


def dropped() -> dict[str, np.ndarray]:
    """Return the arrays of normalize.md's example of dropout."""
    layer = Dropout(0.5, rng=1)
    X, dY = np.array([[1.0, 2, 3], [4, 5, 6]]), np.array([[1.0, -1, 5], [3, 7, 1]])
    Y = layer(X)
    return {"X": X, "D": layer.mask, "Y": Y, "dY": dY, "dX": layer.backward(dY)}


@figure
def dropout() -> Figure:
    """The mask of dropout in forward and in backward."""
    page, ax = drawing(3.3)
    arrays, side = dropped(), 4.6
    D = arrays["D"]

    def shade(colour: str) -> object:
        return lambda i, j: PALE[colour] if D[i, j] else "white"

    for y, names, colour, words in (28, ("X", "D", "Y"), FORWARD, "forward"), (12, ("dY", "D", "dX"), BACKWARD,
                                                                             "backward"):
        write(ax, 2, y - side, words, colour, ha="left")
        for x, name in zip((17, 38, 59), names, strict=True):
            edge = INK if name == "D" else colour
            cells(ax, x, y, arrays[name], side, edge, fill=shade(GREY if name == "D" else colour))
            write(ax, x + 1.5 * side, y + 1.9, name, edge, TEXT)
        write(ax, 34.5, y - side, "\u2299")
        write(ax, 55.5, y - side, "=")
    arrow(ax, (38 + 1.5 * side, 18.2), (38 + 1.5 * side, 15.6), INK)
    write(ax, 46.5, 17, "the same mask: 0, or 1 / (1 \u2212 p) = 2", INK, SMALL, ha="left")
    return page
