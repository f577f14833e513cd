#!/usr/bin/env python3
"""What looking inside costs: a run with --trace-every has steps of both kinds, and the time of each in metrics.jsonl.

    python benchmarks/looks.py runs/quick

The medians of the steps that were looked at and of the others, and what share of the run's steps the looks took.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from numpygpt.training.metrics import read_metrics
from numpygpt.utils import cli


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run folder")
    print("\n".join(table(parser.parse_args().run)))


def table(run: Path) -> list[str]:
    """A Markdown table of one row. ValueError for a run without looks."""
    metrics = read_metrics(run / "metrics.jsonl")
    times = 1e3 * metrics.train["step_seconds"]  # ms
    looked = np.isin(metrics.train["step"], metrics.trace["step"])
    if not looked.any() or looked.all():
        raise ValueError(f"{run} has no steps of both kinds: train it with --trace-every 20")
    plain, look = np.median(times[~looked]), np.median(times[looked])
    share = (look - plain) * looked.sum() / times.sum()
    return ["| run | ms a step | ms a step that is looked at | times | share of all steps' time |",
            "|---|---|---|---|---|",
            f"| {run.name} | {plain:.1f} | {look:.1f} | {look / plain:.1f} | {share:.1%} |"]


if __name__ == "__main__":
    cli.run(main)
