"""Figures of attention.md."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

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
    write,
)
from chapters.canvas import block as slab
from numpygpt.nn.functional import softmax
from numpygpt.plots.heat import dark
from numpygpt.plots.style import GREY, INK, new_figure

LOW = "\u2080\u2081\u2082\u2083"  # digits as indices
HEADS = PALE[FORWARD], "#DDF1E4", "#FBF0D0"  # backgrounds of three heads
WORDS = ["the", "cat", "sat", "down", "."]


def three_weights() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the three (T, T) tables of weights of attention.md: equal, by recency, from queries and keys."""
    T = len(WORDS)
    seen = np.tril(np.ones((T, T)))
    recent = seen * 0.5 ** (np.arange(T)[:, None] - np.arange(T))
    sizes = [(T, 4), (4, 4), (4, 4)]
    X, W_q, W_k = (np.random.default_rng(seed).standard_normal(size) for seed, size in enumerate(sizes))
    learned = softmax(X @ W_q @ (X @ W_k).T / 2 + np.where(seen > 0, 0, -np.inf))
    return seen / seen.sum(axis=1, keepdims=True), recent / recent.sum(axis=1, keepdims=True), learned


def weights_map(ax: Axes, P: np.ndarray, title: str) -> None:
    """Draw a table of weights with its numbers; the hidden half is hatched."""
    hidden = np.triu(np.ones(P.shape, bool), 1)
    ax.patch.set(facecolor="white", edgecolor="#BBBBBB", hatch="////", linewidth=0)
    image = ax.imshow(np.ma.masked_array(P, hidden), cmap="cividis", norm=Normalize(0, 1))
    for (t, u), value in np.ndenumerate(P):
        if u <= t:
            light = dark(image.cmap(image.norm(value)))
            ax.text(u, t, f"{value:.2f}"[1 - (value > 0.995):], ha="center", va="center", fontsize=SMALL,
                    color="white" if light else INK)
    ax.set_title(title, fontsize=TEXT, color=INK)
    ax.set_xticks(range(len(WORDS)), WORDS, fontsize=SMALL, rotation=45)
    ax.set_yticks(range(len(WORDS)), WORDS, fontsize=SMALL)
    ax.tick_params(length=0)
    ax.spines[:].set(color=GREY, linewidth=0.6)


@figure
def attention_steps() -> Figure:
    """The weights of an average, of a weighted average, and of softmax(Q K^T) with the mask."""
    page = new_figure((WIDTH, 3.3))
    titles = ["1. average", "2. weighted average", "3. weights from Q and K"]
    for ax, P, title in zip(page.subplots(1, 3), three_weights(), titles, strict=True):
        weights_map(ax, P, title)
    page.axes[0].set_ylabel("token that looks", fontsize=SMALL)
    page.axes[1].set_xlabel("token that is looked at", fontsize=SMALL)
    return page


@figure
def attention_shapes() -> Figure:
    """Attention with the shape of each array, X -> Q, K, V -> S -> P -> O -> Y; below it heads split and joined."""
    page, ax = drawing(7.4)
    ax.set_ylim(-28, 46)
    write(ax, 40, 43.5, "one head: T tokens, d_k features per query and key, d_v per value", size=TEXT)
    y = {"Q": 35, "K": 25, "V": 12}
    slab(ax, 6, 24, 10, 7, "X", GREY, "(T, C)")
    for name, colour_width in (("Q", 4.5), ("K", 4.5), ("V", 4)):
        slab(ax, 21, y[name], 7.5, colour_width, name, FORWARD)
        write(ax, 21, y[name] - 5.1, f"(T, d_{'v' if name == 'V' else 'k'})", GREY, SMALL)
        arrow(ax, (10, 24), (18.2, y[name]))
    write(ax, 12.3, 33.2, "qkv", GREY, SMALL)
    slab(ax, 38, 30, 7.5, 7.5, "S", FORWARD, "(T, T)")
    arrow(ax, (23.6, 35), (33.9, 31))
    arrow(ax, (23.6, 25), (33.9, 29))
    write(ax, 33, 36.3, "Q K\u1d40 / \u221ad_k + M", INK, SMALL)
    slab(ax, 53, 30, 7.5, 7.5, "P", FORWARD, "(T, T)")
    arrow(ax, (42, 30), (49, 30))
    write(ax, 45.5, 36.3, "softmax of each row", INK, SMALL, ha="left")
    slab(ax, 61, 12, 7.5, 4, "O", FORWARD)
    write(ax, 61, 6.9, "(T, d_v)", GREY, SMALL)
    arrow(ax, (55, 24.5), (59.5, 14.6))
    arrow(ax, (23.3, 12), (58.8, 12))
    write(ax, 42, 13.8, "P V", INK, SMALL)
    slab(ax, 74, 24, 10, 7, "Y", GREY, "(T, C)")
    arrow(ax, (63.2, 13), (70.3, 22))
    write(ax, 65, 19, "proj", GREY, SMALL)
    heads(ax, -14)
    return page


