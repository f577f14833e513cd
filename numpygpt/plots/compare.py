"""Runs with any tokenizers over each other: bits a byte against steps, tokens and time, and a table below."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from numpygpt.plots.runs import Run, bits_by_nats
from numpygpt.plots.series import frame, smooth, thin
from numpygpt.plots.style import COLOURS, GREY, INK, SIZE, aside, dress, head, legend
from numpygpt.plots.table import Table, draw_table, height_of
from numpygpt.plots.view import COLUMN, Points, View, make_view, number_axis, set_limits
from numpygpt.utils.paths import command, display_path

MOST = 2 * len(COLOURS)  # the second half has the same colours, and dashes
PANELS = 3.7  # inches, as high as the panels are


def size_of(table: Table) -> tuple[float, float]:
    """Inches of a picture with this table."""
    return SIZE[0], PANELS + height_of(table)


def draw_compare(figure: Figure, runs: list[Run], table: Table, span: float | None = None, title: str = "") -> None:
    """Three panels with one y axis, and the table of these runs. One without bits a byte stands in the table alone."""
    check_runs(runs)
    grid = figure.add_gridspec(2, 3, height_ratios=[PANELS, height_of(table)])
    steps = figure.add_subplot(grid[0, 0])
    panels = [steps, figure.add_subplot(grid[0, 1], sharey=steps), figure.add_subplot(grid[0, 2], sharey=steps)]
    for ax, x in zip(panels, COLUMN, strict=True):
        view = make_view(runs, x, span)
        dress(ax, f"By {x}", view.label, "bits a byte" if ax is steps else "")
        number_axis(ax, view, max(run.total(view.column) for run in runs) / view.scale, most=4)
        ax.tick_params(labelleft=ax is steps)
        raw, calm = draw_bits(ax, runs, view)
        if ax is steps and (limits := frame(raw, calm)):
            set_limits(ax, *limits)
    highest = max(float(np.nanmax(y)) for _, y in calm)
    if highest > steps.get_ylim()[1]:
        aside(steps, f"from {highest:.2f}, above")
    legend(panels[-1], meanings(view), loc="upper right")
    draw_table(figure.add_subplot(grid[1, :]), table, [look(i) for i in range(len(runs))])
    names = ", ".join(run.name for run in runs)
    head(figure, title or (names if len(names) <= 60 else f"{len(runs)} runs"))


def check_runs(runs: list[Run]) -> None:
    """ValueError for more runs than can be told apart, and where none has an evaluation in bits a byte."""
    if not 1 <= len(runs) <= MOST:
        raise ValueError(f"{len(runs)} runs: a picture takes 1 to {MOST}, more cannot be told apart; name some of them")
    if not any(np.isfinite(bits_by_nats(run)) for run in runs):
        raise ValueError("no run has an evaluation in bits a byte yet, and nothing else compares; train one until "
                         f"then, or draw {command('plot.py', 'curves', *(display_path(run.folder) for run in runs))}")


def look(i: int) -> dict[str, Any]:
    """What tells the i-th run from the others."""
    return {"color": COLOURS[i % len(COLOURS)], "linestyle": "-" if i < len(COLOURS) else (0, (3, 1.2))}


def draw_bits(ax: Axes, runs: list[Run], view: View) -> tuple[list[Points], list[Points]]:
    """The lines of each run that has bits a byte: training, validation, and a star at the best evaluation.

    Training losses are in nats a token; the ratio of tokens to bytes in the whole training text makes them bits a byte.
    Where that is not known there is no training line.
    """
    raw: list[Points] = []
    calm: list[Points] = []
    for i, run in enumerate(runs):
        train, table = run.metrics.train, run.metrics.eval
        if not np.isfinite(bits_by_nats(run)):
            continue
        if np.isfinite(run.train_bits_by_nats):
            raw.append(thin(view.x(train), run.train_bits_by_nats * smooth(train["loss"], view.span)))
            ax.plot(*raw[-1], linewidth=1.0, alpha=0.4, label=f"{run.name}: train", **look(i))
        x, y = view.x(table), table["bits_per_byte"]
        calm.append(thin(x, y))
        size = float(np.clip(200 / len(x), 1.2, 3.5))
        ax.plot(*calm[-1], linewidth=1.8, marker="o", markersize=size, label=f"{run.name}: validation", **look(i))
        best = np.nanargmin(y)
        ax.plot(
            x[best], y[best], "*", markersize=11, color=look(i)["color"], markeredgecolor=INK, markeredgewidth=0.8,
            zorder=5, label=f"{run.name}: best",
        )  # fmt: skip
    return raw, calm


def meanings(view: View) -> list[tuple[Artist, str]]:
    """What the line styles mean; the colours stand in the table."""
    train = f"train, mean of {view.span:,.0f}" if view.span > 1 else "train"
    return [
        (Line2D([], [], color=GREY, linewidth=1.0, alpha=0.6), train),
        (Line2D([], [], color=GREY, linewidth=1.8, marker="o", markersize=3.5), "validation"),
        (Line2D([], [], color=GREY, linestyle="", marker="*", markersize=10, markeredgecolor=INK), "best validation"),
    ]
