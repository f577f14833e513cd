"""The tables in README and docs/PERFORMANCE.md are lines that the benchmarks wrote."""

import re

import pytest

from numpygpt.utils.paths import ROOT

OUTPUTS = {path.name: path.read_text(encoding="utf-8").splitlines() for path in (ROOT / "assets/outputs").glob("*.md")}


def measured_rows(text):
    """The table rows with a measurement in them."""
    measured = r"\d ms a (step|token)|\| \d[\d.,]* \| \d+%|M \| [\d,.]+ \||\| all \|"
    return [line for line in text.splitlines() if line.startswith("|") and re.search(measured, line)]


@pytest.mark.parametrize(("document", "least"), [("README.md", 5), ("docs/PERFORMANCE.md", 40)])
def test_every_measured_row_is_one_that_a_benchmark_printed(document, least):
    printed = {line for lines in OUTPUTS.values() for line in lines}
    rows = measured_rows((ROOT / document).read_text(encoding="utf-8"))
    assert len(rows) >= least
    assert [row for row in rows if row not in printed] == []
