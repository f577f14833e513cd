"""Figures of products.md: Linear, the embedding, the residual stream, positions."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from chapters.canvas import (
    BACKWARD,
    FORWARD,
    PALE,
    SIGNED,
    SMALL,
    TEXT,
    WIDTH,
    arrow,
    block,
    box,
    cells,
    drawing,
    figure,
    plot,
    write,
)
from numpygpt.nn import Embedding, SinusoidalEncoding
from numpygpt.plots.style import GREY, INK, new_figure


@figure
def linear_shapes() -> Figure:
    """The products of a Linear as blocks, and the sum of its bias: N = 7, d_in = 4, d_out = 12 tenths of an inch."""
    page, ax = drawing(4.9)
    size = {"N": 7.0, "d_{in}": 4.0, "d_{out}": 12.0}
    rows = [(43.5, "forward", [("X", "N", "d_{in}"), ("W", "d_{in}", "d_{out}"), ("Y", "N", "d_{out}")]),
            (28.5, "backward, for X", [("dY", "N", "d_{out}"), ("W^T", "d_{out}", "d_{in}"), ("dX", "N", "d_{in}")]),
            (12.5, "backward, for W", [("X^T", "d_{in}", "N"), ("dY", "N", "d_{out}"), ("dW", "d_{in}", "d_{out}")])]
    plain, bold = r"$\mathrm{{{}}}$", r"$\mathbf{{{}}}$"
    for y, words, factors in rows:
        write(ax, 3, y, words, FORWARD if words == "forward" else BACKWARD, ha="left")
        x = 30.0  # the left edge of the next block
        for (name, high, wide), styles, sign in zip(factors, [(plain, bold), (bold, plain), (plain, plain)], "\u00b7= ",
                                                    strict=True):  # bold: the inner sizes, which the product sums over
            at = x + size[wide] / 2
            block(ax, at, y, size[high], size[wide], plain.format(name), BACKWARD if name[0] == "d" else FORWARD)
            shape = ", ".join(style.format(letter) for style, letter in zip(styles, (high, wide), strict=True))
            write(ax, at, y - size[high] / 2 - 1.7, f"({shape})", INK, SMALL)
            write(ax, x + size[wide] + 2.5, y, sign, size=18, weight="bold")
            x += size[wide] + 5
    write(ax, 3, 1.8, "backward, for b", BACKWARD, ha="left")
    words = r"$\mathrm{db}$ = the sums of the columns of $\mathrm{dY}$,  $(\mathrm{d_{out}},)$"
    write(ax, 30, 1.8, words, ha="left")
    return page


def embedded() -> tuple[np.ndarray, ...]:
    """Return E, ids, Y, dY and dE of the example of products.md."""
    layer, ids, dY = Embedding(3, 2, dtype="float64"), np.array([[2, 0, 2]]), np.array([[[1.0, 10], [2, 20], [3, 30]]])
    layer.W = np.array([[1.0, 2], [3, 4], [5, 6]])
    Y = layer(ids)
    layer.backward(dY)
    return layer.W, ids[0], Y[0], dY[0], layer.dW


@figure
def scatter() -> Figure:
    """An embedding copies rows of its table; its gradient adds rows up where the ids say."""
    page, ax = drawing(2.9)
    E, ids, Y, dY, dE = embedded()
    top, side = 20.0, 4.6
    twice = [int(np.count_nonzero(ids == token) > 1) for token in range(len(E))]
    for x, name, table, rows, colour in (4, "", E, Y, FORWARD), (43, "d", dE, dY, BACKWARD):
        shade = ["white", PALE[colour]]
        cells(ax, x, top, table, side, colour, fill=lambda i, j, shade=shade: shade[twice[i]])
        cells(ax, x + 20, top, rows, side, colour, fill=lambda i, j, shade=shade: shade[twice[ids[i]]])
        write(ax, x + side, top + 1.8, f"{name}E", colour)
        write(ax, x + 20 + side, top + 1.8, f"{name}Y", colour)
        for row, token in enumerate(ids):
            split = 0.7 * (1 - row) * twice[token]  # two arrows do not meet in one point
            ends = [(x + 2 * side + 0.5, top - (token + 0.5) * side + split), (x + 19.5, top - (row + 0.5) * side)]
            arrow(ax, *(ends[::-1] if name else ends), colour)
            write(ax, x + 20 + 2 * side + 1.5, top - (row + 0.5) * side, f"id {token}", INK, SMALL, ha="left")
        for token in range(len(E)):
            write(ax, x - 1.5, top - (token + 0.5) * side, str(token), GREY, SMALL)
    write(ax, 18.6, 26.5, "forward: copy rows", FORWARD, weight="bold")
    write(ax, 57.6, 26.5, "backward: add rows", BACKWARD, weight="bold")
    write(ax, 18.6, 3, "Token 2 is copied twice.", INK, SMALL)
    write(ax, 57.6, 3, "Its two gradients are added. Token 1 gets 0.", INK, SMALL)
    return page


UP, STREAM, BACK = 22.5, 10.0, 5.5  # the heights of the branches, of the stream, and of its gradient


def branch(ax: Axes, x: float, name: str) -> None:
    """Draw one branch of the residual stream: up at x, through a layer, and back at x + 9."""
    inside, edge = 2.2, UP - 4
    arrow(ax, (x, STREAM), (x, edge), FORWARD)
    arrow(ax, (x + 9, edge), (x + 9, STREAM + 1.1), FORWARD)
    arrow(ax, (x + 9 - inside, BACK), (x + 9 - inside, edge), BACKWARD)
    arrow(ax, (x + inside, edge), (x + inside, BACK + 1.1), BACKWARD)
    box(ax, x + 4.5, UP, f"LayerNorm\n{name}", w=14.5, h=8, size=SMALL)
    for at, y, colour in (x + 9, STREAM, FORWARD), (x + inside, BACK, BACKWARD):
        ax.plot(at, y, "o", markersize=15, markerfacecolor="white", markeredgecolor=colour, zorder=3)
        write(ax, at, y, "+", colour, zorder=4)


@figure
def residual() -> Figure:
    """The residual stream with the branches of two blocks."""
    page, ax = drawing(3.4)
    arrow(ax, (1, STREAM), (79, STREAM), FORWARD, width=3)
    arrow(ax, (79, BACK), (1, BACK), BACKWARD, width=3)
    for x, name in zip((6.5, 23.5, 44.5, 61.5), 2 * ("attention", "feed-forward"), strict=True):
        branch(ax, x, name)
    for x, words in (19.5, "block 0"), (57.5, "block 1"):
        write(ax, x, 30.5, words, weight="bold")
        ax.plot([x - 16, x + 16], [28.4, 28.4], color=GREY, linewidth=1)
    write(ax, 38.5, STREAM + 2, "X", FORWARD)
    write(ax, 38.5, BACK + 2, "dX", BACKWARD)
    write(ax, 40, 2.2, "backward: the upstream gradient arrives unchanged, and each branch adds its own term",
          BACKWARD, SMALL)
    return page


@figure
def positions() -> Figure:
    """The table of the sinusoidal encoding, its features from top to bottom."""
    page = new_figure((WIDTH, 4.2))
    ax = page.subplots()
    P = SinusoidalEncoding(96, 32, dtype="float64").P
    top = np.abs(P).max()
    image = ax.imshow(P.T, cmap=SIGNED, vmin=-top, vmax=top, aspect="auto", interpolation="nearest")
    plot(ax, "", "position t", "feature (even: sine, odd: cosine)")
    ax.grid(False)
    ax.set_yticks([0, 8, 16, 24, 31])
    ax.set_xticks([0, 16, 32, 48, 64, 80, 95])
    bar = page.colorbar(image, ax=ax, pad=0.02, ticks=[-top, 0, top], format="%.3f")
    bar.ax.tick_params(labelsize=SMALL)
    bar.set_label("entry of the table", fontsize=TEXT)
    return page
