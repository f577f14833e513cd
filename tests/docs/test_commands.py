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
SCRIPTS = sorted(set(re.findall(r"\bpython (docs/(?!exercises/\d)[\w/]+\.py)", "\n".join(map(read, PAGES)))))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_script_takes_the_command(command):
    script, *arguments = shlex.split(command)
    parse = load(ROOT / script, f"script_{script[2:-3]}").parse
    try:
        assert parse(arguments)
    except SystemExit as stop:
        assert stop.code == 0, command  # --help
    assert (ROOT / script).stat().st_mode & 0o100


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_starts(script):
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run([sys.executable, script, "--help"], cwd=ROOT, env=variables, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"") and done.stdout
