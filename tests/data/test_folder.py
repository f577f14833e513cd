"""A data folder while it is written: a kill at any moment, a disk that refuses, and what is found afterwards."""

import contextlib
import errno
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from running import script

from numpygpt.data import Corpus, TokenDataset, prepare
from numpygpt.data.folder import id_dtype, new_folder, saving, write_tokens
from numpygpt.data.inputs import read_corpus
from numpygpt.data.meta import FILES, displaced_folder
from numpygpt.utils.files import NotSaved
from numpygpt.utils.paths import ROOT

TEXT = "To be, or not to be: that is the question.\n" * 40
HOW = "raise the limit on the size of files, and run this again"
FULL = OSError(errno.ENOSPC, "No space left on device")

# One process that forks another for each event in which a folder is replaced, and has it killed there.
KILLS = """
import json, os, signal, sys
from pathlib import Path
from numpygpt.data import Corpus, TokenDataset, prepare

os.fsync = lambda handle: None  # which a kill of the process alone does not ask for, and which takes most of the time
CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree")

def make(name, folder, force=True, say=lambda line: None):
    corpus = Corpus.of(name, f"the {name} text " * 40, name)
    return prepare(corpus, folder, context=8, force=force, say=say)

def replaced(folder, number):
    "Replace it in a process that is killed before its change of this number; whether it was."
    pid = os.fork()
    if pid:
        return os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    count = 0
    def hook(event, arguments):
        nonlocal count
        if event in CHANGES or event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
    make("new", folder)
    os._exit(0)

def beside(folder):
    return sorted(path.suffix for path in folder.parent.iterdir() if path != folder)

found, killed, number = [], True, 0
while killed:
    number += 1
    folder = Path(sys.argv[1]) / str(number) / "text_char"
    make("old", folder)
    killed = replaced(folder, number)
    case = {"killed": killed, "beside": beside(folder)}
    try:
        case["found"] = TokenDataset.load(folder).meta["corpus"]
    except FileNotFoundError as error:
        case["said"] = str(error)
    notes = []
    try:
        case["again"] = make("old", folder, False, notes.append).meta["corpus"]
    except ValueError as error:
        case["again"] = str(error)
    case["notes"] = notes
    case["end"] = make("new", folder).meta["corpus"]
    case["left"] = beside(folder)
    found.append(case)
print(json.dumps(found))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_kill_before_any_change_leaves_the_old_folder_or_the_new_or_says_where_it_is(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLS, tmp_path], capture_output=True, encoding="utf-8",
                          env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"})  # fmt: skip
    assert done.returncode == 0, done.stderr
    *cases, last = json.loads(done.stdout)
    assert last == {"killed": False, "beside": [], "found": "new", "again": last["again"], "notes": [], "end": "new",
                    "left": []}  # fmt: skip
    assert all(case["killed"] for case in cases) and len(cases) > 12
    states = [case.get("found", "aside") for case in cases]
    assert states == ["old"] * states.count("old") + ["aside"] + ["new"] * states.count("new")
    assert {"old", "aside", "new"} <= set(states)
    for case, state in zip(cases, states, strict=True):
        assert case["end"] == "new" and case["left"] == [], case
        if state == "new":
            assert case["beside"] in ([".lock", ".old"], [".lock"]), case
            assert "holds other data (new, char;" in case["again"], case
        else:
            assert case["again"] == "old", case
    (aside,) = (case for case in cases if "said" in case)
    assert aside["beside"] == [".lock", ".new", ".old"]
    (old,) = re.findall(r"(\S+\.old)", aside["said"])
    assert re.search(r"text_char/?$", old) is None and re.search(r"/\.text_char\.[0-9a-f]{8}\.old$", old)
    note = aside["notes"][0]
    assert note.startswith("note: ") and old in note


def make(folder, name="old", text=TEXT, **settings):
    return prepare(Corpus.of(name, text, name), folder, context=4, **settings)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_only_a_whole_folder_under_its_own_name_is_found_again(tmp_path):
    folder = tmp_path / "a[b]"
    make(folder)
    assert displaced_folder(folder) is None
    folder.rename(tmp_path / ".a[b].0123abcd.old")
    assert displaced_folder(folder) == tmp_path / ".a[b].0123abcd.old"
    assert [displaced_folder(tmp_path / name) for name in ("a", "b", "ab")] == [None] * 3
    (tmp_path / ".a[b].0123abcd.old").rename(tmp_path / ".a[b].0123abcx.old")
    assert displaced_folder(folder) is None
    for name in FILES:
        half = tmp_path / ".a[b].11111111.old"
        make(half)
        (half / name).unlink()  # as where its removal was killed
        assert displaced_folder(folder) is None
    assert [path.name for path in tmp_path.iterdir() if path.name == "a[b]"] == []


def test_what_is_back_is_not_replaced_without_force(tmp_path):
    folder, said = tmp_path / "text", []
    make(folder)
    folder.rename(tmp_path / ".text.0123abcd.old")
    with pytest.raises(ValueError):
        make(folder, "new", say=said.append)
    assert TokenDataset.load(folder).meta["corpus"] == "old" and len(said) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def test_a_write_that_fails_keeps_what_a_kill_has_put_aside(tmp_path):
    make(tmp_path / ".text.0123abcd.old")
    with pytest.raises(ValueError, match="stop"), new_folder(tmp_path / "text"):
        raise ValueError("stop")
    assert displaced_folder(tmp_path / "text") == tmp_path / ".text.0123abcd.old"
    make(tmp_path / "other")
    with pytest.raises(ValueError, match="stop"), new_folder(tmp_path / "other"):
        raise ValueError("stop")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".text.0123abcd.old", "other"]


@pytest.mark.skipif(os.name != "posix", reason="folders cannot be synced there")
def test_the_disk_has_it_all_before_the_old_data_goes(tmp_path, monkeypatch):
    """By i-number, what was synced before each rename of a folder and before the old one was removed."""
    synced, seen, fsync, rename = [], [], os.fsync, Path.rename

    def noted_fsync(handle):
        synced.append(os.fstat(handle).st_ino)
        fsync(handle)

    def noted_rename(path, target):
        made = next(tmp_path.glob(".text.*.new"))
        seen.append({path.stat().st_ino for path in (made, *made.iterdir())} <= set(synced))
        synced.clear() if path == made else None
        return rename(path, target)

    def noted_rmtree(path, **options):
        seen.append((path.suffix, tmp_path.stat().st_ino in synced))

    make(tmp_path / "text")
    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "rename", noted_rename)
    monkeypatch.setattr("shutil.rmtree", noted_rmtree)
    make(tmp_path / "text", "new", force=True)
    assert seen == [True, True, (".new", True), (".old", True)]


@contextlib.contextmanager
def largest_file(size):
    """No file may grow beyond this size: a write ends short, the next one fails. Python ignores the signal SIGXFSZ."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


