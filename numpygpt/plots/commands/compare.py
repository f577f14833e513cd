"""./plot.py compare: runs in bits a byte, which compares them whatever their tokenizers, and their table."""

from __future__ import annotations

import argparse
from argparse import Namespace
from functools import partial
from pathlib import Path

from numpygpt.plots import style
from numpygpt.plots.commands.curves import span
from numpygpt.plots.compare import check_runs, draw_compare, size_of
from numpygpt.plots.drawn import Drawn, NewFigure
from numpygpt.plots.glyphs import drawable
from numpygpt.plots.runs import load_runs
from numpygpt.plots.table import lines_of, table_of
from numpygpt.plots.view import default_span


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="run folders, or their metrics.jsonl")
    parser.add_argument(
        "--smooth", metavar="N", type=span,
        help="average the training losses over about N updates, 0 not at all (default: 1 %% of the longest run)",
    )  # fmt: skip
    parser.add_argument("--title", default="", help="words over the picture, for a report (default: the runs' names)")


def make(args: Namespace, new_figure: NewFigure) -> Drawn:
    runs = load_runs(args.runs)
    check_runs(runs)
    table = table_of(runs)
    figure = new_figure(size_of(table))
    draw_compare(figure, runs, table, default_span(runs) if args.smooth is None else args.smooth,
                 drawable(args.title))
    return Drawn(partial(style.save, figure), runs[0].folder.parent / "compare.png", lines_of(table))
