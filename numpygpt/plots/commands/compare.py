"""./plot.py compare: runs with any tokenizers over each other, in bits per byte, and a table of them."""

from __future__ import annotations

import argparse
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from numpygpt.plots.commands.curves import add_smooth_and_title
from numpygpt.plots.glyphs import drawable
from numpygpt.plots.loss import mark_best, meanings, start_above
from numpygpt.plots.output import NewFigure, Output
from numpygpt.plots.panels import at_median_speed
from numpygpt.plots.runs import RunData, load_runs
from numpygpt.plots.series import smooth
from numpygpt.plots.style import COLOURS, SIZE, aside, dress, head, legend, note, picture
from numpygpt.plots.table import Table, draw_table, height_of, lines_of, table_of
from numpygpt.plots.view import COLUMN, View, draw_line, limits_of, make_view, number_axis, set_limits
from numpygpt.utils.paths import command, display_path

MAX_RUNS = 2 * len(COLOURS)  # the second half has the same colours, and dashes
PANEL_INCHES = 3.7


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="run folders, or their metrics.jsonl")
    add_smooth_and_title(parser, "0 does not average")


def make(args: Namespace, new_figure: NewFigure) -> Output:
    runs = load_runs(args.runs)
    check_runs(runs)
    table = table_of(runs)
    figure = new_figure(size_of(table))
    draw_compare(figure, runs, table, args.smooth, drawable(args.title))
    return picture(figure, runs[0].folder.parent / "compare.png", lines_of(table))


def size_of(table: Table) -> tuple[float, float]:
    return SIZE[0], PANEL_INCHES + height_of(table)


def draw_compare(figure: Figure, runs: list[RunData], table: Table, span: float | None = None, title: str = "") -> None:
    """Draw three panels with one y axis, and the table of these runs. A run without bits per byte is only in the
    table. The third panel has the time that each run takes at its median speed."""
    check_runs(runs)
    paced = [at_median_speed(run) for run in runs]
    grid = figure.add_gridspec(2, 3, height_ratios=[PANEL_INCHES, height_of(table)])
    steps = figure.add_subplot(grid[0, 0])
    panels = [steps, figure.add_subplot(grid[0, 1], sharey=steps), figure.add_subplot(grid[0, 2], sharey=steps)]
    for ax, x in zip(panels, COLUMN, strict=True):
        shown = paced if x == "time" else runs
        view = make_view(shown, x, span)
        dress(ax, f"By {x}", view.label, "bits per byte" if ax is steps else "")
        number_axis(ax, view, shown, most=4)
        ax.tick_params(labelleft=ax is steps)
        train, val = draw_bits(ax, shown, view)
        if ax is steps and (limits := limits_of(train, val)):
            set_limits(ax, *limits)
            note(ax, start_above(ax, val), 0.98, 0.97, ha="right", va="top")
    aside(panels[-1], "at the median speed")
    legend(panels[-1], meanings(view, "-"), loc="upper right")
    draw_table(figure.add_subplot(grid[1, :]), table, [look(i) for i in range(len(runs))])
    names = ", ".join(run.name for run in runs)
    head(figure, title or (names if len(names) <= 60 else f"{len(runs)} runs"))


def check_runs(runs: list[RunData]) -> None:
    """Raise ValueError if there are too many runs to tell apart, or none has an evaluation in bits per byte."""
    if not 1 <= len(runs) <= MAX_RUNS:
        raise ValueError(f"a picture takes 1 to {MAX_RUNS} runs, more cannot be told apart, got {len(runs)}")
    if not any(np.isfinite(run.bits_per_nat) for run in runs):
        curves = command("plot.py", "curves", *(display_path(run.folder) for run in runs))
        raise ValueError("no run has an evaluation in bits per byte yet, so nothing compares; train until the next "
                         f"evaluation, or draw {curves}")


def look(i: int) -> dict[str, Any]:
    return {"color": COLOURS[i % len(COLOURS)], "linestyle": "-" if i < len(COLOURS) else (0, (3, 1.2))}


def draw_bits(ax: Axes, runs: list[RunData], view: View) -> tuple[list[Line2D], list[Line2D]]:
    """Draw the runs that have bits per byte, with a star at the best evaluation. Returns the training lines and the
    validation lines.

    Training losses are in nats per token; the ratio of tokens to bytes in the training text converts them. If the ratio
    is not known, there is no training line.
    """
    training, validation = [], []
    for i, run in enumerate(runs):
        train, table = run.metrics.train, run.metrics.eval
        if not np.isfinite(run.bits_per_nat):
            continue
        if np.isfinite(run.train_bits_per_nat):
            y = run.train_bits_per_nat * smooth(train["loss"], view.span)
            training.append(draw_line(ax, view.x(train), y, linewidth=1.0, alpha=0.4, label=f"{run.name}: train",
                                      **look(i)))
        x, y = view.x(table), table["bits_per_byte"]
        size = float(np.clip(200 / len(x), 1.2, 3.5))
        validation.append(draw_line(ax, x, y, linewidth=1.8, marker="o", markersize=size,
                                    label=f"{run.name}: validation", **look(i)))
        mark_best(ax, run, view, look(i)["color"], "bits_per_byte")
    return training, validation
