"""The panels of a run's curves other than the loss: changes, gradient norm, clipping, learning rate and speed."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, PercentFormatter

from numpygpt.plots.runs import RunData
from numpygpt.plots.series import medians, smooth
from numpygpt.plots.style import INK, aside, note
from numpygpt.plots.view import View, draw_line, draw_smoothed, leave_empty, limits_of, set_limits

MAX_STEMS = 200  # more stems overlap
MAX_RATIO = 20  # learning rates further apart than this need a logarithmic axis
MIN_CLIP_SPAN = 10  # updates, at least, that a percentage of clipped ones is computed from
DASHED = (0, (2, 2))


def draw_changes(ax: Axes, runs: list[RunData], view: View) -> None:
    """val_loss[i] - val_loss[i-1] at evaluation i: stems for one run, joined points for several, bare ones for many."""
    drawn = []
    for i, run in enumerate(runs):
        x, y = view.x(run.metrics.eval)[1:], np.diff(run.metrics.eval["val_loss"])
        if not np.isfinite(y).any():
            continue
        drawn.append(y[np.isfinite(y)])
        colour, few = view.colours(i)[1], len(y) <= MAX_STEMS
        if view.single and few:
            width = float(np.clip(150 / len(y), 0.6, 3.0))
            ax.vlines(x, 0, y, color=colour, linewidth=width, label=f"{run.name}: stems")
        size = float(np.clip(200 / len(y), 1.5, 4.5))
        ax.plot(x, y, color=colour, linestyle="-" if few and not view.single else "", linewidth=1.0, marker="o",
                markersize=size, label=f"{run.name}: change")
    if not drawn:
        evals = max(len(run.metrics.eval["step"]) for run in runs)
        reasons = {0: "no evaluation yet", 1: "one evaluation: no change yet"}
        leave_empty(ax, reasons.get(evals, "no change is finite"))
        return
    ax.axhline(0, color=INK, linewidth=0.9, label="zero")
    low, high = changes_worth_showing(drawn)
    ax.set_ylim(low, high)
    outside = [value for y in drawn for value in y if not low <= value <= high]
    beyond = f"\n{len(outside)} outside the frame, up to {max(outside, key=abs):+.2f}" if outside else ""
    note(ax, f"below 0: better{beyond}", 0.98, 0.05, ha="right", va="bottom", linespacing=1.4)


def changes_worth_showing(changes: list[np.ndarray]) -> tuple[float, float]:
    """Return the range of y for the changes of each run. The first quarter of a run does not set it: a loss first drops
    by whole nats, and that would flatten all later changes."""
    later = np.concatenate([y[len(y) // 4 if len(y) >= 4 else 0:] for y in changes])
    largest = float(np.abs(later).max()) or float(max(np.abs(y).max() for y in changes)) or 1.0
    return min(1.2 * float(later.min()), -0.3 * largest), max(1.2 * float(later.max()), 0.3 * largest)


def draw_norm(ax: Axes, runs: list[RunData], view: View) -> None:
    """The norm of all gradients before clipping, on a logarithmic axis if it spans more than a factor of 30."""
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
        aside(ax, f"dashed: clipped above {', '.join(f'{clip:g}' for clip in clips)}")


def clipped(run: RunData) -> np.ndarray:
    """Return 1 for each update whose gradient norm was above the run's `clip`, 0 for the others, nan if unknown."""
    norms = run.metrics.train.get("grad_norm", np.full(len(run.metrics.train["step"]), np.nan))
    limit = np.inf if run.clip is None else run.clip
    return np.where(np.isfinite(norms), norms > limit, np.nan)


def draw_clipped(ax: Axes, runs: list[RunData], view: View) -> None:
    """The percentage of clipped updates, smoothed like the other curves but over at least MIN_CLIP_SPAN updates."""
    clipping = [(i, run) for i, run in enumerate(runs) if run.clip is not None]
    for i, run in clipping:
        percent = 100 * clipped(run)
        if np.isfinite(percent).any():
            y = smooth(percent, max(MIN_CLIP_SPAN, view.span))
            draw_line(ax, view.x(run.metrics.train), y, color=view.colours(i)[0], linewidth=1.4,
                      label=f"{run.name}: clipped")
    if not ax.lines:
        leave_empty(ax, "no gradient norm is finite" if clipping else "config.toml sets no clipping")
        return
    ax.set_ylim(-3, 103)
    ax.set_yticks(range(0, 101, 20))
    ax.yaxis.set_major_formatter(PercentFormatter())
    if view.single:
        aside(ax, f"{np.nanmean(clipped(runs[0])):.0%} of all updates")


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
