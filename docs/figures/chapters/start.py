"""Figures of START.md, BACKPROP.md and checking.md."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from chapters.canvas import BACKWARD, FORWARD, SMALL, TEXT, WIDTH, arrow, box, cells, drawing, figure, write
from numpygpt.plots.style import BLUE, GREEN, GREY, INK, VERMILLION, dress, legend, new_figure


@figure
def nudge() -> Figure:
    """L(w) = (2 w - 3)^2, its tangent at w = 1, and what both do in a step h."""
    page = new_figure((WIDTH, 3.9))
    ax = page.subplots()
    w, h = np.linspace(0.5, 2.1, 300), 0.25
    ax.plot(w, (2 * w - 3) ** 2, color=FORWARD, linewidth=2)
    line = np.array([0.8, 1.42])
    ax.plot(line, 1 - 4 * (line - 1), color=BACKWARD, linewidth=1.5)
    after, tangent, right = (2 * (1 + h) - 3) ** 2, 1 - 4 * h, 1.05 + h
    ax.plot([1, 1 + h], [1, 1], color=INK, linewidth=1.2)
    for y in 1, tangent:
        ax.plot([1 + h, right], [y, y], color=BACKWARD, linewidth=1, linestyle=":")
    arrow(ax, (1 + h, 1), (1 + h, after), FORWARD)
    arrow(ax, (right, 1), (right, tangent), BACKWARD)
    ax.plot([1, 1 + h, 1.5], [1, after, 0], "o", color=FORWARD, markersize=6)
    ax.annotate(f"h = {h}", (1 + h / 2, 1.0), (0, 5), textcoords="offset points", ha="center", fontsize=SMALL)
    for y, words, colour in ((0.82, f"loss: {after - 1:g}", FORWARD),
                             (0.6, f"tangent: \u22124 h = {tangent - 1:g}", BACKWARD)):
        ax.annotate(words.replace("-", "\u2212"), (right, y), (8, 0), textcoords="offset points", va="center",
                    color=colour, fontsize=SMALL)
    ax.annotate("w = 1, L = 1", (1, 1), (-8, -3), textcoords="offset points", ha="right", va="top", fontsize=SMALL)
    ax.annotate("lowest point, slope 0", (1.5, 0), (4, -7), textcoords="offset points", va="top", fontsize=SMALL)
    ax.annotate("tangent, slope \u22124", (0.86, 1.56), (-6, -4), textcoords="offset points", color=BACKWARD,
                ha="right", va="top", fontsize=SMALL)
    dress(ax, "$L(w) = (2w - 3)^2$", "w", "loss L")
    ax.set_ylim(-0.3, 2.2)
    return page


@figure
def graph() -> Figure:
    """The scalar network of START.md, with its values and gradients."""
    x, t, w1, b1, w2, b2 = 2.0, 1.0, 1.5, -1.0, 0.5, 0.5
    z = w1 * x + b1
    a = max(z, 0.0)
    y = w2 * a + b2
    L = (y - t) ** 2
    dy = 2 * (y - t)
    da, dw2, db2 = dy * w2, dy * a, dy
    dz = da * (z > 0)
    dx, dw1, db1 = dz * w1, dz * x, dz
    page, ax = drawing(3.5)
    ax.set_xlim(-2.5, 77.5)
    main, low = 22, 7
    nodes = [(9, "\u00d7"), (20, "+"), (32, "relu"), (44, "\u00d7"), (55, "+"), (67, "(y \u2212 t)\u00b2")]
    for at, name in nodes:
        box(ax, at, main, name, w=9 if len(name) > 4 else 5.5)
    def both(start: tuple[float, float], end: tuple[float, float], name: str, value: float, slope: float,
             beside: bool = False) -> None:
        ends = np.array([start, end])
        off = np.array([0.0, 0.7]) if not beside else np.array([0.7, 0.0])
        arrow(ax, tuple(ends[0] + off), tuple(ends[1] + off), FORWARD)
        arrow(ax, tuple(ends[1] - off), tuple(ends[0] - off), BACKWARD)
        middle = ends.mean(axis=0)
        if beside:
            write(ax, start[0], start[1] - 1.8, f"{name} = {value:g}".replace("-", "\u2212"), FORWARD, SMALL)
            write(ax, start[0], start[1] - 4.0, f"d{name} = {slope:g}", BACKWARD, SMALL)
        else:
            write(ax, middle[0], middle[1] + 3.9, f"{name}", FORWARD, SMALL)
            write(ax, middle[0], middle[1] + 2.2, f"{value:g}", FORWARD, SMALL)
            write(ax, middle[0], middle[1] - 2.3, f"{slope:g}", BACKWARD, SMALL)
            write(ax, middle[0], middle[1] - 4.0, f"d({name})" if " " in name else f"d{name}", BACKWARD, SMALL)
    edges = [(-1.5, 6, "x", x, dx), (23, 27.5 + 1.6, "z", z, dz), (35, 41, "a", a, da), (58, 62.2, "y", y, dy)]
    edges += [(12, 17, "w\u2081 x", w1 * x, dz), (47, 52, "w\u2082 a", w2 * a, dy)]
    for left, right, name, value, slope in edges:
        both((left, main), (right, main), name, value, slope)
    for at, name, value, slope in [(9, "w\u2081", w1, dw1), (20, "b\u2081", b1, db1), (44, "w\u2082", w2, dw2),
                                   (55, "b\u2082", b2, db2)]:
        both((at, low + 1), (at, main - 3), name, value, slope, beside=True)
    arrow(ax, (71.6, main + 0.7), (75, main + 0.7), FORWARD)
    arrow(ax, (75, main - 0.7), (71.6, main - 0.7), BACKWARD)
    write(ax, 73.6, main + 3.9, "L", FORWARD, SMALL)
    write(ax, 73.6, main + 2.2, f"{L:g}", FORWARD, SMALL)
    write(ax, 73.6, main - 2.3, "1", BACKWARD, SMALL)
    write(ax, 73.6, main - 4.0, "dL", BACKWARD, SMALL)
    write(ax, 67, low - 0.8, f"t = {t:g}", FORWARD, SMALL)
    arrow(ax, (67, low + 1), (67, main - 3), FORWARD)
    write(ax, 20, 31.5, "forward: from left to right", FORWARD)
    write(ax, 55, 31.5, "backward: from right to left", BACKWARD)
    return page


@figure
def broadcast() -> Figure:
    """A bias goes to each row, and its gradient is a sum; a row is summed, and its gradient is broadcast."""
    def letters(x: float, y: float, words: list[list[str]]) -> None:
        cells(ax, x, y, np.full((len(words), len(words[0])), np.nan))
        for i, row in enumerate(words):
            for j, word in enumerate(row):
                write(ax, x + 2 + 4 * j, y - 2 - 4 * i, word, size=SMALL)

    page, ax = drawing(3.1)
    dY, dy = np.array([[1.0, 2, 3], [10, 20, 30]]), np.array([[1.0], [10]])
    db, dX = dY.sum(axis=0, keepdims=True), np.broadcast_to(dy, dY.shape)
    X = [[f"$X_{{{i}{j}}}$" for j in range(3)] for i in range(2)]
    write(ax, 20, 28.5, "Y = X + b: b is broadcast over the rows", weight="bold")
    write(ax, 61, 28.5, "y is the sum of each row of X", weight="bold")
    letters(6, 25, [[f"$b_{j}$" for j in range(3)]])
    letters(6, 16, [[f"{entry}\n$+ b_{j}$" for j, entry in enumerate(row)] for row in X])
    letters(48, 25, X)
    letters(65, 25, [["$y_0$"], ["$y_1$"]])
    cells(ax, 24, 25, db, colour=BACKWARD)
    cells(ax, 24, 16, dY, colour=BACKWARD)
    cells(ax, 48, 13.5, dX, colour=BACKWARD)
    cells(ax, 65, 13.5, dy, colour=BACKWARD)
    ax.plot([41, 41], [3, 26], color=GREY, linewidth=0.8)
    for x, d, colour in (6, "", FORWARD), (24, "d", BACKWARD):
        write(ax, x - 2, 23, f"{d}b", colour)
        write(ax, x - 2, 12, f"{d}Y", colour)
        for column in range(3):
            ends = [(x + 2 + 4 * column, 20.6), (x + 2 + 4 * column, 16.4)]
            arrow(ax, *(reversed(ends) if d else ends), colour)
    write(ax, 12, 4.5, "forward: copy", FORWARD)
    write(ax, 30, 4.5, "backward: add up", BACKWARD)
    for y, d, colour in (25, "", FORWARD), (13.5, "d", BACKWARD):
        write(ax, 46, y - 4, f"{d}X", colour)
        write(ax, 71, y - 4, f"{d}y", colour)
        for row in range(2):
            ends = [(60.4, y - 2 - 4 * row), (64.6, y - 2 - 4 * row)]
            arrow(ax, *(reversed(ends) if d else ends), colour)
    write(ax, 58, 15.2, "forward: add up", FORWARD)
    write(ax, 58, 3.5, "backward: copy", BACKWARD)
    return page


def slope_errors(steps: np.ndarray, dtype: type, order: int) -> np.ndarray:
    """Return the errors of a finite difference of x^5 at 1, where the slope is 5, for each step."""
    def f(x: np.ndarray) -> np.ndarray:
        return x * x * x * x * x

    h, one = steps.astype(dtype), dtype(1)
    near = f(one + h) - f(one - h)
    slope = near / (h + h) if order == 2 else (8 * near - (f(one + 2 * h) - f(one - 2 * h))) / (12 * h)
    return np.abs(slope.astype(np.float64) - 5)


@figure
def step_size() -> Figure:
    """The error of a slope against the step of the finite difference."""
    page = new_figure((WIDTH, 4.2))
    ax = page.subplots()
    steps = np.logspace(-8, -1, 141)
    lines = []
    for name, dtype, order, colour in [("order 2, float64", np.float64, 2, BLUE),
                                       ("order 4, float64", np.float64, 4, GREEN),
                                       ("order 4, float32", np.float32, 4, VERMILLION)]:
        error = np.maximum(slope_errors(steps, dtype, order), 1e-14)
        lines.append((*ax.loglog(steps, error, color=colour, linewidth=1.4), name))
    ax.axvline(1e-4, color=GREY, linewidth=1, linestyle=":")
    ax.annotate("the step of gradcheck", (1e-4, 3e0), (5, 0), textcoords="offset points", color=GREY, fontsize=SMALL)
    ax.annotate("rounding", (1e-7, 1e-6), color=INK, fontsize=TEXT)
    ax.annotate("higher derivatives", (0.1, 3e-12), color=INK, fontsize=TEXT, ha="right")
    dress(ax, "", "step h", "error of the slope")
    legend(ax, lines, loc="lower left")
    ax.set_ylim(1e-14, 50)
    return page
