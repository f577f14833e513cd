"""The loss panel: training and validation loss of each run, its best evaluation, and what no line can show."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from numpygpt.inspection.surprise import shorten_middle
from numpygpt.plots.runs import RunData
from numpygpt.plots.style import GREY, INK, aside, legend, note
from numpygpt.plots.view import View, draw_line, draw_smoothed, leave_empty, limits_of, set_limits

DASHES = (0, (4, 1.5))
Entries = list[tuple[Artist, str]]


def draw_loss(ax: Axes, runs: list[RunData], view: View) -> Entries:
    """Draw the panel. For several runs, return one legend entry each, for a legend under all panels."""
    raw: list[Line2D] = []
    calm: list[Line2D] = []
    entries: Entries = []
    for i, run in enumerate(runs):
        train_colour, val_colour = view.colours(i)
        lines = draw_smoothed(ax, run, "loss", view, train_colour)
        val = draw_validation(ax, run, view, val_colour)
        star = mark_best(ax, run, view, val_colour)
        raw += lines[:1]
        calm += [*lines[1:], *val]
        if view.single:
            name = "validation, sampled tokens" if run.sampled else "validation"
            named = [(lines[-1:], train_name(view)), (val, name), (star, best_words(run))]
            entries += [(artist, words) for artists, words in named for artist in artists]
        elif lines or val:
            entries.append(((lines or val)[-1], f"{shorten_middle(run.name)}: {best_words(run)}"))
    troubles = [words for run in runs for words in describe_broken(run, view)]
    limits = limits_of(raw, calm)
    if limits is None:
        leave_empty(ax, "\n".join(troubles))
        return [] if view.single else entries
    set_limits(ax, *limits)
    aside(ax, start_above(ax, raw))
    if troubles:
        note(ax, "\n".join(troubles), 0.98, 0.56, colour=INK, ha="right", va="top")
    legend(ax, entries if view.single else meanings(view), loc="upper right")
    return [] if view.single else entries


def start_above(ax: Axes, lines: list[Line2D]) -> str:
    """Say where the lines start, if that is above the frame."""
    first = [y[np.isfinite(y)][0] for y in (np.asarray(line.get_ydata()) for line in lines) if np.isfinite(y).any()]
    above = first and max(first) > ax.get_ylim()[1]
    return f"starts at {max(first):.2f}, above the frame" if above else ""


def draw_validation(ax: Axes, run: RunData, view: View, colour: str) -> list[Line2D]:
    x, y = view.x(run.metrics.eval), run.metrics.eval["val_loss"]
    if not len(x):
        return []
    size = float(np.clip(250 / len(x), 1.5, 4.5 if view.single else 3.5))  # many evaluations: small markers
    every = 1 if view.single else max(1, len(x) // 20)  # more markers would fill the gaps of the dashes
    return [draw_line(ax, x, y, color=colour, linewidth=2.0, linestyle="-" if view.single else DASHES, marker="o",
                      markersize=size, markevery=every, label=f"{run.name}: validation")]


def mark_best(ax: Axes, run: RunData, view: View, colour: str, column: str = "val_loss") -> list[Line2D]:
    best, table = run.best(), run.metrics.eval
    if best is None:
        return []
    return ax.plot(view.x(table)[best], table[column][best], "*", markersize=13, color=colour, markeredgecolor=INK,
                   markeredgewidth=0.8, zorder=5, label=f"{run.name}: best")


def meanings(view: View, dashes: Any = DASHES) -> Entries:
    """Return the legend of the line styles, for several runs: there the colours stand for runs."""
    return [
        (Line2D([], [], color=GREY, linewidth=1.4), train_name(view)),
        (Line2D([], [], color=GREY, linewidth=2.0, linestyle=dashes, marker="o", markersize=3.5), "validation"),
        (Line2D([], [], color=GREY, linestyle="", marker="*", markersize=11, markeredgecolor=INK), "best validation"),
    ]


def train_name(view: View) -> str:
    return f"train, mean of about {view.span:,.0f}" if view.span > 1 else "train"


def best_words(run: RunData) -> str:
    best, table = run.best(), run.metrics.eval
    if best is None:
        return "no finite validation loss" if len(table["step"]) else "no evaluation yet"
    return f"best {table['val_loss'][best]:.3f} at step {table['step'][best]:,}"


def describe_broken(run: RunData, view: View) -> list[str]:
    """Say how many training losses are not finite, which no line can show."""
    losses = run.metrics.train["loss"]
    broken = np.flatnonzero(~np.isfinite(losses))
    if not len(broken):
        return []
    who = "" if view.single else f"{shorten_middle(run.name, 20)}: "
    noun = "loss" if len(broken) == 1 else "losses"
    return [f"{who}{len(broken):,} {noun} not finite, first at step {run.metrics.train['step'][broken[0]]:,}"]