def heads(ax: Axes, y: float, count: int = 3, side: float = 3) -> None:
    """Draw how the columns of Q, K and V are split into heads, and the columns of O joined."""
    def strip(x: float, y: float, names: str, head: int | None = None) -> float:
        """Draw one block per name and head, from x on; return where they end."""
        for name in names:
            for i in range(count) if head is None else [head]:
                ax.add_patch(Rectangle((x, y - 2.5), side, 5, facecolor=HEADS[i], edgecolor=FORWARD, linewidth=1))
                write(ax, x + side / 2, y, f"{name}{LOW[i]}", size=SMALL)
                x += side
        return x

    ax.plot([3, 77], [3, 3], color=GREY, linewidth=0.8)
    write(ax, 40, 0.3, f"H heads, here {count}: each takes its own columns, and proj mixes their outputs", size=TEXT)
    end = strip(3, y, "QKV")
    write(ax, 16.5, y - 4.2, "qkv(X)  (T, H (2 d_k + d_v))", GREY, SMALL)
    write(ax, end + 4.5, y + 9.8, "split", GREY, SMALL)
    for i in range(count):
        height = y + 7 * (1 - i)
        arrow(ax, (end + 0.5, y + (1 - i)), (38.5, height))
        inside = strip(39, height, "QKV", i)
        arrow(ax, (inside + 0.5, height), (52.5, height))
        arrow(ax, (strip(53, height, "O", i) + 0.5, height), (61.5, y + (1 - i)))
    write(ax, 60, y + 9.8, "join", GREY, SMALL)
    joined = strip(62, y, "O")
    write(ax, 66.5, y - 4.2, "O  (T, H d_v)", GREY, SMALL)
    arrow(ax, (joined + 0.4, y), (74.6, y))
    write(ax, 72.8, y + 1.6, "proj", GREY, SMALL)
    slab(ax, 76.8, y, 5, 4, "Y", GREY)
    write(ax, 76.8, y - 4.2, "(T, C)", GREY, SMALL)


def by_hand(T: int = 4, d: int = 2, seed: int = 0) -> dict[str, np.ndarray]:
    """Return the arrays of the backward pass of one small head, small whole numbers where they are free."""
    rng = np.random.default_rng(seed)
    Q, K, dS = (rng.integers(-2, 4, size).astype(float) for size in ((T, d), (T, d), (T, T)))
    dS = np.tril(dS)
    dS -= np.diag(dS.sum(axis=1))  # rows sum to 0, as for every softmax
    return {"Q": Q, "K": K, "dS": dS, "dQ": dS @ K, "dK": dS.T @ Q}


@figure
def attention_backward() -> Figure:
    """A row of dS makes a row of dQ; a column of dS makes a row of dK."""
    a = by_hand()
    page, ax = drawing(5.6)
    side, row, column = 4.2, 2, 1

    def marked(on_row: int | None, on_column: int | None):
        def fill(i: int, j: int) -> str:
            return "#F6C9A8" if i == on_row or j == on_column else "white"
        return fill

    def heading(y: float, words: str) -> None:
        write(ax, 40, y, words.replace("+ -", "- ").replace("-", "\u2212"))

    for top, (left, right, result, on_row, on_column) in ((50, ("dS", "K", "dQ", row, None)),
                                                          (23, ("dS", "Q", "dK", None, column))):
        cells(ax, 8, top, a[left], side, BACKWARD, fill=marked(on_row, on_column))
        cells(ax, 36, top, a[right], side, FORWARD, fill=lambda i, j: PALE[FORWARD])
        cells(ax, 58, top, a[result], side, BACKWARD, fill=marked(row if on_row is not None else column, None))
        middle = top - 2 * side
        write(ax, 4, middle, "dS", BACKWARD)
        write(ax, 33, middle, right, FORWARD)
        write(ax, 71, middle, result, BACKWARD)
        arrow(ax, (46, middle), (56.5, middle), BACKWARD)
    terms = " + ".join(f"{a['dS'][row, u]:g}\u00b7K{LOW[u]}" for u in range(row + 1))
    heading(53, f"row {row} of dQ = row {row} of dS times the rows of K = {terms}")
    terms = " + ".join(f"{a['dS'][t, column]:g}\u00b7Q{LOW[t]}" for t in range(column, 4))
    heading(26, f"row {column} of dK = column {column} of dS times the rows of Q = {terms}")
    words = "Each row of dS sums to 0. Above the diagonal dS is 0. Both results are then divided by $\\sqrt{d_k}$."
    write(ax, 40, 2.6, words, INK, SMALL)
    return page


