"""The first moments of a script: what is not installed, an old Python, Ctrl-C; and a user's program, which none of it
concerns."""

import ast
import signal
import subprocess
import sys

import pytest
from running import environment, process
from tiny import TINY, make_data

from numpygpt import startup
from numpygpt.utils.paths import ROOT

SCRIPTS = {"datagen.py": [], "train.py": [], "sample.py": [], "plot.py": ["matplotlib"],
           "test.py": ["matplotlib", "pytest"]}
BARE = ["-S", "-E"]  # without the folder that packages are installed in


@pytest.mark.parametrize("name", SCRIPTS)
def test_missing_packages_are_said_in_one_line_and_no_others(name):
    done = subprocess.run([sys.executable, *BARE, ROOT / name], capture_output=True, text=True)
    wanted = ", ".join(["numpy", "threadpoolctl", "tqdm", *SCRIPTS[name]])
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"{name}: error: not installed: {wanted}. ")
    assert "pip install -r requirements.txt" in done.stderr


@pytest.mark.parametrize("name", ["train.py", "sample.py", "datagen.py"])
def test_a_script_does_without_what_only_others_need(name, tmp_path):
    """pytest is for test.py, matplotlib for pictures."""
    for package in ("matplotlib", "pytest"):
        (tmp_path / f"{package}.py").write_text("raise ImportError('absent')")
    done = process(name, "--help", PYTHONPATH=tmp_path)
    assert (done.returncode, done.stderr) == (0, "") and "usage" in done.stdout


def test_an_old_python_is_named(monkeypatch):
    assert startup.fault(["sys"]) == ""
    monkeypatch.setattr(sys, "version_info", (3, 8, 10))
    assert "Python 3.11" in startup.fault(["sys"]) and sys.version.split()[0] in startup.fault(["sys"])


@pytest.mark.parametrize("name", [*SCRIPTS, "numpygpt/__init__.py", "numpygpt/startup.py"])
def test_an_old_python_can_read_what_it_meets_before_it_is_told(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    tree = ast.parse(text, feature_version=(3, 8))
    if name in SCRIPTS:  # nothing is imported before the check
        first = next(node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom))
        assert (first.module, [alias.name for alias in first.names]) == ("numpygpt", ["startup"])


USER = """
import signal, sys
before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
import numpygpt
assert before == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
assert numpygpt.__version__ and "GPT" in dir(numpygpt) and not hasattr(numpygpt, "no_such_name")
try:
    numpygpt.nn, numpygpt.GPT
except ImportError as error:
    print("no", error.name)
else:
    print(numpygpt.GPT.__name__, numpygpt.nn.Linear.__name__)
"""


@pytest.mark.parametrize("name", [*SCRIPTS, "mine.py"])
def test_an_import_in_a_users_program_of_any_name_is_harmless(name, tmp_path):
    (tmp_path / name).write_text(USER)
    for options, printed in (([], "GPT Linear\n"), (["-S"], "no numpy\n")):
        done = subprocess.run([sys.executable, *options, name], cwd=tmp_path, capture_output=True, encoding="utf-8",
                              env=environment({"PYTHONPATH": str(ROOT)}))
        assert (done.returncode, done.stdout, done.stderr) == (0, printed, "")


def test_every_public_name_is_there():
    code = "import numpygpt; from numpygpt import *; print(all(callable(eval(name)) for name in numpygpt.__all__))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8")
    assert (done.returncode, done.stdout) == (0, "True\n")


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("name", ["datagen.py", "sample.py", "train.py"])
def test_ctrl_c_in_the_terminal_is_none_of_a_background_jobs_business(name, tmp_path):
    """A shell starts such a job with SIGINT ignored. Each script is interrupted while it works."""
    data, run, text = make_data(tmp_path / "data"), tmp_path / "run", "To be, or not to be"
    arguments = {"train.py": [*TINY, "--data", data, "--out", run], "sample.py": [run, "--prompt-file", "-"],
                 "datagen.py": ["--input", "-", "--context", 8, "--out", tmp_path / "more"]}
    if name == "sample.py":
        assert process("train.py", *arguments["train.py"]).returncode == 0
    words = [sys.executable, "-c", SENT.format(root=str(ROOT), name=name), *map(str, arguments[name])]
    done = subprocess.run(words, input=text * 20, cwd=tmp_path, env=environment({}), capture_output=True,
                          encoding="utf-8", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr
    assert "ignored" in done.stdout and "stopped" not in done.stdout + done.stderr


SENT = """
import runpy, signal, sys
sys.path.insert(0, {root!r})
sys.argv[0] = {root!r} + "/" + {name!r}
import numpygpt.utils.cli as cli
plain = cli.run
def run(main):
    def interrupted():
        from numpygpt.models import GPT
        forward = GPT.forward
        def sent(*arguments, **more):  # in the middle of a training step
            signal.raise_signal(signal.SIGINT)
            return forward(*arguments, **more)
        GPT.forward = sent
        signal.raise_signal(signal.SIGINT)
        status = main()
        signal.raise_signal(signal.SIGINT)
        print("ignored" if signal.getsignal(signal.SIGINT) == signal.SIG_IGN else "changed")
        return status
    plain(interrupted)
cli.run = run
runpy.run_path(sys.argv[0], run_name="__main__")
"""
