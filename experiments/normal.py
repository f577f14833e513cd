#!/usr/bin/env python3
"""Draw what failing trainings look like, next to a normal one: assets/training_curves/normal.png.

    python experiments/normal.py

Four failures: overfitting (1/20 of the text), a learning rate that is too high, no warm-up, and attention without its
causal mask. Each is drawn with the preset `quick`. Six trainings of one to two minutes, kept in runs/normal/; the
last, without the mask, runs alone.
"""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from matplotlib.axes import Axes

import train
from experiments.runs import load_run, missing_arguments, prepared
from experiments.sweep import train_all, training_parser
from numpygpt.data import Corpus, prepare
from numpygpt.nn import causal_attention
from numpygpt.plots import style
from numpygpt.plots.runs import RunData
from numpygpt.plots.series import smooth
from numpygpt.training.presets import read_preset
from numpygpt.utils import cli
from numpygpt.utils.paths import ROOT

PART = 20  # the overfitted model trains on 1/20 of the text
QUICK = "quick, normal"
HIGH = ("--lr", "2e-2", "--min-lr", "2e-2")


def main() -> None:
    parser = training_parser(__doc__, "normal")
    parser.add_argument("--out", type=Path, default=ROOT / "assets" / "training_curves" / "normal.png",
                        metavar="FILE", help="picture to write")
    args = parser.parse_args()
    figure = style.new_figure((9.0, 7.0))
    axes = figure.subplots(2, 2)
    for ax, (title, runs) in zip(axes.flat, panels(args.runs, args.more).items(), strict=True):
        draw(ax, title, runs)
    style.save(figure, args.out)


def panels(folder: Path, more: list[str]) -> dict[str, dict[str, RunData]]:
    """Train all runs; return title -> name in the legend -> run."""
    flags = {"quick": (), "part": ("--data", part(folder / "data")), "high": HIGH, "higher": ("--lr", "1e-1"),
             "no_warmup": ("--warmup", 0)}
    wanted = {folder / name: ["quick", "--eval-every", 100, *flags[name], *more] for name in flags}
    runs = {out.name: run for out, run in train_all(wanted).items()}
    quick = {QUICK: runs["quick"]}
    return {
        "Overfitting": quick | {f"1/{PART} of the text": runs["part"]},
        "Learning rate too high": quick | {"lr 2e-2": runs["high"], "lr 1e-1": runs["higher"]},
        "No warm-up": quick | {"no warm-up": runs["no_warmup"]},
        "Broken causal mask": quick | {"no mask": unmasked(folder / "unmasked", more)},
    }


def part(folder: Path) -> Path:
    """Make a data folder with the beginning of Tiny Shakespeare."""
    whole = prepared(read_preset("quick"))
    text = whole.tokenizer.decode(np.asarray(whole.train[: len(whole.train) // PART]))
    prepare(Corpus.of("beginning", text, f"the first {len(text):,} characters of {whole.meta['corpus']}"), folder)
    return folder


def unmasked(out: Path, more: list[str]) -> RunData:
    """Train a run whose attention sees future tokens, including the token that it should predict."""
    if words := missing_arguments(out, ["quick", "--eval-every", 100, *more]):
        with patch.object(causal_attention, "causal_mask", no_mask), redirect_stdout(sys.stderr):
            train.main(words)
    return load_run(out)


def no_mask(n: int, dtype: np.dtype, xp: ModuleType, gpu: int) -> np.ndarray:
    return xp.zeros((n, n), dtype)


def draw(ax: Axes, title: str, runs: dict[str, RunData]) -> None:
    """Draw training loss (thin) and validation loss (thick, with dots), with a colour for each run."""
    entries = []
    for colour, (name, run) in zip((style.GREY, style.VERMILLION, style.PURPLE), runs.items(), strict=False):
        train_, found = run.metrics.train, run.metrics.eval
        ax.plot(train_["step"], smooth(train_["loss"], len(train_["loss"]) / 50), color=colour, linewidth=1)
        (line,) = ax.plot(found["step"], found["val_loss"], color=colour, linewidth=2, marker="o", markersize=3)
        entries.append((line, name))
    ax.set_ylim(0 if "mask" in title else 1, 4.5)
    style.dress(ax, title, "step", "loss, nats per character")
    style.legend(ax, entries, loc="upper right")


if __name__ == "__main__":
    cli.run(main)
