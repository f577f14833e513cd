"""What the panels of a run share: the x axis, smoothing, colours, and lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator

from numpygpt.plots.runs import RunData
from numpygpt.plots.series import frame, smooth, time_unit
from numpygpt.plots.style import COLOURS, VERMILLION, note

COLUMN = {"steps": "step", "tokens": "tokens", "time": "seconds"}


@dataclass
class View:
    """The x axis is `column` divided by `scale`. A smoothed value averages `span` rows. `single`: there is one run."""

    column: str
    scale: float
    label: str
    span: float
    single: bool

    def x(self, table: dict[str, np.ndarray]) -> np.ndarray:
        return table[self.column] / self.scale

    def colours(self, i: int) -> tuple[str, str]:
        """Return the colours of training and validation: one each for a single run, else the i-th run's for both."""
        return (COLOURS[0], VERMILLION) if self.single else (COLOURS[i], COLOURS[i])


def make_view(runs: list[RunData], x: str, span: float | None) -> View:
    if x not in COLUMN:
        raise ValueError(f"x must be one of {', '.join(COLUMN)}, got {x!r}")
    scale, label = 1.0, {"steps": "step", "tokens": "training tokens"}.get(x, "")
    if x == "time":
        scale, unit = time_unit(max(run.total("seconds") for run in runs))
        label = f"training time ({unit})"
    return View(COLUMN[x], scale, label, default_span(runs) if span is None else span, len(runs) == 1)


def default_span(runs: list[RunData]) -> int:
    """Return 1 % of the longest run: that smooths the noise of single batches, and hardly delays the first drop."""
    return max(1, max(len(run.metrics.train["step"]) for run in runs) // 100)


def number_axis(ax: Axes, view: View, runs: list[RunData], most: int = 6) -> None:
    """Put about `most` round numbers along x: whole steps, with k and M if the digits would run together."""
    last = max(run.total(view.column) for run in runs) / view.scale
    integer = view.column == "step"
    ax.xaxis.set_major_locator(MaxNLocator(most, integer=integer, steps=[1, 2, 2.5, 5, 10], min_n_ticks=1))
    if view.column == "tokens" or last >= 1e5:
        ax.xaxis.set_major_formatter(EngFormatter(sep=" "))
    elif integer:
        ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.tick_params(labelbottom=True)  # a shared axis would hide the numbers of the upper rows


def draw_line(ax: Axes, x: np.ndarray, y: np.ndarray, **look: Any) -> Line2D:
    """Draw a line; a single point gets a marker."""
    if np.isfinite(y).sum() == 1:
        look = {"marker": "."} | look
    (line,) = ax.plot(x, y, **look)
    return line


def draw_smoothed(ax: Axes, run: RunData, name: str, view: View, colour: str) -> list[Line2D]:
    """Draw a column of the train rows: faint as it is, and strong as its average. Returns the lines: none without
    data, and the raw one alone without smoothing."""
    table = run.metrics.train
    if name not in table or not len(table[name]):
        return []
    x, y = view.x(table), table[name]
    faint = {"linewidth": 0.7, "alpha": 0.3 if view.single else 0.18} if view.span > 1 else {"linewidth": 1.0}
    lines = [draw_line(ax, x, y, color=colour, label=f"{run.name}: {name}, raw", **faint)]
    if view.span > 1:
        smoothed = smooth(y, view.span)
        lines.append(draw_line(ax, x, smoothed, color=colour, linewidth=1.4, label=f"{run.name}: {name}, smoothed"))
    return lines


def limits_of(noisy: Sequence[Line2D], calm: Sequence[Line2D]) -> tuple[float, float] | None:
    """Return the range of y worth showing, as `series.frame` does, for lines that were drawn."""
    raw, smoothed = ([line.get_data() for line in lines] for lines in (noisy, calm))
    return frame(raw, smoothed)  # type: ignore[arg-type]


def set_limits(ax: Axes, low: float, high: float) -> None:
    pad = 0.06 * (high - low) or 0.1 * abs(high) or 1.0  # a single value has no range
    ax.set_ylim(low - pad, high + pad)


def leave_empty(ax: Axes, why: str) -> None:
    """Say in a panel without data why it is empty, and remove the numbers of its y axis."""
    note(ax, why)
    ax.set_yticks([])
