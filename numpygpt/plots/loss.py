"""The loss panel: training and validation loss of each run, its best evaluation, and what no line can show."""

from __future__ import annotations

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from numpygpt.plots.runs import Run
from numpygpt.plots.series import frame, thin
from numpygpt.plots.style import GREY, INK, aside, legend, note, shorten_middle
from numpygpt.plots.view import Points, View, draw_smoothed, leave_empty, set_limits

DASHES = (0, (4, 1.5))
Entries = list[tuple[Artist, str]]


def draw_loss(ax: Axes, runs: list[Run], view: View) -> Entries:
    """Draw the panel. Of several runs it returns a legend entry each, for a legend under all panels."""
    raw: list[Points] = []
    calm: list[Points] = []
    entries: Entries = []
    for i, run in enumerate(runs):
        train_colour, val_colour = view.colours(i)
        line = draw_smoothed(ax, run, "loss", view, train_colour, raw, calm)
        val = draw_validation(ax, run, view, val_colour, calm)
        star = mark_best(ax, run, view, val_colour)
        entries += one_run(run, view, line, val, star) if view.single else one_of_several(run, line or val)
    troubles = [words for run in runs for words in describe_broken(run, view)]
    limits = frame(raw, calm)
    if limits is None:
        leave_empty(ax, "\n".join(troubles))
        return [] if view.single else entries
    set_limits(ax, *limits)
    first = [y[np.isfinite(y)][0] for _, y in raw if np.isfinite(y).any()]
    if first and max(first) > ax.get_ylim()[1]:
        aside(ax, f"starts at {max(first):.2f}, above the frame")
    if troubles:
        note(ax, "\n".join(troubles), 0.98, 0.56, colour=INK, ha="right", va="top")
    legend(ax, entries if view.single else meanings(view), loc="upper right")
    return [] if view.single else entries


def draw_validation(ax: Axes, run: Run, view: View, colour: str, calm: list[Points]) -> Line2D | None:
    x, y = view.x(run.metrics.eval), run.metrics.eval["val_loss"]
    if not len(x):
        return None
    points = thin(x, y)
    calm.append(points)
    size = float(np.clip(250 / len(x), 1.5, 4.5 if view.single else 3.5))  # many evaluations: small markers
    (line,) = ax.plot(
        *points, color=colour, linewidth=2.0, linestyle="-" if view.single else DASHES, marker="o", markersize=size,
        markevery=1 if view.single else max(1, len(points[0]) // 20),  # else markers fill the gaps of the dashes
        label=f"{run.name}: validation",
    )  # fmt: skip
    return line


def mark_best(ax: Axes, run: Run, view: View, colour: str) -> Line2D | None:
    best = run.best()
    if best is None:
        return None
    (star,) = ax.plot(
        view.x(run.metrics.eval)[best], run.metrics.eval["val_loss"][best], "*", markersize=13, color=colour,
        markeredgecolor=INK, markeredgewidth=0.8, zorder=5, label=f"{run.name}: best",
    )  # fmt: skip
    return star


def one_run(run: Run, view: View, line: Line2D | None, val: Line2D | None, star: Line2D | None) -> Entries:
    val_name = "validation, sampled tokens" if run.sampled else "validation"
    named = [(line, train_name(view)), (val, val_name), (star, best_words(run))]
    return [(artist, name) for artist, name in named if artist is not None]


def one_of_several(run: Run, line: Line2D | None) -> Entries:
    return [(line, f"{shorten_middle(run.name)}: {best_words(run)}")] if line is not None else []


def meanings(view: View) -> Entries:
    """What the line styles mean where the colours already stand for runs."""
    return [
        (Line2D([], [], color=GREY, linewidth=1.4), train_name(view)),
        (Line2D([], [], color=GREY, linewidth=2.0, linestyle=DASHES, marker="o", markersize=3.5), "validation"),
        (Line2D([], [], color=GREY, linestyle="", marker="*", markersize=11, markeredgecolor=INK), "best validation"),
    ]


def train_name(view: View) -> str:
    return f"train, mean of about {view.span:,.0f}" if view.span > 1 else "train"


def best_words(run: Run) -> str:
    best, table = run.best(), run.metrics.eval
    if best is None:
        return "no finite validation loss" if len(table["step"]) else "no evaluation yet"
    return f"best {table['val_loss'][best]:.3f} at step {table['step'][best]:,}"


def describe_broken(run: Run, view: View) -> list[str]:
    losses = run.metrics.train["loss"]
    broken = np.flatnonzero(~np.isfinite(losses))
    if not len(broken):
        return []
    who = "" if view.single else f"{shorten_middle(run.name, 20)}: "
    noun = "loss" if len(broken) == 1 else "losses"
    return [f"{who}{len(broken):,} {noun} not finite, first at step {run.metrics.train['step'][broken[0]]:,}"]
