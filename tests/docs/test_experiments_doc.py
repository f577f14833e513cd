"""docs/EXPERIMENTS.md is true: its tables and samples are what the runs gave, its presets and scripts exist."""

import re

import pytest
from test_tokenizers_doc import tables

from numpygpt.training.config import read_preset
from numpygpt.utils.paths import ROOT

TEXT = (ROOT / "docs" / "EXPERIMENTS.md").read_text(encoding="utf-8")
OUTPUTS = ROOT / "assets" / "outputs"
MEASURED = re.findall(r"<!-- measured: (assets/outputs/\w+\.md) -->\n\n((?:\|.*\n)+)", TEXT)
RUNS = {row[0]: dict(zip(header, row, strict=True)) for name in ("experiments", "large_char")
        for header, rows in tables((OUTPUTS / f"{name}.md").read_text(encoding="utf-8")).items() if header[0] == "run"
        for row in rows}


def measured(path):
    return (ROOT / path).read_text(encoding="utf-8")


@pytest.mark.parametrize(("path", "table"), MEASURED, ids=[path for path, _ in MEASURED])
def test_a_table_has_nothing_but_what_was_measured(path, table):
    """Each row of the document is a row of the output, with some of its columns."""
    (header, rows), = tables(table).items()
    for all_names, all_rows in tables(measured(path)).items():
        if set(header) <= set(all_names):
            places = [all_names.index(name) for name in header]
            assert [[row[i] for i in places] for row in all_rows if row[0] in {r[0] for r in rows}] == rows
            return
    raise AssertionError(f"{path} has no table with the columns {header}")


def test_there_are_tables_and_each_output_of_the_experiments_is_linked():
    assert {path for path, _ in MEASURED} >= {
        f"assets/outputs/{name}.md" for name in ("experiments", "candidates", "ablations", "large_char")}
    for name in ("experiments.md", "candidates.md", "levels.md", "ablations.md", "spelled.md", "large_char.md",
                 "char.txt", "word.txt", "bpe.txt", "hamlet.txt", "best_10min.txt", "best_30min.txt", "best_1h.txt",
                 "large_char.txt"):
        assert f"../assets/outputs/{name}" in TEXT, name


def test_what_the_lines_foretell_is_what_the_script_said():
    """The losses that the section on the larger model names, the hours of 5,000 steps, and the number of updates."""
    section = " ".join(re.search(r"## A larger model.*?(?=\n## )", TEXT, re.S)[0].split())
    output = measured("assets/outputs/large_char.md")
    ((_, _, end), (early,)), ((_, _, goal), late) = (
        item for item in tables(output).items() if item[0][0] == "evaluations from")
    assert (end, goal) == ("at 5.1M tokens", "at 82.0M tokens") and "end at 2.6M tokens" in output
    assert f"gives {late[0][2]} (last half) or {late[1][2]} (last quarter) at 82 million characters" in section
    assert f"from {early[0][:-1]} to 2.6 million characters foretold {early[2]} for the end" in section
    assert f"and {float(RUNS['large_char']['best validation loss']):.2f} came" in section
    steps = {name: int(RUNS[name]["steps"].replace(",", "")) for name in ("dropout", "large_char")}
    assert f"in {steps['dropout'] / steps['large_char']:.0f} times as many updates" in section
    assert f"{5000 * float(RUNS['large_char']['ms a step']) / 3.6e6:.0f} hours at this speed" in section


def test_samples_by_loss_are_those_of_the_runs():
    found = re.search(r"<!-- levels -->\n\n(.*?)\n\n<!-- /levels -->", TEXT, re.S)[1]
    assert found == measured("assets/outputs/levels.md").strip()


def test_presets_and_scripts_exist():
    for preset in re.findall(r"\./train\.py (\w+)", TEXT):
        read_preset(preset)
    scripts = re.findall(r"experiments/\w+\.(?:py|sh)", TEXT)
    assert scripts
    for script in scripts:
        assert (ROOT / script).is_file(), script
    assert {path.name for path in (ROOT / "experiments").glob("*.py")} - {"__init__.py", "runs.py"} <= {
        script.split("/")[1] for script in scripts}


def test_numbers_in_the_text_are_those_of_the_table():
    """`name: 1.507` in the text, wherever a run's name is followed by its loss."""
    said = re.findall(r"`(\w+)` (?:ends|gets|comes) (?:at|to) (\d\.\d+)", TEXT)
    assert len(said) >= 3
    for name, loss in said:
        best = float(RUNS[name]["best validation loss"])
        assert round(best, len(loss.split(".")[1])) == float(loss), name


def test_losses_of_quick_are_those_that_the_readme_shows():
    steps, losses = (re.search(rf"^\| {name} \|( [\d,.]+ \|.*)\|$", TEXT, re.M)[1].split("|")
                     for name in ("step", "loss"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"^step +([\d,]+)  train .*?val ([\d.]+)", readme, re.M)
    assert [(step.strip(), loss.strip()) for step, loss in zip(steps, losses, strict=True)] == shown
