"""meta.json from a stranger: no value in it ends in a traceback, makes its reader wait or rules the terminal."""

import faulthandler
import json
import os

import pytest
from running import script
from tiny import TINY, make_data

from numpygpt.data import TokenDataset
from numpygpt.data.folder import check_replace
from numpygpt.data.meta import FILES, MAX_META_BYTES, MAX_SHOWN, MAX_TEXT, plain, read_meta

EVIL = "\x1b]0;owned\x07\x1b[31mX\nmodel    1 parameter\u202e\x9b"
SHOWN = r"\u001b]0;owned\u0007\u001b[31mX\u000amodel    1 parameter\u202e\u009b"


@pytest.fixture
def folder(tmp_path):
    return make_data(tmp_path / "data")


@pytest.fixture
def patience():
    """What makes its reader wait ends the tests, and says where."""
    faulthandler.dump_traceback_later(60, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def change(folder, **changes):
    """Each value replaced, of an object the parts that are given."""
    path = folder / "meta.json"
    meta = json.loads(path.read_text(encoding="utf-8"))
    for name, value in changes.items():
        meta[name] = {**meta[name], **value} if isinstance(value, dict) else value
    path.write_text(json.dumps(meta), encoding="utf-8")
    return meta


def dry_run(folder):
    return script("train.py", *TINY, "--data", folder, "--dry-run")


def refused(folder, sentence):
    """train.py ends in this one line, which TokenDataset.load says as well."""
    done = dry_run(folder)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1, done
    assert sentence in done.stderr and done.stderr[:-1].isprintable()
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        TokenDataset.load(folder)
    assert sentence in str(caught.value) and str(caught.value).isprintable()


def test_a_strangers_texts_do_not_rule_the_terminal(folder):
    change(folder, corpus=EVIL, source=EVIL)
    done = dry_run(folder)
    assert done.returncode == 0, done.stderr
    assert all(line.isprintable() for line in done.stdout.splitlines())
    assert len([line for line in done.stdout.splitlines() if line.startswith("model ")]) == 1
    assert " ".join(f": {SHOWN}, ".split()) in " ".join(done.stdout.split())
    done = script("datagen.py", "--inspect", folder)
    assert done.returncode == 0 and all(line.isprintable() for line in done.stdout.splitlines())


def test_nor_does_the_sentence_of_a_folder_that_holds_other_data(folder):
    there = change(folder, corpus=EVIL, tokenizer={"kind": EVIL})
    with pytest.raises(ValueError) as caught:
        check_replace(folder, {**there, "corpus": "other"}, force=False)
    assert f"({SHOWN}, {SHOWN}; it differs in corpus)" in str(caught.value)


@pytest.mark.skipif(os.name == "nt", reason="no file has such a name there")
def test_names_of_odd_files_are_shown_as_well(tmp_path):
    name = "a\x1b[31mb\u202e.txt"
    (tmp_path / name).write_text("To be, or not to be.\n" * 40)
    done = script("datagen.py", "--input", name, "--out", "out", "--context", 8, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == r"corpus      a_31mb_: a\u001b[31mb\u202e.txt"
    assert read_meta(tmp_path / "out")["source"] == r"a\u001b[31mb\u202e.txt"


def test_a_long_text_stays_within_a_line(folder):
    change(folder, corpus="x" * MAX_TEXT)
    line = " ".join(dry_run(folder).stdout.split())
    assert "x" * (MAX_SHOWN - 3) + "...," in line and "x" * (MAX_SHOWN - 2) not in line
    assert plain("x" * MAX_SHOWN) == "x" * MAX_SHOWN and plain("\x1b" * 20) == (r"\u001b" * 20)[: MAX_SHOWN - 3] + "..."


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"train": {"tokens": None}}, "train.tokens"),
        ({"val": {"tokens": True}}, "val.tokens"),
        ({"val": {"bytes": -1}}, "val.bytes"),
        ({"train": {"bytes": 0}}, "train.bytes"),
        ({"val": {"bytes": 0}}, "val.bytes"),
        ({"train": {"tokens": 0}}, "train.tokens"),
        ({"val": {"tokens": 0}}, "val.tokens"),
        ({"val": {"characters": -1}}, "val.characters"),
        ({"val": {EVIL: 1.5}}, f"val.{SHOWN}"),
        ({"vocab_size": "\x1b[2J"}, "vocab_size"),
        ({"vocab_size": 0}, "vocab_size"),
        ({"vocab_size": 7}, "vocab_size"),
        ({"settings": None}, "settings and split"),
        ({"split": [1]}, "settings and split"),
        ({"corpus": ["rhyme"]}, "corpus"),
        ({"corpus": "x" * (MAX_TEXT + 1)}, "corpus"),
        ({"source": 1}, "source"),
        ({"sha256": None}, "sha256"),
        ({"tokenizer": {"kind": {}}}, "tokenizer.kind"),
        ({"tokenizer": {"kind": EVIL}}, SHOWN),
        ({"tokenizer": {"sha256": 5}}, "tokenizer.sha256"),
        ({"format": EVIL}, f"{SHOWN} version 1"),
    ],
)
def test_values_that_make_no_sense_are_named(folder, changes, sentence):
    change(folder, **changes)
    refused(folder, sentence)


def test_no_more_is_read_than_any_meta_file_has(folder):
    path = folder / "meta.json"
    content = path.read_bytes()
    path.write_bytes(content + b" " * (MAX_META_BYTES - len(content)))
    assert TokenDataset.load(folder).meta == json.loads(content)
    path.write_bytes(content + b" " * (MAX_META_BYTES + 1 - len(content)))
    refused(folder, "1,048,576")


@pytest.mark.parametrize("name", FILES)
def test_a_folder_in_place_of_a_file_is_named(folder, name):
    (folder / name).unlink()
    (folder / name).mkdir()
    refused(folder, name)
    with pytest.raises(ValueError):  # what is in it may be dear to its owner
        check_replace(folder, {}, force=True)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("name", FILES)
def test_a_pipe_in_place_of_a_file_makes_nobody_wait(folder, name, patience):
    (folder / name).unlink()
    os.mkfifo(folder / name)
    refused(folder, name)
