"""./plot.py curves: the curves of one run or of several over each other."""

from __future__ import annotations

import argparse
import math
from argparse import Namespace
from functools import partial
from pathlib import Path

from numpygpt.plots import style
from numpygpt.plots.curves import OTHER_TOKENS, draw_curves, size_of
from numpygpt.plots.drawn import Drawn, NewFigure
from numpygpt.plots.glyphs import drawable
from numpygpt.plots.runs import METRICS, load_runs, same_tokens, summary
from numpygpt.plots.view import COLUMN, default_span
from numpygpt.training.checkpoint import newest_run
from numpygpt.utils import cli
from numpygpt.utils.paths import ROOT, command, display_path

LONGEST = 1e9  # with a larger span 1 - 1 / span would be rounded to 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "A run that was trained with --trace-every N gets two panels more,\n"
        "with the gradient norm and the size of the update of each layer."
    )
    parser.add_argument(
        "runs", metavar="RUN", nargs="*", type=Path,
        help="run folder, or its metrics.jsonl; several are drawn over each other (default: the "
        "newest under runs/)",
    )  # fmt: skip
    parser.add_argument(
        "--x", choices=list(COLUMN), default="steps",
        help="steps to follow one run, tokens to compare batch sizes, time to compare speed",
    )  # fmt: skip
    parser.add_argument(
        "--smooth", metavar="N", type=span,
        help="average over about N updates, because the loss of one batch jumps; 0 draws the raw values alone "
        "(default: 1 %% of the longest run)",
    )  # fmt: skip
    parser.add_argument("--title", default="", help="words over the picture, for a report (default: the run's name)")


def make(args: Namespace, new_figure: NewFigure) -> Drawn:
    runs = load_runs(args.runs or [newest()])
    average = default_span(runs) if args.smooth is None else args.smooth
    figure = new_figure(size_of(runs))
    draw_curves(figure, runs, args.x, average, drawable(args.title))
    lines = [summary(run, average) for run in runs]
    if not same_tokens(runs):
        compare = command("plot.py", "compare", *(display_path(run.folder) for run in runs))
        lines.append(f"note: {OTHER_TOKENS} ({compare})")
    folder = runs[0].folder if len(runs) == 1 else runs[0].folder.parent
    return Drawn(partial(style.save, figure), folder / "curves.png", lines)


def span(text: str) -> float:
    """The value of --smooth: 0, or a number of updates, of which LONGEST are as good as more."""
    try:
        value = cli.number(text)
    except argparse.ArgumentTypeError:
        value = math.nan
    if 0 < value < 1:  # as TensorBoard's slider has it
        weight = f"a weight of {text} for the past is --smooth {1 / (1 - value):.3g}"
        raise argparse.ArgumentTypeError(f"{text} is less than one update; {weight}")
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of updates from 0 on")
    return min(value, LONGEST)


def newest() -> Path:
    """The run under runs/ that was written to last; its name is printed."""
    run = newest_run(ROOT / "runs", METRICS)
    if run is None:
        train = command("train.py", "quick")
        raise FileNotFoundError(f"no run under {display_path(ROOT / 'runs')} yet; train one first: {train}")
    print(f"newest run: {display_path(run)}")
    return run
