"""The curves of one run or of several: loss and what each evaluation gained, gradients, learning rate and speed."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from numpygpt.plots.layers import draw_layers, parameters_by_layer
from numpygpt.plots.loss import Entries, draw_loss
from numpygpt.plots.runs import Run, same_tokens
from numpygpt.plots.series import changes, frame, thin
from numpygpt.plots.speed import draw_clipped, draw_speed
from numpygpt.plots.style import COLOURS, FONT, INK, SIZE, aside, dress, head, legend, note
from numpygpt.plots.view import Points, View, draw_smoothed, leave_empty, make_view, number_axis, set_limits

STEMS = 200  # more of them run into each other
FAR = 20  # times: rates so far apart need a logarithmic axis
ROW = 2.95  # inches
OTHER_TOKENS = "their tokens differ, so nats a token do not compare: ./plot.py compare draws bits a byte"


def size_of(runs: list[Run]) -> tuple[float, float]:
    """Inches: as wide as every picture, and as high as the rows of panels need."""
    return SIZE[0], ROW * (4 if has_layers(runs) else 3)


def has_layers(runs: list[Run]) -> bool:
    """Whether there are panels by layer: for one run alone, and one that was traced."""
    return len(runs) == 1 and bool(parameters_by_layer(runs[0].metrics.trace))


def draw_curves(figure: Figure, runs: list[Run], x: str = "steps", span: float | None = None, title: str = "") -> None:
    """Draw 3 x 2 panels, of one traced run 4 x 2: `x` is steps, tokens or time, `span` the number of rows that a
    smoothed value averages."""
    if not 1 <= len(runs) <= len(COLOURS):
        raise ValueError(f"{len(runs)} runs: a picture takes 1 to {len(COLOURS)}, for more have no colour of their own")
    view = make_view(runs, x, span)
    panels = figure.subplots(4 if has_layers(runs) else 3, 2, sharex=True)
    (loss, change), (norm, clip), (rate, speed), *deeper = panels
    dress(loss, "Loss", view.label, "nats a token")
    dress(change, "Change since the last evaluation", view.label, "validation loss (nats)")
    dress(norm, "Gradient norm", view.label, "norm before clipping")
    dress(clip, "Clipped updates", view.label, "share of updates")
    dress(rate, "Learning rate", view.label, "step size of an update")
    dress(speed, "Speed", view.label, "training tokens a second")
    for ax in panels.flat:
        number_axis(ax, view, max(run.total(view.column) for run in runs) / view.scale)
    entries = draw_loss(loss, runs, view)
    draw_changes(change, runs, view)
    draw_norm(norm, runs, view)
    draw_clipped(clip, runs, view)
    draw_rate(rate, runs, view)
    draw_speed(speed, runs, view)
    for layer_norm, ratio in deeper:
        dress(layer_norm, "Gradient norm by layer", view.label, "norm before clipping")
        dress(ratio, "Update by layer", view.label, "norm of step / norm of weights")
        entries = draw_layers(layer_norm, ratio, runs[0], view)
    explain(figure, runs, entries)
    names = ", ".join(run.name for run in runs)
    head(figure, title or (names if view.single or len(names) <= 60 else f"{len(runs)} runs"))


def explain(figure: Figure, runs: list[Run], entries: Entries) -> None:
    """The legend under all panels: layers of one run, or runs, with a warning where their losses do not compare."""
    if not entries:
        return
    if len(runs) == 1:
        legend(figure, entries, loc="outside lower center", ncols=7)
        return
    columns = 2 if len(entries) > 1 and max(len(name) for _, name in entries) <= 55 else 1
    box = legend(figure, entries, loc="outside lower center", ncols=columns)
    if not same_tokens(runs):
        box.set_title(OTHER_TOKENS)
        box.get_title().set(fontsize=FONT - 1, color=INK)


def draw_norm(ax: Axes, runs: list[Run], view: View) -> None:
    """The norm of all gradients before clipping, on a logarithmic scale when it spans more than a factor of 30."""
    raw: list[Points] = []
    calm: list[Points] = []
    for i, run in enumerate(runs):
        draw_smoothed(ax, run, "grad_norm", view, view.colours(i)[0], raw, calm)
    limits = frame(raw, calm)
    if limits is None:
        leave_empty(ax, "no gradient norm is finite" if raw else "no gradient norm recorded")
        return
    low, high = limits
    clips = sorted({run.clip for run in runs if run.clip is not None})
    for clip in clips:
        ax.axhline(clip, color=INK, linewidth=1.2, linestyle=(0, (2, 2)), label="clip")
        if low / 4 < clip < high * 4:  # farther off, it would flatten the curve
            low, high = min(low, clip), max(high, clip)
    if low > 0 and high / low > 30:
        ax.set_yscale("log")
        ax.set_ylim(low / 1.3, high * 1.3)
    else:
        set_limits(ax, low, high)
    if clips:
        aside(ax, f"dashed: clipped above {', '.join(f'{clip:g}' for clip in clips)}")


def draw_rate(ax: Axes, runs: list[Run], view: View) -> None:
    """From 0 up, or on a logarithmic axis where one run's highest rate is below 1/FAR of another's."""
    tops = []
    for i, run in enumerate(runs):
        table = run.metrics.train
        if "lr" in table and np.isfinite(table["lr"]).any():
            ax.plot(
                *thin(view.x(table), table["lr"]), color=view.colours(i)[0], linewidth=1.6,
                marker="." if len(table["lr"]) == 1 else None, label=f"{run.name}: lr",
            )  # fmt: skip
            tops.append(float(np.nanmax(table["lr"])))
    if not ax.lines:
        leave_empty(ax, "no learning rate recorded")
        return
    lowest, top = min(tops), max(tops)
    if 0 < lowest < top / FAR:
        ax.set_yscale("log")
        ax.set_ylim(lowest / 20, 3 * top)  # down to the end of a schedule, a tenth of its highest
        return
    ax.set_ylim(0, 1.1 * top or 1.0)
    if top >= 1e-4:  # 0.00005 beside 0.0001, where the default would change to 5e-05
        ax.yaxis.set_major_formatter(lambda value, _: np.format_float_positional(value, precision=7, trim="-"))
    else:
        ax.yaxis.set_major_formatter("{x:g}")


def draw_changes(ax: Axes, runs: list[Run], view: View) -> None:
    """val_loss[i] - val_loss[i-1] at evaluation i: stems for one run, joined points for several, bare ones for many."""
    drawn = []
    for i, run in enumerate(runs):
        x, y = view.x(run.metrics.eval)[1:], changes(run.metrics.eval["val_loss"])
        if not np.isfinite(y).any():
            continue
        drawn.append(y[np.isfinite(y)])
        colour, few = view.colours(i)[1], len(y) <= STEMS
        if view.single and few:
            width = float(np.clip(150 / len(y), 0.6, 3.0))
            ax.vlines(x, 0, y, color=colour, linewidth=width, label=f"{run.name}: stems")
        ax.plot(
            x, y, color=colour, linestyle="-" if few and not view.single else "", linewidth=1.0, marker="o",
            markersize=float(np.clip(200 / len(y), 1.5, 4.5)), label=f"{run.name}: change",
        )  # fmt: skip
    if not drawn:
        evals = max(len(run.metrics.eval["step"]) for run in runs)
        reasons = {0: "no evaluation yet", 1: "one evaluation: no change yet"}
        leave_empty(ax, reasons.get(evals, "no change is finite"))
        return
    ax.axhline(0, color=INK, linewidth=0.9, label="zero")
    scale_changes(ax, np.concatenate(drawn))
    note(ax, "below 0: better", 0.98, 0.05, ha="right", va="bottom")


def scale_changes(ax: Axes, values: np.ndarray) -> None:
    """Logarithmic to both sides of 0 where the first drop would hide all later ones: -1 beside -0.01."""
    sizes = np.abs(values[values != 0])
    if not len(sizes):
        return
    grow, near = 1.1, 0.3 * sizes.max()
    if sizes.max() > 20 * np.median(sizes):
        grow, near = 1.8, float(10 ** np.floor(np.log10(np.median(sizes))))
        ax.set_yscale("symlog", linthresh=near)
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:+g}".replace("-", "\N{MINUS SIGN}") if value else "0")
    ax.set_ylim(min(grow * values.min(), -near / 3), max(grow * values.max(), near / 3))
