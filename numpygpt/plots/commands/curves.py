"""./plot.py curves: the curves of one run or of several over each other."""

from __future__ import annotations

import argparse
import math
from argparse import Namespace
from functools import partial
from pathlib import Path

from numpygpt.plots import style
from numpygpt.plots.curves import draw_curves
from numpygpt.plots.drawn import Drawn, NewFigure
from numpygpt.plots.runs import METRICS, Run, load_run, summary
from numpygpt.plots.view import COLUMN, default_span
from numpygpt.utils import cli
from numpygpt.utils.checkpoint import newest_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs", metavar="RUN", nargs="*", type=Path,
        help="run folder, or its metrics.jsonl; several are drawn over each other, to compare them "
        "(default: the newest under runs/)",
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
    runs = find_runs(args.runs)
    average = default_span(runs) if args.smooth is None else args.smooth
    figure = new_figure(style.SIZE)
    draw_curves(figure, runs, args.x, average, args.title)
    folder = runs[0].folder
    out = folder / "curves.png" if len(runs) == 1 else folder.parent / "compare.png"
    return Drawn(partial(style.save, figure), out, [summary(run, average) for run in runs])


def span(text: str) -> float:
    """The value of --smooth: 0, or a number of updates."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if 0 < value < 1:  # as TensorBoard's slider has it
        weight = f"a weight of {text} for the past is --smooth {1 / (1 - value):.3g}"
        raise argparse.ArgumentTypeError(f"{text} is less than one update; {weight}")
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of updates from 0 on")
    return value


def find_runs(given: list[Path]) -> list[Run]:
    """The runs in these folders, or the newest under runs/ where there is none."""
    paths = list(dict.fromkeys(path.resolve() for path in given))  # a run named twice is drawn once
    if not paths:
        newest = newest_run(cli.ROOT / "runs", METRICS)
        if newest is None:
            raise FileNotFoundError(
                f"no run under {cli.shown(cli.ROOT / 'runs')} yet; train one first: {cli.command('train.py', 'quick')}"
            )
        print(f"newest run: {cli.shown(newest)}")
        paths = [newest]
    runs = [load_run(cli.shown(path)) for path in paths]
    names = [run.name for run in runs]
    for run in runs:
        if names.count(run.name) > 1:
            run.name = cli.shown(run.folder)
    return runs
