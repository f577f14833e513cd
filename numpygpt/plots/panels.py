"""The panels of a run's curves other than the loss: gradient norm, learning rate and speed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter

from numpygpt.plots.runs import RunData
from numpygpt.plots.series import medians
from numpygpt.plots.style import INK, aside
from numpygpt.plots.view import View, draw_line, draw_smoothed, leave_empty, limits_of, set_limits

MAX_RATIO = 20  # learning rates further apart than this need a logarithmic axis
DASHED = (0, (2, 2))


def draw_norm(ax: Axes, runs: list[RunData], view: View) -> None:
    """The norm of all gradients before clipping, on a logarithmic axis if it spans more than a factor of 30. A dashed
    line shows where the run clips; for a single run we also write how many of its updates were clipped."""
    raw: list[Line2D] = []
    calm: list[Line2D] = []
    for i, run in enumerate(runs):
        lines = draw_smoothed(ax, run, "grad_norm", view, view.colours(i)[0])
        raw += lines[:1]
        calm += lines[1:]
    limits = limits_of(raw, calm)
    if limits is None:
        leave_empty(ax, "no gradient norm is finite" if raw else "no gradient norm recorded")
        return
    low, high = limits
    clips = sorted({run.clip for run in runs if run.clip is not None})
    for clip in clips:
        ax.axhline(clip, color=INK, linewidth=1.2, linestyle=DASHED, label="clip")
        if low / 4 < clip < high * 4:  # further away, it would flatten the curve
            low, high = min(low, clip), max(high, clip)
    if low > 0 and high / low > 30:
        ax.set_yscale("log")
        ax.set_ylim(low / 1.3, high * 1.3)
    else:
        set_limits(ax, low, high)
    if clips:
        many = f": {np.nanmean(clipped(runs[0])):.0%}" if view.single else ""
        aside(ax, f"clipped above {', '.join(f'{clip:g}' for clip in clips)} (dashed){many}")


def clipped(run: RunData) -> np.ndarray:
    """Return 1 for each update whose gradient norm was above the run's `clip`, 0 for the others, nan if unknown."""
    norms = run.metrics.train.get("grad_norm", np.full(len(run.metrics.train["step"]), np.nan))
    limit = np.inf if run.clip is None else run.clip
    return np.where(np.isfinite(norms), norms > limit, np.nan)


def draw_rate(ax: Axes, runs: list[RunData], view: View) -> None:
    """The learning rate from 0 up, or on a logarithmic axis if the runs' highest rates are far apart."""
    tops = []
    for i, run in enumerate(runs):
        table = run.metrics.train
        if "lr" in table and np.isfinite(table["lr"]).any():
            draw_line(ax, view.x(table), table["lr"], color=view.colours(i)[0], linewidth=1.6, label=f"{run.name}: lr")
            tops.append(float(np.nanmax(table["lr"])))
    if not ax.lines:
        leave_empty(ax, "no learning rate recorded")
        return
    lowest, top = min(tops), max(tops)
    if 0 < lowest < top / MAX_RATIO:
        ax.set_yscale("log")
        ax.set_ylim(lowest / 20, 3 * top)  # down to the end of a schedule, a tenth of its highest rate
        return
    ax.set_ylim(0, 1.1 * top or 1.0)
    if top >= 1e-4:  # 0.00005 beside 0.0001, where the default would change to 5e-05
        ax.yaxis.set_major_formatter(lambda value, _: np.format_float_positional(value, precision=7, trim="-"))
    else:
        ax.yaxis.set_major_formatter("{x:g}")


def speeds(run: RunData) -> np.ndarray:
    """Return the training tokens per second of each update; nan if unknown, or if the update was traced.

    `step_seconds` of a row is the time of its update alone. Rows of older runs have only `seconds` since the start: the
    differences include evaluations and saves, so their median is correct but single values may be too low.
    """
    table = run.metrics.train
    first_known = len(table["step"]) > 0 and table["step"][0] == 1
    tokens = np.diff(table["tokens"], prepend=0.0 if first_known else np.nan)
    seconds = np.diff(table["seconds"], prepend=np.nan)
    if "step_seconds" in table:
        seconds = np.where(np.isfinite(table["step_seconds"]), table["step_seconds"], seconds)
    found = np.divide(tokens, seconds, out=np.full(len(tokens), np.nan), where=seconds > 0)
    traced = np.isin(table["step"], run.metrics.trace["step"])
    return found if traced.all() else np.where(traced, np.nan, found)  # tracing takes time of its own


def speed(run: RunData) -> float:
    known = speeds(run)
    known = known[np.isfinite(known)]
    return float(np.median(known)) if len(known) else float("nan")


def at_median_speed(run: RunData) -> RunData:
    """Return the run with the times that it takes at its median speed: evaluations, pauses and other programs do not
    count. A run of unknown speed keeps its times."""
    pace = speed(run)
    if not pace > 0:
        return run
    train, evals = ({**table, "seconds": table["tokens"] / pace} for table in (run.metrics.train, run.metrics.eval))
    return replace(run, metrics=replace(run.metrics, train=train, eval=evals))


def draw_speed(ax: Axes, runs: list[RunData], view: View) -> None:
    """Tokens per second from 0 up: faint as measured, and strong as medians, which ignore a pause."""
    top = 0.0
    for i, run in enumerate(runs):
        x, y = view.x(run.metrics.train), speeds(run)
        x, y = x[np.isfinite(y)], y[np.isfinite(y)]
        if not len(y):
            continue
        colour, raw = view.colours(i)[0], view.span <= 1
        alpha = 1.0 if raw else 0.3 if view.single else 0.18
        draw_line(ax, x, y, color=colour, linewidth=0.7, alpha=alpha, label=f"{run.name}: speed, raw")
        shown = (x, y) if raw else medians(x, y, view.span)
        if not raw:
            draw_line(ax, *shown, color=colour, linewidth=1.4, label=f"{run.name}: speed, median")
        top = max(top, float(np.quantile(y, 0.98)), float(shown[1].max()))
    if not ax.lines:
        leave_empty(ax, "no times recorded")
        return
    ax.set_ylim(0, 1.1 * top or 1.0)
    ax.yaxis.set_major_formatter(EngFormatter(sep=" "))
    if view.single:
        aside(ax, f"median {EngFormatter(places=1, sep=' ')(speed(runs[0]))}")
