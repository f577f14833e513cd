#!/usr/bin/env python3
"""Draw the curves of a training run, or of several in one picture.

    ./plot.py                          the newest run, into runs/NAME/curves.png
    ./plot.py runs/a runs/b            two runs compared, into runs/compare.png
    ./plot.py runs/a --x time --out a.svg

Each run gets a line in the terminal too: how long it is and how low its losses are.
"""

from __future__ import annotations

import numpygpt  # noqa: F401 - first of all: it says in one line what is not installed

# isort: split

import argparse
import math
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from numpygpt.plots import style
from numpygpt.plots.curves import draw_curves
from numpygpt.plots.runs import METRICS, Run, load_run, summary
from numpygpt.plots.view import COLUMN, default_span
from numpygpt.utils import cli
from numpygpt.utils.checkpoint import newest_run


@dataclass
class Config:
    runs: list[Path] = field(default_factory=list)
    out: Path | None = None
    x: str = "steps"
    smooth: float | None = None
    show: bool = False
    title: str = ""


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


def parse(argv: list[str] | None = None) -> Config:
    parser = cli.ArgumentParser(description="Draw the loss, gradient norm and learning rate of training runs.")
    unset = argparse.SUPPRESS  # Config has the default, and the help says it in words
    parser.add_argument(
        "runs", metavar="RUN", nargs="*", type=Path, default=unset,
        help="run folder, or its metrics.jsonl; several are drawn over each other, to compare them "
        "(default: the newest under runs/)",
    )  # fmt: skip
    parser.add_argument(
        "--out", metavar="FILE", type=Path, default=unset,
        help="picture to write; .png for a README, .svg or .pdf to print (default: curves.png in the run folder, "
        "compare.png beside the first of several)",
    )  # fmt: skip
    parser.add_argument(
        "--x", choices=list(COLUMN), default=Config.x,
        help="steps to follow one run, tokens to compare batch sizes, time to compare speed",
    )  # fmt: skip
    parser.add_argument(
        "--smooth", metavar="N", type=span, default=unset,
        help="average over about N updates, because the loss of one batch jumps; 0 draws the raw values alone "
        "(default: 1 %% of the longest run)",
    )  # fmt: skip
    parser.add_argument("--show", action="store_true", default=unset, help="open a window too, to zoom in")
    parser.add_argument(
        "--title", default=unset, help="words over the picture, for a report (default: the name of the run)"
    )
    return Config(**vars(parser.parse_args(argv)))


def find_runs(config: Config) -> list[Run]:
    paths = list(dict.fromkeys(path.resolve() for path in config.runs))  # a run named twice is drawn once
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


def choose_out(config: Config, runs: list[Run]) -> Path:
    """Where the picture goes; what cannot be written there is said before anything is drawn."""
    folder = runs[0].folder
    out = config.out or (folder / "curves.png" if len(runs) == 1 else folder.parent / "compare.png")
    style.check_suffix(out)
    if not out.resolve().parent.is_dir():
        raise FileNotFoundError(f"--out {out}: there is no folder {cli.shown(out.resolve().parent)}; make it first")
    return out


def window() -> Figure:
    """A figure with a window: only here does pyplot come in, with its global state and its need of a screen."""
    import matplotlib.pyplot as plt

    try:
        figure = plt.figure(figsize=style.SIZE)
    except ImportError as error:
        raise RuntimeError(f"--show: no window can be opened ({error}); leave --show out") from None
    if matplotlib.get_backend().lower() in ("agg", "cairo", "pdf", "pgf", "ps", "svg", "template"):
        raise RuntimeError("--show: no window can be opened here (no screen or no window toolkit); leave --show out")
    style.prepare(figure)
    return figure


def main(config: Config) -> None:
    if config.out is not None:
        style.check_suffix(config.out)
    runs = find_runs(config)
    out = choose_out(config, runs)
    figure = window() if config.show else style.new_figure()
    average = default_span(runs) if config.smooth is None else config.smooth
    draw_curves(figure, runs, config.x, average, config.title)
    style.save(figure, out)
    for run in runs:
        print(summary(run, average))
    print(f"wrote {cli.shown(out)}")
    if config.show:
        import matplotlib.pyplot as plt

        plt.show()


if __name__ == "__main__":
    cli.run(lambda: main(parse()))
