"""A script that is called in this process does what it does in one of its own, and leaves nothing behind."""

import os
import signal
import sys
import warnings

import matplotlib
import numpy as np
import pytest
import running
from running import process, script

TEXT = "To be, or not to be: that is the question.\n" * 20


@pytest.mark.parametrize(("name", "arguments", "status"), [
    ("datagen.py", ["--input", "-", "--context", 16, "--out", "data"], 0), ("train.py", ["qick"], 2),
    ("sample.py", ["nowhere"], 2), ("plot.py", ["compare"], 2), ("test.py", ["--help"], 0),
])  # fmt: skip
def test_a_script_writes_here_what_it_writes_in_a_process(tmp_path, name, arguments, status):
    found = []
    for way in (process, script):
        (tmp_path / way.__name__).mkdir()
        found.append(way(name, *arguments, text=TEXT, cwd=tmp_path / way.__name__))
    own, here = found
    assert (own.returncode, own.stdout, own.stderr) == (here.returncode, here.stdout, here.stderr)
    assert own.returncode == status and (own.stderr if status else own.stdout)
    files = [{path.relative_to(tmp_path / way): path.read_bytes() for path in (tmp_path / way).rglob("*")
              if path.is_file()} for way in ("process", "script")]
    assert files[0] == files[1] and bool(files[0]) == (name == "datagen.py")


@pytest.fixture
def written(tmp_path, monkeypatch):
    """A script of these lines, called in this process."""
    monkeypatch.setattr(running, "ROOT", tmp_path)

    def call(lines, *arguments, **options):
        (tmp_path / "written.py").write_text(lines, encoding="utf-8")
        return script("written.py", *arguments, **options)

    return call


def test_a_script_finds_what_a_process_would_have(written, tmp_path, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("LEFT", "out")
    (tmp_path / "below").mkdir()
    done = written(
        "import os, sys\n"
        "print(__name__, sys.argv[1:], os.path.basename(sys.argv[0]), os.path.basename(os.getcwd()))\n"
        "print([os.environ.get(name) for name in ('GIVEN', 'LEFT', 'FORCE_COLOR', 'COLUMNS')])\n"
        "print(sys.stdin.buffer.read(), sys.stdout.isatty(), sys.stderr.isatty(), file=sys.stderr)\n"
        "sys.exit(3)\n",
        "a", 7, text="é", cwd=tmp_path / "below", GIVEN="é", LEFT=None,
    )  # fmt: skip
    assert done.returncode == 3
    assert done.stdout == "__main__ ['a', '7'] written.py below\n['é', None, None, '80']\n"
    assert done.stderr == "b'\\xc3\\xa9' False False\n"


MESS = """
import os, signal, sys, warnings
import matplotlib, numpy
os.chdir("..")
os.environ["NEW"] = "1"
del os.environ["OLD"]
sys.argv.append("more")
signal.signal(signal.SIGTERM, signal.SIG_IGN)
matplotlib.rcParams["font.size"] = 99
numpy.seterr(all="ignore")
warnings.simplefilter("ignore")
print("said")
"""


@pytest.mark.parametrize(("end", "status"), [("", 0), ("sys.exit(1)", 1), ("raise KeyError('ours')", None)])
def test_nothing_that_a_script_changes_stays(written, monkeypatch, capsys, end, status):
    monkeypatch.setenv("OLD", "1")

    def state():
        streams = [sys.stdin, sys.stdout, sys.stderr, sys.argv, list(sys.argv), sys.modules["__main__"]]
        return [*streams, os.getcwd(), dict(os.environ), signal.getsignal(signal.SIGTERM),
                dict(matplotlib.rcParams), np.geterr(), list(warnings.filters)]

    before = state()
    if status is None:
        with pytest.raises(KeyError, match="ours"):
            written(MESS + end)
    else:
        assert written(MESS + end).returncode == status
    assert state() == before
    assert capsys.readouterr() == ("", "")


def test_a_warning_is_an_error_and_ctrl_c_is_meant_for_the_tests(written):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(UserWarning, match="odd"):
            written("import warnings; warnings.warn('odd')")
    with pytest.raises(KeyboardInterrupt):
        written("import sys; sys.exit(130)")
