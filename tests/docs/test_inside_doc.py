"""docs/INSIDE.md is true: its examples print what it says, its outputs and figures are those of its commands."""

import contextlib
import importlib.util
import io
import json
import re
import shlex
import sys

import pytest
from test_backprop_doc import Block, anchor, fenced, quoted_from, sections

from numpygpt.utils.paths import ROOT

DOC = ROOT / "docs" / "INSIDE.md"
DOCUMENT = DOC.read_text(encoding="utf-8")
BLOCKS = fenced(DOCUMENT)
EXAMPLES = [(block, after) for block, after in zip(BLOCKS, [*BLOCKS[1:], Block("", "", 0)], strict=True)
            if block.info == "python"]
OUTPUTS = re.findall(r"<!-- output: (assets/outputs/\w+\.txt) -->\n```text\n(.*?)```", DOCUMENT, re.S)
COMMANDS = sorted(set(re.findall(r"`(\./(?:train|sample|plot)\.py[^`]*)`", DOCUMENT)))


@pytest.fixture(scope="module")
def printed():
    """What each example printed, by its line; they run in order and share their names, as for a reader."""
    outputs, names = {}, {"__name__": "inside"}
    for block, _ in EXAMPLES:
        code = compile("\n" * (block.line - 1) + block.text, str(DOC), "exec")
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(code, names)
        outputs[block.line] = out.getvalue()
    return outputs


@pytest.mark.parametrize(("block", "after"), EXAMPLES, ids=lambda block: f"line{block.line}")
def test_an_example_prints_what_stands_under_it(block, after, printed):
    assert after.info == "text"
    assert [line.rstrip() for line in printed[block.line].splitlines()] == after.text.splitlines()


@pytest.mark.parametrize(("path", "shown"), OUTPUTS, ids=[f"{i}-{path}" for i, (path, _) in enumerate(OUTPUTS)])
def test_an_output_is_that_of_its_command(path, shown):
    whole = (ROOT / path).read_text(encoding="utf-8")
    parts = shown.split("\n...\n")
    assert all(quoted_from(part, whole) for part in parts)
    at = [whole.index(part.strip("\n").splitlines()[0].rstrip()) for part in parts]
    assert at == sorted(at)


def test_what_is_shown_was_made_by_the_command_that_stands_there():
    made_by = (ROOT / "assets" / "make.sh").read_text(encoding="utf-8")
    shown = [command for command in COMMANDS if "runs/quick" in command and "FILE" not in command]
    assert len(shown) >= 6
    assert [command for command in shown if command not in made_by] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_the_scripts_take_the_commands(command, monkeypatch):
    name, *arguments = shlex.split(command)
    spec = importlib.util.spec_from_file_location(f"inside_{name[2:-3]}", ROOT / name)
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, script)
    spec.loader.exec_module(script)
    assert script.parse(arguments)


def test_links_and_pictures_lead_somewhere():
    titles = {anchor(title) for title in sections(DOCUMENT)}
    links = re.findall(r"\]\(([^)]+)\)", DOCUMENT)
    assert len(links) > 10
    for link in links:
        path, _, part = link.partition("#")
        assert (DOC.parent / path).exists() if path else part in titles, link
    textbook = {path.stem for path in (ROOT / "docs" / "figures").glob("*.py")}  # each draws the figure of its name
    for path in (ROOT / "assets" / "pictures").iterdir():
        assert path.stem in textbook or f"../assets/pictures/{path.name}" in DOCUMENT, path


def test_the_notebooks_are_all_named_by_their_titles():
    for path in (DOC.parent / "notebooks").glob("*.ipynb"):
        assert f"](notebooks/{path.name})" in DOCUMENT
        assert json.loads(path.read_text(encoding="utf-8"))["cells"]


def test_what_a_look_costs_is_what_was_measured():
    header, _, row = (ROOT / "assets" / "outputs" / "looks.md").read_text(encoding="utf-8").splitlines()
    found = dict(zip(header.strip("| ").split(" | "), row.strip("| ").split(" | "), strict=True))
    assert f"takes {found['ratio']} times as long" in DOCUMENT
    assert f"that is {found[list(found)[-1]].removesuffix('%')} % of the run" in DOCUMENT


def test_the_rows_of_a_look_have_the_names_in_the_table():
    from numpygpt.inspection.step import TracedStep

    names = set(re.findall(r"^\| `(\w+)/[A-Z]+` \|", DOCUMENT, re.M))
    source = (ROOT / "numpygpt" / "inspection" / "step.py").read_text(encoding="utf-8")
    assert names == set(re.findall(r'f"(\w+)/\{name\}"', source)) and TracedStep.row
