#!/usr/bin/env python
"""Builds docs/explorer/index.html, the page of `./plot.py explore` for a small trained model.

    python docs/explorer/build.py runs/quick    with the numbers of a run: `./train.py quick` trains this one in minutes
    python docs/explorer/build.py               with the numbers that the page has; styles and scripts become today's
"""

import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import plot
from numpygpt.plots.explore import page

PAGE = Path(__file__).resolve().with_name("index.html")
TEXT = "To be, or not to be"


def main(runs: list[str]) -> None:
    if runs:
        plot.main(["explore", *runs, "--prompt", TEXT, "--out", str(PAGE)])
    else:
        PAGE.write_text(rebuilt(), encoding="utf-8", newline="\n")


def rebuilt() -> str:
    """Return the page with its own numbers and the present styles and scripts."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', PAGE.read_text(encoding="utf-8"))
    data = json.loads(found[1])
    return page(data.pop("title"), data)


if __name__ == "__main__":
    main(sys.argv[1:])
