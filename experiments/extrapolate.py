#!/usr/bin/env python3
"""Predict a run's loss for more tokens: a straight line through log(validation loss) against log(tokens).

    python experiments/extrapolate.py runs/large_char 82e6
    python experiments/extrapolate.py runs/quick 1.5e6 --until 1.2e6

Kaplan et al. (2020), https://arxiv.org/abs/2001.08361, found that losses of language models follow such lines if no
text is read twice. The line ignores overfitting, the learning rate schedule and the lowest possible loss, so the
prediction may be far off. Test it with --until on a run whose end is known.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.common import markdown
from experiments.runs import best_loss
from numpygpt.plots.runs import Run, load_run
from numpygpt.utils import cli

PARTS = (2, 4)  # fit the evaluations of the last half and of the last quarter; at least MIN_POINTS
MIN_POINTS = 3


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder")
    parser.add_argument("tokens", type=cli.number, help="predict the loss after this many tokens")
    parser.add_argument("--until", type=cli.number, default=np.inf,
                        help="ignore evaluations after this many tokens")
    args = parser.parse_args()
    print("\n".join(table(load_run(args.run), args.tokens, args.until)))


def table(run: Run, goal: float, until: float = np.inf) -> list[str]:
    """Return a Markdown table with a row for each fitted line: its start, its slope, its loss at `goal` tokens.

    Raises ValueError if there are fewer than three evaluations to fit, or `goal` is not positive.
    """
    if goal <= 0:
        raise ValueError(f"the number of tokens must be above 0, got {goal:g}")
    tokens, losses = run.metrics.eval["tokens"], run.metrics.eval["val_loss"]
    used = (tokens > 0) & (tokens <= until) & np.isfinite(losses)
    if used.sum() < MIN_POINTS:
        end = f" up to {until:,.0f} tokens" if np.isfinite(until) else ""
        raise ValueError(f"{run.name} has {used.sum()} evaluations after step 0{end}; a line needs {MIN_POINTS}")
    tokens, losses = tokens[used], losses[used]
    lines = [f"`{run.name}`, lowest validation loss {best_loss(run):.4f} in all; the evaluations used end at "
             f"{tokens[-1] / 1e6:.1f}M tokens with {losses[-1]:.4f}.", ""]
    rows = []
    firsts = [min(np.searchsorted(tokens, tokens[-1] * (1 - 1 / part)), len(tokens) - MIN_POINTS) for part in PARTS]
    for first in dict.fromkeys(firsts):  # only once if both start at the same evaluation
        slope, offset = np.polyfit(np.log(tokens[first:]), np.log(losses[first:]), 1)
        rows.append([f"{tokens[first] / 1e6:.1f}M", f"{1 - 2 ** slope:.1%}",
                     f"{np.exp(offset + slope * np.log(goal)):.2f}"])
    columns = ("evaluations from", "loss reduction per doubling of tokens", f"at {goal / 1e6:.1f}M tokens")
    return [*lines, *markdown(columns, rows)]


if __name__ == "__main__":
    cli.run(main)
