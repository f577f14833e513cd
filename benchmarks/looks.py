#!/usr/bin/env python3
"""Measure what tracing costs: a run with --trace-every has traced and plain steps, and their times in metrics.jsonl.

    python benchmarks/looks.py runs/quick

Prints the median time of plain and of traced steps, and how much of the whole run's time tracing took.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.common import markdown
from numpygpt.training.metrics import read_metrics
from numpygpt.utils import cli


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder")
    print("\n".join(table(parser.parse_args().run)))


def table(run: Path) -> list[str]:
    """Return a Markdown table of one row. ValueError unless the run has traced and plain steps."""
    metrics = read_metrics(run / "metrics.jsonl")
    times = 1e3 * metrics.train["step_seconds"]  # ms
    traced = np.isin(metrics.train["step"], metrics.trace["step"])
    if not traced.any() or traced.all():
        raise ValueError(f"{run} needs both traced and plain steps: train it with --trace-every 20")
    plain, slow = np.median(times[~traced]), np.median(times[traced])
    cost = (slow - plain) * traced.sum() / times.sum()
    return markdown(["run", "ms per step", "ms per traced step", "ratio", "of the run's time"],
                    [[run.name, f"{plain:.1f}", f"{slow:.1f}", f"{slow / plain:.1f}", f"{cost:.1%}"]])


if __name__ == "__main__":
    cli.run(main)
