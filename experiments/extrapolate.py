#!/usr/bin/env python3
"""Where a run would come to with more tokens: a straight line through log(validation loss) against log(tokens).

    python experiments/extrapolate.py runs/large_char 82e6
    python experiments/extrapolate.py runs/quick 1.5e6 --until 1.2e6

That losses of language models fall along such lines is from Kaplan et al. (2020), https://arxiv.org/abs/2001.08361,
for models that never read a text twice. The line knows nothing of overfitting, of the schedule, and of the loss that no
model gets below, so it may end far from where the run would. With --until it shows how far, on runs whose end is
known.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from experiments.runs import best_loss, markdown
from numpygpt.plots.runs import Run, load_run
from numpygpt.utils import cli

PARTS = (2, 4)  # lines through the evaluations of the last half and the last quarter, three at least


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder")
    parser.add_argument("tokens", type=cli.number, help="how many tokens to go on to")
    parser.add_argument("--until", type=cli.number, default=np.inf,
                        help="leave out what was evaluated after so many tokens")
    args = parser.parse_args()
    print("\n".join(table(load_run(args.run), args.tokens, args.until)))


def table(run: Run, goal: float, until: float = np.inf) -> list[str]:
    """A Markdown table with a row for each line: where it begins and ends, how fast it falls, and its loss at `goal`
    tokens. ValueError where there are fewer than three evaluations to lay a line through, or `goal` is not above 0."""
    if goal <= 0:
        raise ValueError(f"a number of tokens to go on to is above 0, got {goal:g}")
    tokens, losses = run.metrics.eval["tokens"], run.metrics.eval["val_loss"]
    used = (tokens > 0) & (tokens <= until) & np.isfinite(losses)
    if used.sum() < 3:
        end = f" up to {until:,.0f} tokens" if np.isfinite(until) else ""
        raise ValueError(f"{run.name} has {used.sum()} evaluations after step 0{end}, and a line needs three")
    tokens, losses = tokens[used], losses[used]
    lines = [f"`{run.name}`, lowest validation loss {best_loss(run):.4f} in all; the evaluations used end at "
             f"{tokens[-1] / 1e6:.1f}M tokens with {losses[-1]:.4f}.", ""]
    rows = []
    firsts = [min(np.searchsorted(tokens, tokens[-1] * (1 - 1 / part)), len(tokens) - 3) for part in PARTS]
    for first in dict.fromkeys(firsts):  # once where both are the last three
        slope, offset = np.polyfit(np.log(tokens[first:]), np.log(losses[first:]), 1)
        rows.append([f"{tokens[first] / 1e6:.1f}M", f"{1 - 2 ** slope:.1%}",
                     f"{np.exp(offset + slope * np.log(goal)):.2f}"])
    columns = ("evaluations from", "twice the tokens lower it by", f"at {goal / 1e6:.1f}M tokens")
    return [*lines, *markdown(columns, rows)]


if __name__ == "__main__":
    cli.run(main)