REFUSED = {  # which file does not fit: flags that make it the first that is larger than those before
    "train.bin": ["--context", 4],
    "val.bin": ["--context", 4, "--val-fraction", 0.9],
    "tokenizer.json": ["--context", 4, "--tokenizer", "bpe", "--vocab-size", 270],
    "meta.json": ["--context", 4, "--input", "short.txt"],
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_does_not_fit_leaves_what_was_there(tmp_path, name):
    (tmp_path / "text.txt").write_text(TEXT)
    (tmp_path / "short.txt").write_text("to be " * 20)
    words = [*(["--input", "text.txt"] if name != "meta.json" else []), *REFUSED[name]]
    assert script("datagen.py", *words, "--out", "out", cwd=tmp_path).returncode == 0
    before = contents(tmp_path / "out")
    limit = len(before[name]) - 1
    assert all(len(before[other]) <= limit for other in FILES[: FILES.index(name)])
    size = len(before["train.bin"]) + len(before["val.bin"])
    needs = "" if "bpe" in words else f" (it needs about {size / 1e3:,.1f} kB)"
    for out, kept in (("out", "out is as it was"), ("other/below/it", "No folder was made")):
        with largest_file(limit):
            done = script("datagen.py", *words, "--out", out, "--force", cwd=tmp_path)
        told = f"{out} could not be written: File too large{needs}. {kept}: {HOW}\n"
        assert done.returncode == 2 and done.stderr == f"datagen.py: error: {told}"
        assert contents(tmp_path / "out") == before
        assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "short.txt", "text.txt"]


def test_a_pipe_that_does_not_fit_is_told_with_its_place(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x" * 5000)))
    with largest_file(4000), pytest.raises(NotSaved) as caught:
        read_corpus(["-"])
    place = Path(tempfile.gettempdir()).resolve() / "numpygpt"
    assert str(place) in str(caught.value) and "File too large" in str(caught.value) and "TMPDIR" in str(caught.value)


def test_a_full_disk_is_told_with_what_it_has(tmp_path, monkeypatch):
    def full(handle):
        raise FULL

    monkeypatch.setattr(os, "fsync", full)
    told = r"text.*No space left on device.* 3\.4 kB.* [\d,.]+ [kM]B"
    with pytest.raises(NotSaved, match=told):
        make(tmp_path / "text")
    with pytest.raises(NotSaved, match=r"on device \([\d,.]+ [kM]B"):
        make(tmp_path / "text", tokenizer="word")
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_what_is_read_is_not_told_as_one_of_the_disk(tmp_path):
    def arrays():
        yield np.arange(3)
        raise OSError(errno.EIO, "Input/output error", "text.txt")

    with pytest.raises(OSError, match=r"text\.txt"), new_folder(tmp_path / "a") as made:
        write_tokens(made / "train.bin", arrays(), id_dtype(3), saving=lambda: saving(tmp_path / "a"))
    assert list(tmp_path.iterdir()) == []
