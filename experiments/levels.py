#!/usr/bin/env python3
"""What text of each loss looks like, and when a run gets there: samples on the way down, and the curves they lie on.

    python experiments/levels.py runs/levels runs/best_10min runs/best_1h > assets/outputs/levels.md

The samples are those of the first evaluation at or below each level; the curves are drawn to
assets/training_curves/levels.png, by steps and by time. Time is that of the steps alone, without evaluations.
`runs/levels` is `quick`, evaluated often:  ./train.py quick --eval-every 20 --out runs/levels
"""

from __future__ import annotations

import argparse
import re
import sys
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from matplotlib.figure import Figure

from experiments.runs import ROOT, data_of
from numpygpt.plots import style
from numpygpt.plots.runs import Run, load_runs, same_tokens
from numpygpt.training.baselines import bigram_loss, unigram_loss
from numpygpt.utils import cli
from numpygpt.utils.text import duration

LEVELS = (4.3, 3.5, 3.0, 2.6, 2.4, 2.2, 2.0, 1.8, 1.7, 1.6, 1.5, 1.48)
LINES = 6  # of each sample
STEPS = {step: f"{step:,}" for step in (1, 10, 100, 1000, 10_000)}
TIMES = {0.1: "0.1 s", 1: "1 s", 10: "10 s", 60: "1 min", 600: "10 min", 3600: "1 h"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN",
                        help="run folders with the same tokenizer; the first that gets to a level counts")
    parser.add_argument("--out", type=Path, default=ROOT / "assets" / "training_curves" / "levels.png",
                        help="the picture (default: that of docs/EXPERIMENTS.md)")
    args = parser.parse_args()
    style.check_suffix(args.out)
    runs = load_runs(args.runs)
    check(runs)
    figure = draw(runs, marks(runs[0]))
    print("\n".join(document(runs)))
    style.save(figure, args.out)


def check(runs: list[Run]) -> None:
    """ValueError where the runs do not go into one picture, or one has no steps."""
    if len(runs) > len(style.COLOURS):
        raise ValueError(f"{len(runs)} runs: a picture takes 1 to {len(style.COLOURS)}")
    if not same_tokens(runs):
        raise ValueError("these runs have different tokenizers, so their losses a token do not compare")
    for run in runs:
        if "step_seconds" not in run.metrics.train:
            raise ValueError(f"{run.name} has no training steps with their times")


def document(runs: list[Run]) -> list[str]:
    """Markdown: for each level that is reached the loss, the step, the time, and the beginning of the sample.
    ValueError where no level is reached."""
    lines: list[str] = []
    texts = {run.name: samples(run.folder) for run in runs}
    for level, lower in pairwise((*LEVELS, 0.0)):
        found = next(filter(None, (first_in(run, texts[run.name], lower, level) for run in runs)), None)
        if found:
            loss, where, text = found
            lines += [f"**{loss:.2f}** ({where})", "", "```text", *text.splitlines()[:LINES], "```", ""]
    if not lines:
        raise ValueError(f"no sample was written at a loss of {LEVELS[0]} or below: the levels are those of characters")
    return lines


def first_in(run: Run, texts: dict[int, str], lower: float, level: float) -> tuple[float, str, str] | None:
    """(loss; run, step and time; sample) of the first evaluation above `lower` and at most at `level`, or None."""
    found = run.metrics.eval
    times = seconds(run, found["step"])
    for step, loss, time in zip(found["step"].tolist(), found["val_loss"].tolist(), times, strict=True):
        if lower < loss <= level and step in texts:
            return loss, f"`{run.name}`, step {step:,}, {duration(time)}", texts[step]
    return None


def samples(folder: Path) -> dict[int, str]:
    """Step -> text, from samples.txt."""
    parts = re.split(r"^--- step (\d+)\n", (folder / "samples.txt").read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {int(step): text for step, text in zip(parts[1::2], parts[2::2], strict=True)}


def seconds(run: Run, steps: np.ndarray) -> np.ndarray:
    """How long the training took up to each of `steps`."""
    spent = np.concatenate([[0.0], np.cumsum(run.metrics.train["step_seconds"])])
    return spent[np.searchsorted(run.metrics.train["step"], steps, side="right")]


def marks(run: Run) -> dict[str, float]:
    """What is known without training: name -> nats a token on the validation part."""
    data = data_of(run.folder)
    size = data.tokenizer.vocab_size
    return {"ln V": float(np.log(size)), "unigram": unigram_loss(data.train, data.val, size),
            "bigram": bigram_loss(data.train, data.val, size)}


def draw(runs: list[Run], losses: dict[str, float]) -> Figure:
    """Training loss as a thin line, validation loss as a thick one with dots, against steps and against time; dashed
    the losses that are known without training, name -> nats a token."""
    figure = style.new_figure((9.0, 4.6))
    by_step, by_time = figure.subplots(1, 2, sharey=True)
    entries = []
    for colour, run in zip(style.COLOURS, runs, strict=False):
        found = run.metrics.eval
        later = found["step"] > 0  # step 0 has no place on a logarithmic axis
        steps, means = thinned(run)
        for ax, trained, evaluated in (
            (by_step, steps, found["step"]),
            (by_time, seconds(run, steps), seconds(run, found["step"])),
        ):
            ax.plot(trained, means, color=colour, linewidth=1)
            (line,) = ax.plot(evaluated[later], found["val_loss"][later], color=colour, linewidth=2, marker="o",
                              markersize=3)
        entries.append((line, run.name))
    for ax, title, x, ticks in (
        (by_step, "By steps", "step (updates)", STEPS),
        (by_time, "By time", "training time", TIMES),
    ):
        ax.set_xscale("log")
        ax.set_xticks(list(ticks), list(ticks.values()))
        ax.minorticks_off()
        ax.set_ylim(1, 1.08 * losses["ln V"])
        style.dress(ax, title, x, "loss, nats a token" if ax is by_step else "")
        for name, loss in losses.items():
            ax.axhline(loss, color=style.GREY, linewidth=1, linestyle="--")
            ax.text(0.99, loss + 0.02, f"{name} {loss:.2f}", transform=ax.get_yaxis_transform(),
                    fontsize=style.FONT - 2, color=style.GREY, ha="right")
    style.legend(by_time, entries, loc="lower left")
    return figure


def thinned(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """(steps, mean training losses since the one before): at most 99 points, about equally far apart on a logarithmic
    axis, but for the first steps, of which each is a point."""
    steps, losses = run.metrics.train["step"], run.metrics.train["loss"]
    edges = np.unique(np.geomspace(1, len(losses) + 1, 100).astype(int)) - 1
    return steps[edges[1:] - 1], np.add.reduceat(losses, edges[:-1]) / np.diff(edges)


if __name__ == "__main__":
    cli.run(main)
