"""Packages import one way, and `import numpygpt` is harmless in any program."""

import ast
import os
import subprocess
import sys

import pytest

from numpygpt.utils.paths import ROOT

MAY_IMPORT = {
    "utils": set(),
    "tokenizer": {"utils"},
    "nn": {"utils"},
    "optim": {"nn", "utils"},
    "parallel": {"nn", "utils"},
    "models": {"nn", "parallel", "tokenizer", "utils"},
    "data": {"nn", "tokenizer", "utils"},
    "verify": {"nn", "models", "optim", "utils"},
    "inspection": {"data", "models", "nn", "optim", "parallel", "tokenizer", "utils"},
    "training": {"data", "inspection", "models", "nn", "optim", "parallel", "tokenizer", "utils"},
    "plots": {"data", "inspection", "models", "nn", "optim", "parallel", "tokenizer", "training", "utils"},
}


def imported(file):
    """The packages of numpygpt that a file imports, also inside functions; imports for type checkers are left out."""
    tree = ast.parse(file.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (module.split(".")[1] for module in modules if module.startswith("numpygpt."))


def test_every_package_is_in_the_order():
    found = {file.parent.name for file in (ROOT / "numpygpt").glob("*/__init__.py")}
    assert found == set(MAY_IMPORT)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_those_below_it(package):
    wrong = {(str(file.relative_to(ROOT)), name) for file in (ROOT / "numpygpt" / package).rglob("*.py")
             for name in imported(file) if name in MAY_IMPORT and name != package and name not in MAY_IMPORT[package]}
    assert not wrong


def test_the_order_has_no_circle():
    done = set()
    while len(done) < len(MAY_IMPORT):
        free = {package for package, below in MAY_IMPORT.items() if package not in done and below <= done}
        assert free, "a circle among the remaining packages"
        done |= free


PROGRAM = """
import signal
before = {number: signal.getsignal(number) for number in signal.valid_signals()}
import numpygpt
numpygpt.GPT, numpygpt.gradcheck
from numpygpt import data, inspection, models, nn, optim, parallel, tokenizer, training, verify
assert before == {number: signal.getsignal(number) for number in signal.valid_signals()}
open("done", "w").close()
"""


@pytest.mark.parametrize("name", ["train.py", "test.py", "plot.py"])
def test_a_program_of_any_name_can_import_the_package_without_matplotlib_and_pytest(name, tmp_path):
    for missing in ("matplotlib", "pytest"):
        (tmp_path / f"{missing}.py").write_text("raise ImportError('not installed')")
    (tmp_path / name).write_text(PROGRAM)
    done = subprocess.run([sys.executable, "-W", "error", name], cwd=tmp_path, capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "") and (tmp_path / "done").exists()
