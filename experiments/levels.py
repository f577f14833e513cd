#!/usr/bin/env python3
"""What text of each loss looks like: the sample of the first evaluation at or below each level, from several runs.

    python experiments/levels.py runs/levels runs/shakespeare_char > assets/outputs/levels.md

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

from numpygpt.plots.runs import load_run
from numpygpt.utils import cli

LEVELS = (4.3, 3.5, 3.0, 2.6, 2.4, 2.2, 2.0, 1.8, 1.7, 1.6, 1.5, 1.48)
LINES = 6  # of each sample


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN",
                        help="run folders; the first that gets there counts")
    print("\n".join(document(parser.parse_args().runs)))


def document(folders: list[Path]) -> list[str]:
    """Markdown: for each level that is reached the loss, the step, the time, and the beginning of the sample."""
    lines: list[str] = []
    runs = [(folder.name, load_run(folder).metrics.eval, samples(folder)) for folder in folders]
    for level, lower in pairwise((*LEVELS, 0.0)):
        found = next(filter(None, (first_in(*run, lower, level) for run in runs)), None)
        if found:
            loss, where, text = found
            lines += [f"**{loss:.2f}** ({where})", "", "```text", *text.splitlines()[:LINES], "```", ""]
    return lines


def first_in(name: str, found: dict[str, np.ndarray], texts: dict[int, str], lower: float,
             level: float) -> tuple[float, str, str] | None:
    """(loss, run and step, sample) of the first evaluation above `lower` and at most at `level`, or None."""
    for step, loss in zip(found["step"].tolist(), found["val_loss"].tolist(), strict=True):
        if lower < loss <= level and step in texts:
            return loss, f"`{name}`, step {step:,}", texts[step]
    return None


def samples(folder: Path) -> dict[int, str]:
    """Step -> text, from samples.txt."""
    parts = re.split(r"^--- step (\d+)\n", (folder / "samples.txt").read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {int(step): text for step, text in zip(parts[1::2], parts[2::2], strict=True)}


if __name__ == "__main__":
    cli.run(main)
