"""Figures of modern.md."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Arc, Circle

from chapters.canvas import BACKWARD, FORWARD, SMALL, TEXT, arrow, box, drawing, figure, write
from numpygpt.plots.style import BLUE, GREY, INK, VERMILLION


def circle(ax: Axes, x: float, y: float, r: float) -> None:
    ax.add_patch(Circle((x, y), r, facecolor="none", edgecolor=GREY, linewidth=0.8))


@figure
def rotary() -> Figure:
    """Pairs of features turn by an angle per position, so that a product depends on the distance alone."""
    page, ax = drawing(3.5)
    for x, angle, name in ((12.5, 1.0, "fast pair: 1 rad per position"), (38, 0.1, "slow pair: 0.1 rad per position")):
        circle(ax, x, 16, 10)
        for position in range(6):
            a = angle * position
            end = (x + 10 * np.cos(a), 16 + 10 * np.sin(a))
            arrow(ax, (x, 16), end, FORWARD, width=1.1)
            far = 11.5 + (1.4 if angle < 0.5 else 0)
            write(ax, x + far * np.cos(a), 16 + far * np.sin(a), f"{position}", size=SMALL)
        write(ax, x, 31.5, name, size=SMALL)
    circle(ax, 67.5, 16, 10)
    theta = 0.35
    for (key, query), colour, r in (((2, 5), BLUE, 10), ((6, 9), VERMILLION, 7)):
        for position, name in ((key, "k"), (query, "q")):
            a = theta * position
            arrow(ax, (67.5, 16), (67.5 + 10 * np.cos(a), 16 + 10 * np.sin(a)), colour)
            write(ax, 67.5 + 11.8 * np.cos(a), 16 + 11.8 * np.sin(a), f"{name}{position}", colour, SMALL)
        sweep = np.degrees([theta * key, theta * query])
        ax.add_patch(Arc((67.5, 16), r, r, theta1=sweep[0], theta2=sweep[1], color=colour,
                         linewidth=2))
    write(ax, 67.5, 31.5, "query and key 3 tokens apart", size=SMALL)
    write(ax, 67.5, 2.5, "the same angle 3\u03b8 between them", size=SMALL)
    return page


@figure
def groups() -> Figure:
    """Eight query heads with 8, 2 and 1 heads of keys and values."""
    page, ax = drawing(3.0)
    d_k, bytes_each = 32, 4
    for i, (heads, name) in enumerate(((8, "multi-head"), (2, "grouped"), (1, "multi-query"))):
        left = 3 + 26.5 * i
        write(ax, left + 11, 27.5, name, weight="bold")
        for q in range(8):
            x = left + 1.4 + 2.75 * q
            kv = q * heads // 8
            width = 22 / heads
            center = left + width * (kv + 0.5)
            ax.plot([x, center], [19.3, 12.2], color=GREY, linewidth=1)
            box(ax, x, 20.8, "", 2.1, 3, FORWARD)
        for kv in range(heads):
            width = 22 / heads
            box(ax, left + width * (kv + 0.5), 10.6, "", min(width - 0.65, 5), 3.2, BACKWARD)
        size = 2 * heads * d_k * bytes_each
        plural = "heads" if heads > 1 else "head"
        write(ax, left + 11, 6.8, f"{heads} {plural} of keys and values", size=SMALL)
        write(ax, left + 11, 4.4, f"cache: {size:,} bytes", GREY, SMALL)
        write(ax, left + 11, 2.2, "per token and layer", GREY, SMALL)
    write(ax, 40, 24.2, f"8 query heads each, of width {d_k}: width {8 * d_k} in all", FORWARD, SMALL)
    return page


@figure
def gates() -> Figure:
    """The gated feed-forward as a graph, with the gradients on their way back."""
    page, ax = drawing(3.9)
    mid, high, low = 19, 28, 10

    def both(start: tuple[float, float], end: tuple[float, float], name: str, gradient: str, right: bool = False,
             above: float = 2.1) -> None:
        (x0, y0), (x1, y1) = start, end
        off = 0.55
        normal = np.array([-(y1 - y0), x1 - x0]) / np.hypot(x1 - x0, y1 - y0) * off
        arrow(ax, (x0 + normal[0], y0 + normal[1]), (x1 + normal[0], y1 + normal[1]), FORWARD)
        arrow(ax, (x1 - normal[0], y1 - normal[1]), (x0 - normal[0], y0 - normal[1]), BACKWARD)
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        write(ax, x, y + above, name, FORWARD, SMALL)
        write(ax, x, y - above, gradient, BACKWARD, SMALL)

    box(ax, 3.5, mid, "X", 5, 5)
    box(ax, 17.5, mid, "\u00b7 W\u2081", 7, 5)
    box(ax, 34, high, "act", 7, 5)
    box(ax, 50, mid, "\u00d7", 5, 5)
    box(ax, 64, mid, "\u00b7 W\u2082", 7, 5)
    box(ax, 77, mid, "Y", 4.6, 5)
    both((6, mid), (14, mid), "X", "dX", above=2.0)
    both((21, mid + 1.6), (30.5, high - 0.6), "", "")
    write(ax, 22.5, 26.3, "G", FORWARD, SMALL)
    write(ax, 29.5, 22, "dG = dg act\u2032(G)", BACKWARD, SMALL, ha="left")
    both((37.5, high - 0.6), (47.5, mid + 1.6), "", "")
    write(ax, 44.5, 26.6, "g", FORWARD, SMALL)
    write(ax, 41.5, 18.9, "dg = dA U", BACKWARD, SMALL)
    ax.plot([21, 23, 46], [mid - 2, low + 0.55, low + 0.55], color=FORWARD, linewidth=1.4)
    arrow(ax, (46, low + 0.55), (48.6, mid - 2.6), FORWARD)
    ax.plot([50, 47, 22.2], [mid - 2.6, low - 0.55, low - 0.55], color=BACKWARD, linewidth=1.4)
    arrow(ax, (22.2, low - 0.55), (19.6, mid - 2.6), BACKWARD)
    write(ax, 34, low + 2.4, "U", FORWARD, SMALL)
    write(ax, 34, low - 2.5, "dU = dA g", BACKWARD, SMALL)
    both((52.5, mid), (60.5, mid), "A", "dA")
    both((67.5, mid), (74.7, mid), "Y", "dY")
    write(ax, 40, 35.5, "A = act(G) \u00d7 U: each factor's gradient is dA times the other factor", INK, TEXT)
    write(ax, 40, 3, "W\u2081 has two halves, one for G and one for U: dX = [dG | dU] W\u2081\u1d40", GREY, SMALL)
    return page
