"""./plot.py curves: loss, gradients, learning rate and speed, of one run or of several over each other."""

from __future__ import annotations

import argparse
import math
from argparse import Namespace
from pathlib import Path

from matplotlib.figure import Figure

from numpygpt.plots.glyphs import drawable
from numpygpt.plots.layers import draw_layers, parameters_by_layer
from numpygpt.plots.loss import Entries, draw_loss
from numpygpt.plots.output import NewFigure, Output
from numpygpt.plots.panels import draw_norm, draw_rate, draw_speed
from numpygpt.plots.runs import METRICS, RunData, load_run, load_runs, same_tokens, summary
from numpygpt.plots.style import COLOURS, FONT, INK, SIZE, dress, head, legend, new_figure, picture, save
from numpygpt.plots.view import COLUMN, default_span, make_view, number_axis
from numpygpt.training.runs import newest_run
from numpygpt.utils import cli
from numpygpt.utils.console import say
from numpygpt.utils.paths import command, display_path

MAX_SPAN = 1e9  # with a larger one, 1 - 1 / span would be rounded to 1
ROW_INCHES = 2.95
OTHER_TOKENS = ("The runs' tokens differ, so losses in nats per token do not compare: use bits per byte "
                "(./plot.py compare)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "A run that was trained with --trace-every N gets two more panels: the gradient norm\n"
        "and the size of the update of each layer."
    )
    parser.add_argument("runs", metavar="RUN", nargs="*", type=Path,
                        help="run folder, or its metrics.jsonl; several are drawn over each other (default: the "
                             "newest in runs/)")
    parser.add_argument("--x", choices=list(COLUMN), default="steps",
                        help="steps to follow one run, tokens to compare batch sizes, time to compare speed")
    add_smooth_and_title(parser, "0 draws only the raw values")


def add_smooth_and_title(parser: argparse.ArgumentParser, zero: str) -> None:
    parser.add_argument("--smooth", metavar="N", type=span,
                        help="average the noisy losses of single batches over about N updates; "
                             f"{zero} (default: 1 %% of the longest run)")
    parser.add_argument("--title", default="", help="title of the picture (default: the runs' names)")


def span(text: str) -> float:
    try:
        value = cli.number(text)
    except argparse.ArgumentTypeError:
        value = math.nan
    if value != 0 and not 1 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of updates: 0, or at least 1")
    return min(value, MAX_SPAN)


def make(args: Namespace, new_figure: NewFigure) -> Output:
    runs = load_runs(args.runs or [newest()])
    average = default_span(runs) if args.smooth is None else args.smooth
    figure = new_figure(size_of(runs))
    draw_curves(figure, runs, args.x, average, drawable(args.title))
    lines = [summary(run, average) for run in runs]
    if not same_tokens(runs):
        compare = command("plot.py", "compare", *(display_path(run.folder) for run in runs))
        lines.append(f"note: {OTHER_TOKENS.rpartition('(')[0]}({compare})")
    folder = runs[0].folder if len(runs) == 1 else runs[0].folder.parent
    return picture(figure, folder / "curves.png", lines)


def newest() -> Path:
    """Return the run in runs/ that was written last, and print its name."""
    run = newest_run(METRICS)
    say(f"newest run: {display_path(run)}")
    return run


def save_curves(folder: Path) -> Path:
    run = load_run(folder)
    figure = new_figure(size_of([run]))
    draw_curves(figure, [run])
    save(figure, run.folder / "curves.png")
    return run.folder / "curves.png"


def size_of(runs: list[RunData]) -> tuple[float, float]:
    return SIZE[0], ROW_INCHES * (3 if has_layers(runs) else 2)


def has_layers(runs: list[RunData]) -> bool:
    """Whether there are panels by layer: for a single run that was traced."""
    return len(runs) == 1 and bool(parameters_by_layer(runs[0].metrics.trace))


def draw_curves(figure: Figure, runs: list[RunData], x: str = "steps", span: float | None = None,
                title: str = "") -> None:
    """Draw 2 x 2 panels, or 3 x 2 for a traced run: `x` is steps, tokens or time, `span` the number of rows that a
    smoothed value averages."""
    if not 1 <= len(runs) <= len(COLOURS):
        raise ValueError(f"a picture takes 1 to {len(COLOURS)} runs, one per colour, got {len(runs)}")
    view = make_view(runs, x, span)
    panels = figure.subplots(3 if has_layers(runs) else 2, 2, sharex=True)
    (loss, norm), (rate, speed), *deeper = panels
    dress(loss, "Loss", view.label, "nats per token")
    dress(norm, "Gradient norm", view.label, "norm before clipping")
    dress(rate, "Learning rate", view.label, "learning rate")
    dress(speed, "Speed", view.label, "training tokens per second")
    for ax in panels.flat:
        number_axis(ax, view, runs)
    entries = draw_loss(loss, runs, view)
    draw_norm(norm, runs, view)
    draw_rate(rate, runs, view)
    draw_speed(speed, runs, view)
    for layer_norm, ratio in deeper:
        dress(layer_norm, "Gradient norm by layer", view.label, "norm before clipping")
        dress(ratio, "Update by layer", view.label, "norm of step / norm of weights")
        entries = draw_layers(layer_norm, ratio, runs[0], view)
    add_legend(figure, runs, entries)
    names = ", ".join(run.name for run in runs)
    head(figure, title or (names if view.single or len(names) <= 60 else f"{len(runs)} runs"))


def add_legend(figure: Figure, runs: list[RunData], entries: Entries) -> None:
    """Draw the legend under all panels: layers of one run, or runs, with a warning if their losses do not compare."""
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
