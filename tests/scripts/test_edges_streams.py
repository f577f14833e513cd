"""Pipes that close, full disks, closed streams, narrow terminals, other locales and folders, and Ctrl-C: each script in
a process of its own, because it is the process that meets them."""

import os
import signal
import subprocess
import sys
import time

import pytest
from edges import TEXT, TINY
from running import environment, script

from numpygpt.utils.paths import ROOT

pytestmark = pytest.mark.skipif(os.name == "nt", reason="a POSIX shell is called")
BUFFERED = {"PYTHONUNBUFFERED": None}  # what is not written until the end can go wrong at the end
FEW = "run --max-new-tokens 3"
# Each script with an output that is not short, and quick.
WRITING = {
    "datagen.py": "--input text.txt --context 4 --out {new}",
    "train.py": "--dry-run --trace --data data --out {new} " + " ".join(map(str, TINY)),
    "sample.py": "run --max-new-tokens 20000",
    "plot.py": "explore run --prompt To --out {new}.html",
    "test.py": "--help",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("edges")
    (folder / "text.txt").write_text(TEXT, encoding="utf-8", newline="")
    for arguments in (["datagen.py", "--input", "text.txt", "--context", 8, "--out", "data"],
                      ["train.py", *TINY, "--data", "data", "--out", "run"]):
        assert script(*arguments, cwd=folder).returncode == 0
    return folder


@pytest.fixture
def shell(folder, tmp_path):
    """What bash does with a line in which {script.py} is the script; `new` is a name that nothing has."""

    def call(line, cwd=folder, **variables):
        for name in WRITING:
            line = line.replace(f"{{{name}}}", f"{sys.executable} {ROOT / name}")
        line = line.replace("{new}", str(tmp_path / "new"))
        return subprocess.run(["bash", "-c", line], cwd=cwd, env=environment(BUFFERED | variables), capture_output=True,
                              encoding="utf-8", stdin=subprocess.DEVNULL, timeout=120)

    return call


@pytest.mark.parametrize(("name", "reader"), [*((name, "true") for name in WRITING), ("sample.py", "head -c1")])
def test_a_reader_that_leaves_is_no_error(shell, name, reader):
    done = shell(f"set -o pipefail; {{{name}}} {WRITING[name]} | {reader}")
    assert done.returncode == 0
    assert "rror" not in done.stderr and "Exception" not in done.stderr, done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("name", WRITING)
def test_a_full_disk_behind_stdout_is_one_sentence(shell, name):
    few = f"{FEW} > /dev/full" if name == "sample.py" else f"{WRITING[name]} > /dev/full"
    done = shell(f"{{{name}}} {few}")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"{name}: error: No space left on device"
    lines = len(done.stderr.splitlines())
    assert lines == (3 if name == "sample.py" else 1)  # which says what model it reads, and where it runs


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("name", ["sample.py", "plot.py", "datagen.py"])
def test_closed_streams_change_nothing_but_what_is_seen(shell, tmp_path, name, closed):
    line = f"{FEW} --seed 1" if name == "sample.py" else WRITING[name]
    done = shell(f"{{{name}}} {line} {closed}")
    assert done.returncode == 0 and "rror" not in done.stderr
    if name != "sample.py":
        assert list(tmp_path.glob("new*")), "its file is written all the same"
    if ">&- 2" not in closed and name == "sample.py":
        assert (done.stdout == "") == (closed == ">&-")


def test_closed_streams_and_a_mistake(shell):
    assert shell("{sample.py} nowhere 2>&-").returncode == 2
    for line in ("{sample.py} run --score - <&-", "{datagen.py} --input - --out {new} <&-"):
        done = shell(line)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        assert "standard input" in done.stderr


@pytest.mark.parametrize("name", ["datagen.py", "test.py"])  # what looks is the same for all
def test_a_current_folder_that_was_deleted_is_said(shell, tmp_path, name):
    done = shell(f"mkdir gone && cd gone && rmdir ../gone && {{{name}}} {WRITING[name]}", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{name}: error: the current folder no longer exists: change to another one\n"


def test_from_another_folder_paths_are_the_users(shell, folder, tmp_path):
    done = shell(f"{{plot.py}} explore {folder / 'run'} --prompt To --out here.html", cwd=tmp_path)
    assert done.returncode == 0 and (tmp_path / "here.html").exists()


@pytest.mark.parametrize("locale", [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
                                    {"PYTHONIOENCODING": "ascii"}])  # fmt: skip
def test_what_is_written_is_utf_8_whatever_the_locale(shell, locale):
    done = shell("{datagen.py} --inspect data", **locale)
    assert done.returncode == 0 and "⏎" in done.stdout


@pytest.mark.parametrize(("variables", "coloured"), [
    ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True), ({"NO_COLOR": "1"}, False),
])  # fmt: skip
def test_colours_are_a_wish(folder, variables, coloured):
    done = script("datagen.py", "--inspect", "data", cwd=folder, **variables)
    assert done.returncode == 0 and ("\x1b[" in done.stdout) == coloured


COMMANDS = [
    "datagen.py --inspect data", "sample.py run --explain --max-new-tokens 3", "sample.py run --score text.txt",
    "datagen.py --input text.txt --context 4 --out {new}", "plot.py explore run --prompt To --out {new}.html",
    "train.py --data data --out {new} " + " ".join(map(str, TINY)),
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_a_terminal_of_20_columns(folder, tmp_path, command):
    status, text = on_terminal(command.replace("{new}", str(tmp_path / "new")).split(), folder, columns=20)
    assert status == 0 and "Traceback" not in text and "rror" not in text, text


def on_terminal(words, cwd, columns):
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 10, columns, 0, 0))
    child = subprocess.Popen([sys.executable, ROOT / words[0], *words[1:]], cwd=cwd, stdin=theirs, stdout=theirs,
                             stderr=theirs, env=environment({"COLUMNS": None, "LINES": None, "TERM": "xterm"}))
    os.close(theirs)
    text = b""
    while True:
        try:
            data = os.read(ours, 1 << 16)
        except OSError:  # Linux's way to say that the other side is closed
            break
        if not data:
            break
        text += data
    os.close(ours)
    return child.wait(), text.decode("utf-8", errors="replace")


