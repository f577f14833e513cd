"""The commands on the pages are ones that the scripts take, and the scripts of docs/ run from a clone."""

import os
import re
import shlex
import subprocess
import sys

import pytest
from pages import PAGES, ROOT, load, prose, read

TEXT = "\n".join(prose(read(page)) for page in PAGES)
FOUND = re.findall(r"`(\./(?:datagen|train|sample|plot|test)\.py(?: [^`\n]*)?)`", TEXT.replace("\\|", "|"))
PLACEHOLDER = re.compile(r"\b(FILE|TEXT|RUN|DIR|N)\b|\.\.\.|\|| --(inspect|prompt)$")
COMMANDS = sorted({command for command in FOUND if not PLACEHOLDER.search(command)})
SCRIPTS = sorted(set(re.findall(r"\bpython (docs/[\w/]+\.py)", "\n".join(map(read, PAGES)))))
EXERCISES = [script for script in SCRIPTS if re.match(r"docs/exercises/\d", script)]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_script_takes_the_command(command):
    script, *arguments = shlex.split(command)
    parse = load(ROOT / script, f"script_{script[2:-3]}").parse
    try:
        assert parse(arguments)
    except SystemExit as stop:
        assert stop.code == 0, command  # --help
    assert (ROOT / script).stat().st_mode & 0o100


def run(script, *arguments):
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run([sys.executable, script, *map(str, arguments)], cwd=ROOT, env=variables, capture_output=True,
                          encoding="utf-8")


@pytest.mark.parametrize("script", [script for script in SCRIPTS if script not in EXERCISES])
def test_a_script_starts(script):
    done = run(script, "--help")
    assert (done.returncode, done.stderr) == (0, "") and done.stdout


@pytest.mark.parametrize("script", EXERCISES)
def test_an_exercise_is_marked(script):
    done = run(script)
    assert done.stderr == "" and done.returncode == 1 and "blank" in done.stdout


def test_the_first_command_of_the_readme_sets_up_by_itself():
    for mark, script in (("train", "./train.py quick"), ("test", "./test.py")):
        command = re.search(rf"<!-- {mark} -->\n```bash\n(.*?)\n```", read(ROOT / "README.md"), re.S)[1]
        steps = ["python3 -m venv .venv", ". .venv/bin/activate", "pip install -r requirements.txt", script]
        assert command.split(" && ")[:4] == steps
