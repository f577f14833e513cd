#!/usr/bin/env python3
"""Show what text at each loss looks like, and when a run reaches it: samples during training, and the loss curves.

    python experiments/levels.py runs/levels runs/best_10min runs/best_1h > assets/outputs/levels.md

A level's sample is from the first evaluation at or below it. The curves, against steps and against time, are written to
assets/training_curves/levels.png. Time counts training steps only, without evaluations. `runs/levels` is `quick` with
more evaluations:  ./train.py quick --eval-every 20 --out runs/levels
"""

from __future__ import annotations

import re
import sys
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from matplotlib.figure import Figure

from experiments.runs import load_data
from numpygpt.plots import style
from numpygpt.plots.runs import RunData, load_runs, same_tokens
from numpygpt.training.baselines import bigram_loss, unigram_loss
from numpygpt.utils import cli
from numpygpt.utils.paths import ROOT
from numpygpt.utils.text import duration

LEVELS = (4.3, 3.5, 3.0, 2.6, 2.4, 2.2, 2.0, 1.8, 1.7, 1.6, 1.5, 1.48)
SAMPLE_LINES = 6
STEP_TICKS = {step: f"{step:,}" for step in (1, 10, 100, 1000, 10_000)}
TIME_TICKS = {0.1: "0.1 s", 1: "1 s", 10: "10 s", 60: "1 min", 600: "10 min", 3600: "1 h"}


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN",
                        help="run folders with the same tokenizer; a level's sample is from the first that reaches it")
    parser.add_argument("--out", type=Path, default=ROOT / "assets" / "training_curves" / "levels.png",
                        metavar="FILE", help="picture to write")
    args = parser.parse_args()
    style.check_suffix(args.out)
    runs = load_runs(args.runs)
    check(runs)
    figure = draw(runs, baselines(runs[0]))
    print("\n".join(document(runs)))
    style.save(figure, args.out)


def check(runs: list[RunData]) -> None:
    """Raise ValueError if the runs do not fit into one picture, or if one has no training steps."""
    if len(runs) > len(style.COLOURS):
        raise ValueError(f"too many runs: {len(runs)}; a picture shows at most {len(style.COLOURS)}")
    if not same_tokens(runs):
        raise ValueError("these runs have different tokenizers, so their losses per token cannot be compared")
    for run in runs:
        if "step_seconds" not in run.metrics.train:
            raise ValueError(f"{run.name} has no training steps with times in metrics.jsonl")


def document(runs: list[RunData]) -> list[str]:
    """Return Markdown: for each level that is reached the loss, step and time, and the beginning of the sample.

    Raises ValueError if no level is reached.
    """
    lines: list[str] = []
    texts = {run.name: samples(run.folder) for run in runs}
    for level, lower in pairwise((*LEVELS, 0.0)):
        found = next(filter(None, (first_in(run, texts[run.name], lower, level) for run in runs)), None)
        if found:
            loss, where, text = found
            lines += [f"**{loss:.2f}** ({where})", "", "```text", *text.splitlines()[:SAMPLE_LINES], "```", ""]
    if not lines:
        raise ValueError(f"no sample at a loss of {LEVELS[0]} or below; the levels are for models of characters")
    return lines


def first_in(run: RunData, texts: dict[int, str], lower: float, level: float) -> tuple[float, str, str] | None:
    """Return (loss; run, step and time; sample) of the first evaluation with lower < loss <= level, or None."""
    found = run.metrics.eval
    times = seconds(run, found["step"])
    for step, loss, time in zip(found["step"].tolist(), found["val_loss"].tolist(), times, strict=True):
        if lower < loss <= level and step in texts:
            return loss, f"`{run.name}`, step {step:,}, {duration(time)}", texts[step]
    return None


def samples(folder: Path) -> dict[int, str]:
    """Read samples.txt: step -> text."""
    parts = re.split(r"^--- step (\d+)\n", (folder / "samples.txt").read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {int(step): text for step, text in zip(parts[1::2], parts[2::2], strict=True)}


def seconds(run: RunData, steps: np.ndarray) -> np.ndarray:
    """Return the training time up to each of `steps`."""
    spent = np.concatenate([[0.0], np.cumsum(run.metrics.train["step_seconds"])])
    return spent[np.searchsorted(run.metrics.train["step"], steps, side="right")]


def baselines(run: RunData) -> dict[str, float]:
    """Return the losses of simple models on the validation split, in nats per token."""
    data = load_data(run.folder)
    size = data.tokenizer.vocab_size
    return {"ln V": float(np.log(size)), "unigram": unigram_loss(data.train, data.val, size),
            "bigram": bigram_loss(data.train, data.val, size)}


def draw(runs: list[RunData], losses: dict[str, float]) -> Figure:
    """Draw training loss (thin) and validation loss (thick, with some dots) against steps and against time.

    `losses` (name -> nats per token) are the baselines: dashed lines.
    """
    figure = style.new_figure((9.0, 4.6))
    by_step, by_time = figure.subplots(1, 2, sharey=True)
    entries = []
    for colour, run in zip(style.COLOURS, runs, strict=False):
        found = run.metrics.eval
        later = found["step"] > 0  # a logarithmic axis has no 0
        steps, means = thinned(run)
        for ax, trained, evaluated in (
            (by_step, steps, found["step"]),
            (by_time, seconds(run, steps), seconds(run, found["step"])),
        ):
            ax.plot(trained, means, color=colour, linewidth=1)
            (line,) = ax.plot(evaluated[later], found["val_loss"][later], color=colour, linewidth=2, marker="o",
                              markersize=3, markevery=0.08)  # of the diagonal: many dots would cover the curve
        entries.append((line, run.name))
    for ax, title, x, ticks in (
        (by_step, "By steps", "step (updates)", STEP_TICKS),
        (by_time, "By time", "training time", TIME_TICKS),
    ):
        ax.set_xscale("log")
        ax.set_xticks(list(ticks), list(ticks.values()))
        ax.minorticks_off()
        ax.set_ylim(1, 1.08 * losses["ln V"])
        style.dress(ax, title, x, "loss, nats per token" if ax is by_step else "")
        for name, loss in losses.items():
            ax.axhline(loss, color=style.GREY, linewidth=1, linestyle="--")
            ax.text(0.99, loss + 0.02, f"{name} {loss:.2f}", transform=ax.get_yaxis_transform(),
                    fontsize=style.FONT - 2, color=style.GREY, ha="right")
    style.legend(by_time, entries, loc="lower left")
    return figure


def thinned(run: RunData) -> tuple[np.ndarray, np.ndarray]:
    """Return at most 99 points (step, mean training loss since the previous point) for a logarithmic axis.

    Each of the first steps is a point; after them the points are about equally far apart.
    """
    steps, losses = run.metrics.train["step"], run.metrics.train["loss"]
    edges = np.unique(np.geomspace(1, len(losses) + 1, 100).astype(int)) - 1
    return steps[edges[1:] - 1], np.add.reduceat(losses, edges[:-1]) / np.diff(edges)


if __name__ == "__main__":
    cli.run(main)
