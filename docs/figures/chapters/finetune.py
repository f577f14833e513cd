"""Figures of finetune.md."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from chapters.canvas import BACKWARD, FORWARD, PALE, SMALL, arrow, block, box, drawing, figure, write
from numpygpt.plots.style import GREY, INK


@figure
def lora() -> Figure:
    """A frozen matrix with two thin ones beside it."""
    page, ax = drawing(4.3)
    block(ax, 7, 22, 9, 9, "X", GREY, "(N, d_in)")
    ax.add_patch(Rectangle((25.5, 26.5), 12, 11, facecolor="#EFEFEF", edgecolor=GREY, hatch="//", linewidth=1.2))
    write(ax, 31.5, 32, "W", INK, bbox={"facecolor": "white", "edgecolor": "none", "pad": 2})
    write(ax, 31.5, 39.5, "(d_in, d_out), frozen: no dW", GREY, SMALL)
    block(ax, 23, 11, 9, 2.4, "A", FORWARD, "(d_in, r)", SMALL)
    block(ax, 34, 11, 9, 2.4, "U", GREY, "(N, r)", SMALL)
    block(ax, 46, 11, 2.4, 11, "B", FORWARD, "(r, d_out)", SMALL)
    box(ax, 57.5, 11, "\u00d7 s", 5, 4)
    box(ax, 63, 22, "+", 4, 4)
    block(ax, 74, 22, 9, 9, "Y", GREY, "(N, d_out)")
    arrow(ax, (11.8, 23), (25, 31))
    arrow(ax, (38, 31), (60.8, 23.2))
    arrow(ax, (11.8, 20.5), (21, 12.5))
    arrow(ax, (24.6, 11), (32.4, 11))
    arrow(ax, (35.6, 11), (40, 11))
    arrow(ax, (52, 11), (54.8, 11))
    arrow(ax, (59, 13.2), (62.3, 19.8))
    arrow(ax, (65.2, 22), (69.2, 22))
    write(ax, 46, 4.2, "dB = s U\u1d40 dY", BACKWARD, SMALL)
    write(ax, 23, 2.2, "dA = s X\u1d40 (dY B\u1d40)", BACKWARD, SMALL)
    write(ax, 78.5, 35.5, "dX = dY W\u1d40 + s (dY B\u1d40) A\u1d40", BACKWARD, SMALL, ha="right")
    write(ax, 78.5, 38.5, "Y = X W + s (X A) B", FORWARD, SMALL, ha="right")
    return page


def padded_mask(T: int = 6, n: int = 2) -> np.ndarray:
    """Return a (T, T) table: 0 visible, 1 hidden because later, 2 hidden because padding; n tokens are padding."""
    t, u = np.indices((T, T))
    return np.where(u > t, 1, np.where((u < n) & (t >= n), 2, 0))


@figure
def padding() -> Figure:
    """The masks of two sequences of a batch, the second with padding at the left."""
    page, ax = drawing(4.6)
    colours = [PALE[FORWARD], "white", "#F7E3B5"]
    side = 3.9
    rows = [(9, ["We", "are", "such", "stuff", "as", "dreams"], 0), (52, ["pad", "pad", "To", "be", "or", "not"], 2)]
    for left, words, n in rows:
        table = padded_mask(6, n)
        for (t, u), kind in np.ndenumerate(table):
            ax.add_patch(Rectangle((left + u * side, 33 - (t + 1) * side), side, side, facecolor=colours[kind],
                                   edgecolor="#BBBBBB", linewidth=0.8))
        for i, word in enumerate(words):
            colour = GREY if i < n else INK
            write(ax, left - 0.7, 33 - (i + 0.5) * side, word, colour, SMALL, ha="right")
            write(ax, left + (i + 0.5) * side, 34.2, word, colour, SMALL, rotation=60, ha="left", va="bottom",
                  rotation_mode="anchor")
            write(ax, left + (i + 0.5) * side, 7.9, str(max(0, i - n)), colour, SMALL)
        write(ax, left + 3 * side, 43.5, f"sequence {int(n > 0)}: {n or 'no'} padding tokens", size=SMALL)
    write(ax, 42.5, 7.9, "positions", GREY, SMALL)
    for x, colour, words in ((6, colours[0], "visible"), (22, colours[1], "hidden: later"),
                             (43, colours[2], "hidden: padding, for every real token")):
        ax.add_patch(Rectangle((x, 2), 2.6, 2.6, facecolor=colour, edgecolor="#BBBBBB", linewidth=0.8))
        write(ax, x + 3.6, 3.3, words, size=SMALL, ha="left")
    return page
