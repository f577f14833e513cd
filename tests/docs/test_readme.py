"""The README tells the truth: its code prints what it says, its commands are accepted, its files exist."""

import contextlib
import importlib.util
import io
import re
import shlex
import sys

import pytest

from numpygpt.utils.paths import ROOT
from numpygpt.verify import gradcheck
from numpygpt.verify.cases import gradient_cases

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
# "The table of ./test.py checks" is no command.
FOUND = re.findall(r"(?<!table of )\./(?:datagen|train|sample|plot|test)\.py(?: [^`&\n|]*)?", TEXT)
COMMANDS = sorted({command.split("   ")[0] for command in FOUND})


def test_the_python_blocks_print_what_stands_under_them():
    blocks = re.findall(r"```python\n(.*?)```\s+```text\n(.*?)```", TEXT, re.S)
    assert len(blocks) == TEXT.count("```python") == 2
    names: dict = {}
    for code, expected in blocks:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, "README.md", "exec"), names)
        assert printed.getvalue() == expected


@pytest.mark.parametrize("command", COMMANDS)
def test_the_scripts_take_the_commands(command, monkeypatch):
    name, *arguments = shlex.split(command.strip())
    spec = importlib.util.spec_from_file_location(f"script_{name[2:-3]}", ROOT / name)
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, script)  # dataclasses look their module up
    spec.loader.exec_module(script)
    try:
        assert script.parse(arguments)
    except SystemExit as stop:
        assert stop.code == 0, command  # --help
    assert (ROOT / name).stat().st_mode & 0o100


def test_no_command_after_the_first_wants_the_folder_that_the_first_one_made():
    later = [command for command in COMMANDS if command.strip().startswith("./train.py quick --")]
    assert len(later) >= 4
    for command in later:
        assert "--dry-run" in command or "--out" in command or "--data" in command, command


def test_the_two_commands_set_up_by_themselves():
    for mark, script in (("train", "./train.py quick"), ("test", "./test.py")):
        command = re.search(rf"<!-- {mark} -->\n```bash\n(.*?)\n```", TEXT, re.S)[1]
        steps = ["python3 -m venv .venv", ". .venv/bin/activate", "pip install -r requirements.txt", script]
        assert command.split(" && ")[:4] == steps
    assert set((ROOT / "requirements.txt").read_text().split()) == {
        "numpy>=2.0", "matplotlib>=3.8", "tqdm>=4.66", "pytest>=8.0", "threadpoolctl>=3.2"}


def test_links_and_the_map_of_folders_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", TEXT)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link
    for path in re.findall(r"^((?:[a-z]+/)+|[a-z]+\.py(?: [a-z]+\.py)*) ", TEXT, re.M):
        for part in path.split():
            assert (ROOT / part).exists(), part


def test_the_layer_table_names_every_layer():
    from numpygpt import nn
    from numpygpt.nn import Module

    values = {name: getattr(nn, name) for name in nn.__all__}
    for layer in [name for name, value in values.items() if isinstance(value, type) and Module in value.__mro__[1:]]:
        assert f"`{layer}`" in TEXT, layer


def test_the_count_of_checked_entries_is_the_one_that_is_printed():
    cases = list(gradient_cases())
    entries = sum(
        sum(p.size for p in make().params().values()) + sum(x.size for x in inputs if x.dtype.kind == "f")
        for _, _, make, inputs in cases)
    assert f"{entries:,} entries in {len(cases)} cases" in TEXT
    layer, _, make, inputs = cases[0]
    assert layer == "Linear" and gradcheck(make(), *inputs).entries == 31