@figure
def tiles() -> Figure:
    """Which parts of the scores are computed when rows are taken a tile at a time."""
    page, ax = drawing(4.1)
    T, tile, side = 16, 4, 1.9
    x0, y0 = 5, 37
    for t in range(T):
        for u in range(T):
            last = (t // tile + 1) * tile
            colour = PALE[FORWARD] if u <= t else "#F7E3B5" if u < last else "white"
            ax.add_patch(_cell(x0 + u * side, y0 - (t + 1) * side, side, colour))
    for i in range(T // tile):
        top, width = y0 - i * tile * side, (i + 1) * tile * side
        ax.plot([x0, x0 + width, x0 + width, x0, x0], [top, top, top - tile * side, top - tile * side, top],
                color=INK, linewidth=1.8)
    write(ax, x0 + T * side / 2, y0 + 1.8, "keys and values: token that is looked at", size=SMALL)
    write(ax, x0 - 2.2, y0 - T * side / 2, "queries: token that looks", size=SMALL, rotation=90)
    x = 39
    for y, colour, words in [(33, PALE[FORWARD], "computed and used"),
                             (28, "#F7E3B5", "computed, then hidden by the mask"),
                             (23, "white", "never computed")]:
        ax.add_patch(_cell(x, y - 1.4, 2.8, colour))
        write(ax, x + 4.4, y, words, ha="left")
    ax.add_patch(_cell(x, 16.6, 2.8, "white", INK, 1.8))
    write(ax, x + 4.4, 18, "one tile: all rows that are in memory at once", ha="left", size=SMALL)
    words = ("Each tile's weights are either cached, or forgotten\nand computed again in the backward pass from Q, K\n"
             "and one number per row, lse.")
    write(ax, x, 9.5, words, ha="left", size=SMALL)
    return page


def _cell(x: float, y: float, side: float, colour: str, edge: str = "#CCCCCC", width: float = 0.5) -> Rectangle:
    return Rectangle((x, y), side, side, facecolor=colour, edgecolor=edge, linewidth=width)


@figure
def block() -> Figure:
    """A block: forward along the stream and both branches, and the gradient on the same paths in reverse."""
    page, ax = drawing(4.9)
    write(ax, 40, 46.6, "norm1, norm2: LayerNorm     attn: attention     ffn: feed-forward network", GREY, SMALL)
    lane(ax, 27, FORWARD, ["X", "X\u2032", "Y"], "forward: each branch adds its output to the stream")
    lane(ax, 5, BACKWARD, ["dX", "dX\u2032", "dY"],
         "backward: the gradient passes along the stream, and each branch adds its own")
    return page


def lane(ax: Axes, y: float, colour: str, names: list[str], words: str) -> None:
    """Draw the stream and the two branches of a block, with arrows in the direction of the colour."""
    back = colour == BACKWARD

    def path(start: tuple[float, float], end: tuple[float, float]) -> None:
        arrow(ax, *((end, start) if back else (start, end)), colour)

    def line(*points: tuple[float, float]) -> None:
        ax.plot(*np.transpose(points), color=colour, linewidth=1.4)

    write(ax, 40, y + 15, words, colour, SMALL)
    for x, norm, layer in ((8, "norm1", "attn"), (44, "norm2", "ffn")):
        up, fork, add = y + 9, (x, y), (x + 27, y)
        plus = fork if back else add
        box(ax, x + 6, up, norm, 6, 4.4, colour, SMALL)
        box(ax, x + 18, up, layer, 12.5, 4.4, colour, SMALL)
        path((x + 9, up), (x + 11.8, up))
        box(ax, *plus, "+", 3.4, 3.4, colour)
        if back:
            line((x + 24.3, up), (x + 27, up), add)
            arrow(ax, (x + 26.9, up), (x + 24.3, up), colour)
            line((x + 3, up), (x, up))
            arrow(ax, (x, up), (x, y + 1.8), colour)
            arrow(ax, add, (x + 1.8, y), colour)
        else:
            line(fork, (x, up))
            arrow(ax, (x, up), (x + 3, up), colour)
            line((x + 24.3, up), (x + 27, up))
            arrow(ax, (x + 27, up), (x + 27, y + 1.8), colour)
            arrow(ax, fork, (x + 25.2, y), colour)
    for name, x in zip(names, (3, 39.5, 77), strict=True):
        write(ax, x, y + (2.2 if x == 39.5 else 0), name, colour, weight="bold")
    if back:
        arrow(ax, (6.3, y), (4.8, y), colour)
        arrow(ax, (42.2, y), (35.1, y), colour)
        line((71, y), (75, y))
    else:
        line((4.5, y), (8, y))
        line((36.8, y), (44, y))
        arrow(ax, (72.8, y), (75.6, y), colour)
