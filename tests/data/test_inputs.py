"""What --input takes: files, folders, patterns and pipes, in order, and a sentence for each mistake."""

import io
import os
import sys
import threading
from pathlib import Path

import pytest

from numpygpt.data import read_corpus
from numpygpt.data.streams import END


def texts(corpus):
    """The documents of a corpus."""
    return "".join("\0" if piece is END else piece for piece in corpus.pieces()).split("\0")[:-1]


@pytest.fixture
def library(tmp_path):
    """b.txt, a.md, sub/c.txt, sub/deep/d.txt, and what is hidden."""
    names = ["b.txt", "a.md", "sub/c.txt", "sub/deep/d.txt", ".hidden.txt", ".git/config.txt", "sub/.e.txt"]
    for name in names:
        (tmp_path / "lib" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "lib" / name).write_text(name)
    return tmp_path / "lib"


def test_files_are_documents_in_the_order_given_and_unchanged(tmp_path):
    one, two, three = (tmp_path / name for name in ("my notes.txt", "two.txt", "three.txt"))
    one.write_bytes(b"\xef\xbb\xbfone\r\n")
    two.write_bytes("zwölf".encode())
    three.write_bytes(b"three")
    four = tmp_path / "four.txt"
    four.write_bytes(b"four")
    corpus = read_corpus([one, two, three])
    assert texts(corpus) == ["one\r\n", "zwölf", "three"]
    assert corpus.name == "my_notes_and_2_more" and corpus.source == "my notes.txt, two.txt, three.txt"
    assert read_corpus([three, one, two, four]).source == "three.txt, my notes.txt, two.txt and 1 more"
    assert read_corpus([str(two)]).name == "two"


def test_a_folder_gives_every_file_that_is_not_hidden(library):
    corpus = read_corpus([library])
    assert texts(corpus) == ["a.md", "b.txt", "sub/c.txt", "sub/deep/d.txt"]
    assert corpus.name == "lib" and corpus.source == f"{library.as_posix()} (4 files)"
    assert texts(read_corpus([library / "sub", library / "a.md"])) == ["sub/c.txt", "sub/deep/d.txt", "a.md"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.txt", ["b.txt"]),
        ("**/*.txt", ["b.txt", "sub/c.txt", "sub/deep/d.txt"]),
        ("**", ["a.md", "b.txt", "sub/c.txt", "sub/deep/d.txt"]),
        ("s?b/[c-d].txt", ["sub/c.txt"]),
    ],
)
def test_patterns(library, monkeypatch, pattern, found):
    assert texts(read_corpus([library / pattern])) == found
    monkeypatch.chdir(library)
    assert texts(read_corpus([pattern])) == found


def test_a_file_whose_name_looks_like_a_pattern(tmp_path):
    (tmp_path / "a[1].txt").write_text("this one")
    (tmp_path / "a1.txt").write_text("not this one")
    assert texts(read_corpus([tmp_path / "a[1].txt"])) == ["this one"]


def test_what_is_no_text_in_a_folder_is_refused_by_name_with_a_hint(library):
    (library / "sub" / "image.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(ValueError, match=r"image\.png"):
        read_corpus([library])


def test_standard_input_is_kept_until_the_end(monkeypatch):
    stdin = io.TextIOWrapper(io.BytesIO("één tekst".encode()))
    monkeypatch.setattr(sys, "stdin", stdin)
    with read_corpus(["-"]) as corpus:
        assert (corpus.name, corpus.source, corpus.size) == ("stdin", "stdin", 11)
        assert texts(corpus) == texts(corpus) == ["één tekst"]
        copy = corpus.documents[0].source
    assert copy.closed


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_is_read_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_text("through a pipe"))
    writer.start()
    with read_corpus([tmp_path / "pipe"]) as corpus:
        writer.join()
        assert texts(corpus) == texts(corpus) == ["through a pipe"]


def test_a_copy_is_closed_where_a_later_input_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"text")))
    with pytest.raises(FileNotFoundError):  # and no ResourceWarning, which would be an error here
        read_corpus(["-", tmp_path / "none"])


def test_separators_part_documents_in_a_file(tmp_path):
    (tmp_path / "one.txt").write_text("a\n<|endoftext|>\nb\n<|endoftext|>\n")
    (tmp_path / "two.txt").write_text("c<|endoftext|>d")
    corpus = read_corpus([tmp_path / "one.txt", tmp_path / "two.txt"], separator="<|endoftext|>")
    assert texts(corpus) == ["a\n", "b\n", "", "c", "d"]


@pytest.mark.parametrize(
    ("given", "options", "error", "message"),
    [
        ("leters.txt", {}, FileNotFoundError, r"no file .*leters\.txt; did you mean letters\.txt\?"),
        ("nowhere/x.txt", {}, FileNotFoundError, r"no file .*x\.txt$"),
        ("*.tex", {}, FileNotFoundError, r"no file matches '.*\*\.tex'"),
        ("empty", {}, ValueError, "empty"),
        ("letters.txt", {"separator": ""}, ValueError, "separator"),
        ("letters.txt", {"encoding": "utf-9"}, ValueError, "'utf-9'; did you mean utf"),
    ],
)
def test_mistakes(tmp_path, given, options, error, message):
    (tmp_path / "letters.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".hidden").write_text("x")
    with pytest.raises(error, match=message):
        read_corpus([tmp_path / given], **options)


def test_no_input():
    with pytest.raises(ValueError):
        read_corpus([])


def test_names_are_fit_for_folders(tmp_path, monkeypatch):
    for name, expected in (("a b/c.txt", "c"), ("ü & x.txt", "ü_x"), (".x", "x"), ("....", "text")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
        assert read_corpus([path]).name == expected
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "x.txt").write_text("x")
    monkeypatch.chdir(tmp_path / "here")
    assert read_corpus([Path(".")]).name == "here"
