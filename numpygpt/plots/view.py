"""What the panels of a run share: the x axis, the smoothing, the colours, and the line that is faint and strong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator

from numpygpt.plots.runs import Run
from numpygpt.plots.series import smooth, thin, time_unit
from numpygpt.plots.style import COLOURS, VERMILLION, note

COLUMN = {"steps": "step", "tokens": "tokens", "time": "seconds"}
Points = tuple[np.ndarray, np.ndarray]


@dataclass
class View:
    """`column` over `scale` is the x axis, `span` the rows that a smoothed value averages, `single` whether one run."""

    column: str
    scale: float
    label: str
    span: float
    single: bool

    def x(self, table: dict[str, np.ndarray]) -> np.ndarray:
        return table[self.column] / self.scale

    def colours(self, i: int) -> tuple[str, str]:
        """Of train and of validation: two when the run is alone, else the run's own for both."""
        return (COLOURS[0], VERMILLION) if self.single else (COLOURS[i], COLOURS[i])


def make_view(runs: list[Run], x: str, span: float | None) -> View:
    if x not in COLUMN:
        raise ValueError(f"x is {x!r}, and must be one of {', '.join(COLUMN)}")
    scale, label = 1.0, {"steps": "step (updates)", "tokens": "training tokens"}.get(x, "")
    if x == "time":
        scale, unit = time_unit(max(run.total("seconds") for run in runs))
        label = f"training time ({unit})"
    return View(COLUMN[x], scale, label, default_span(runs) if span is None else span, len(runs) == 1)


def default_span(runs: list[Run]) -> int:
    """1 % of the longest run: the jumps of single batches go, the fall at the start is not delayed to the eye."""
    return max(1, max(len(run.metrics.train["step"]) for run in runs) // 100)


def number_axis(ax: Axes, view: View, last: float, most: int = 6) -> None:
    """Round numbers along x, about `most`: whole steps, and k and M where the digits would run into each other."""
    round_ones, whole = [1, 2, 2.5, 5, 10], view.column == "step"
    ax.xaxis.set_major_locator(MaxNLocator(most, integer=whole, steps=round_ones, min_n_ticks=1))
    if view.column == "tokens" or last >= 1e5:
        ax.xaxis.set_major_formatter(EngFormatter(sep=" "))
    elif view.column == "step":
        ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.tick_params(labelbottom=True)  # a shared axis would leave the upper row without numbers


def draw_smoothed(
    ax: Axes, run: Run, name: str, view: View, colour: str, raw: list[Points], calm: list[Points]
) -> Line2D | None:
    """A column of the train rows, faint as it is and strong as its average; both are added to the lists for `frame`."""
    table = run.metrics.train
    if name not in table or not len(table[name]):
        return None
    x, y = view.x(table), table[name]
    look: dict[str, Any] = {
        "color": colour,
        "marker": "." if len(x) == 1 else None,
    }  # a line through one point is not seen
    points = thin(x, y)
    raw.append(points)
    if view.span <= 1:
        (line,) = ax.plot(*points, label=f"{run.name}: {name}, raw", linewidth=1.0, **look)
        return line
    ax.plot(*points, label=f"{run.name}: {name}, raw", linewidth=0.7, alpha=0.3 if view.single else 0.18, **look)
    points = thin(x, smooth(y, view.span))
    calm.append(points)
    (line,) = ax.plot(*points, label=f"{run.name}: {name}, smoothed", linewidth=1.4, **look)
    return line


def set_limits(ax: Axes, low: float, high: float) -> None:
    pad = 0.06 * (high - low) or 0.1 * abs(high) or 1.0  # one value alone has no range
    ax.set_ylim(low - pad, high + pad)


def leave_empty(ax: Axes, why: str) -> None:
    """A panel without data says so, and shows no numbers that would look like some."""
    note(ax, why)
    ax.set_yticks([])
