"""How fast a run went, and how often it clipped."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, PercentFormatter

from numpygpt.plots.runs import Run
from numpygpt.plots.series import medians, smooth, thin
from numpygpt.plots.style import aside
from numpygpt.plots.view import View, leave_empty

LEAST = 10  # updates that a share of clipped ones is taken of, at least


def speeds(run: Run) -> np.ndarray:
    """Training tokens a second of each update; nan where it cannot be told, or where the update was traced.

    `step_seconds` of a row is the time of its update alone. Rows of older runs have only `seconds` since the start,
    whose differences hold evaluations and saves too: their medians are right, single values may be too low.
    """
    table = run.metrics.train
    fresh = len(table["step"]) > 0 and table["step"][0] == 1  # else the rows before the first one are not known
    tokens = np.diff(table["tokens"], prepend=0.0 if fresh else np.nan)
    seconds = np.diff(table["seconds"], prepend=np.nan)
    if "step_seconds" in table:
        seconds = np.where(np.isfinite(table["step_seconds"]), table["step_seconds"], seconds)
    found = np.divide(tokens, seconds, out=np.full(len(tokens), np.nan), where=seconds > 0)
    traced = np.isin(table["step"], run.metrics.trace["step"])
    return found if traced.all() else np.where(traced, np.nan, found)  # looking inside takes time of its own


def speed(run: Run) -> float:
    """The median of `speeds`; nan where there is none."""
    known = speeds(run)
    known = known[np.isfinite(known)]
    return float(np.median(known)) if len(known) else float("nan")


def draw_speed(ax: Axes, runs: list[Run], view: View) -> None:
    """Tokens a second, faint as they are and strong as medians, which a pause does not pull down. From 0 on."""
    top = 0.0
    for i, run in enumerate(runs):
        x, y = view.x(run.metrics.train), speeds(run)
        x, y = x[np.isfinite(y)], y[np.isfinite(y)]
        if not len(y):
            continue
        colour, raw = view.colours(i)[0], view.span <= 1
        alpha = 1.0 if raw else 0.3 if view.single else 0.18
        marker = "." if len(y) == 1 else None
        ax.plot(*thin(x, y), color=colour, linewidth=0.7, alpha=alpha, marker=marker, label=f"{run.name}: speed, raw")
        points = (x, y) if raw else medians(x, y, view.span)
        if not raw:
            ax.plot(*points, color=colour, linewidth=1.4, marker=marker, label=f"{run.name}: speed, median")
        top = max(top, float(np.quantile(y, 0.98)), float(points[1].max()))
    if not ax.lines:
        leave_empty(ax, "no times recorded")
        return
    ax.set_ylim(0, 1.1 * top or 1.0)  # no tokens, no speed
    ax.yaxis.set_major_formatter(EngFormatter(sep=" "))
    if view.single:
        aside(ax, f"median {EngFormatter(places=1, sep=' ')(speed(runs[0]))}")


def clipped(run: Run) -> np.ndarray:
    """1 for each update whose gradient was longer than the run's `clip`, 0 for the others, nan for an unknown norm."""
    norms = run.metrics.train.get("grad_norm", np.full(len(run.metrics.train["step"]), np.nan))
    limit = np.inf if run.clip is None else run.clip
    return np.where(np.isfinite(norms), norms > limit, np.nan)


def draw_clipped(ax: Axes, runs: list[Run], view: View) -> None:
    """The share of clipped updates in percent, over the span of the other averages but at least over LEAST updates."""
    clipping = [(i, run) for i, run in enumerate(runs) if run.clip is not None]
    for i, run in clipping:
        shares = 100 * clipped(run)
        if np.isfinite(shares).any():
            points = thin(view.x(run.metrics.train), smooth(shares, max(LEAST, view.span)))
            marker = "." if np.isfinite(shares).sum() == 1 else None
            ax.plot(*points, color=view.colours(i)[0], linewidth=1.4, marker=marker, label=f"{run.name}: clipped")
    if not ax.lines:
        leave_empty(ax, "no gradient norm is finite" if clipping else "nothing is clipped, as far as config.toml tells")
        return
    ax.set_ylim(-3, 103)
    ax.set_yticks(range(0, 101, 20))
    ax.yaxis.set_major_formatter(PercentFormatter())
    if view.single:
        aside(ax, f"{np.nanmean(clipped(runs[0])):.0%} of all updates")
