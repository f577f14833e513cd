"""The `python docs/....py` commands that the pages print run from a clone: no install, no PYTHONPATH."""

import os
import re
import subprocess
import sys

import pytest

from numpygpt.utils.paths import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PRINTED = sorted({name for page in PAGES
                  for name in re.findall(r"\bpython (docs/[\w/]+\.py)", page.read_text(encoding="utf-8"))})
EXERCISES = [name for name in PRINTED if re.match(r"docs/exercises/\d", name)]


def run(name, *arguments):
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run([sys.executable, name, *map(str, arguments)], cwd=ROOT, env=variables, capture_output=True,
                          encoding="utf-8")


def test_the_commands_are_found():
    assert {"docs/figures/valley.py", "docs/figures/optimizers.py", "docs/figures/bugs.py",
            "docs/exercises/swap.py"} <= set(PRINTED)
    assert EXERCISES and all((ROOT / name).is_file() for name in PRINTED)


@pytest.mark.parametrize("name", [name for name in PRINTED if name not in EXERCISES])
def test_a_script_starts(name):
    done = run(name, "--help")
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("usage: ")


@pytest.mark.parametrize("name", EXERCISES)
def test_an_exercise_is_marked(name):
    done = run(name)
    assert done.stderr == "" and re.match(r"still blank, |stopped, |.*: (right|WRONG)\n", done.stdout)


def test_the_valley_is_drawn_and_its_file_named(tmp_path):
    done = run("docs/figures/valley.py", "--out", tmp_path / "valley.png")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"wrote {tmp_path / 'valley.png'}\n", "")
    assert (tmp_path / "valley.png").read_bytes().startswith(b"\x89PNG")


def test_swap_says_what_no_names_mean():
    assert "any of rmsnorm, swiglu, smoothing; without one, all three" in " ".join(
        run("docs/exercises/swap.py", "--help").stdout.split())