LONG_WORK = {  # what runs until it is stopped, and the first words that it writes
    "sample.py": ("run --max-new-tokens 1000000000", "run/best.npz"),
    "test.py": ("--gradients", "layer"),
    "datagen.py": ("--input {pipe} --out {new}", ""),
    "plot.py": ("tokens {pipe} run --out {new}.png", ""),
}


@pytest.mark.parametrize("name", LONG_WORK)
def test_ctrl_c_is_one_line_and_status_130(folder, tmp_path, name):
    """train.py saves first, which its own tests see to."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    arguments, begun = LONG_WORK[name]
    words = arguments.format(pipe=pipe, new=tmp_path / "new").split()
    child = subprocess.Popen([sys.executable, ROOT / name, *words], cwd=folder, env=environment({}),
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    holder = os.open(pipe, os.O_RDWR)  # which keeps it open, and writes nothing
    try:
        if begun:
            stream = child.stderr if name == "sample.py" else child.stdout
            assert stream.readline().decode().startswith(begun)
        else:
            wait_for_reader(child, pipe)
        child.send_signal(signal.SIGINT)
        _, error = child.communicate(timeout=60)
    finally:
        os.close(holder)
        child.kill()
    assert (child.returncode, error) == (130, b"\nstopped\n")
    assert not list(tmp_path.glob("new*")) and not list(tmp_path.glob(".new*"))


def wait_for_reader(child, pipe):
    """Until the child has the pipe open, where it waits for what never comes."""
    for _ in range(600):
        opened = f"/proc/{child.pid}/fd"
        if not os.path.isdir("/proc/self/fd"):
            pytest.skip("there is no /proc")
        if any(os.path.realpath(f"{opened}/{fd}") == str(pipe) for fd in os.listdir(opened)):
            return
        time.sleep(0.1)
    raise AssertionError("the pipe was never opened")


@pytest.mark.parametrize("name", ["datagen.py", "train.py", "sample.py", "plot.py", "test.py"])
def test_ctrl_c_while_a_script_is_still_imported_is_no_traceback(folder, name):
    """The signal is sent by the last module to be imported, before `main` is reached."""
    code = (f"import runpy, sys, os, signal, builtins\nsys.argv = [{str(ROOT / name)!r}, '--help']\n"
            f"sys.path.insert(0, {str(ROOT)!r})\nkeep = builtins.__import__\n"
            "def late(name, *a, **k):\n"
            "    found = keep(name, *a, **k)\n"
            "    if name.startswith('numpygpt.utils'): os.kill(os.getpid(), signal.SIGINT)\n"
            "    return found\n"
            "import numpygpt\nbuiltins.__import__ = late\nrunpy.run_path(sys.argv[0], run_name='__main__')\n")
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment({}), capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")

