"""Text that a corpus has twice: files under several names, copies, and documents that are in both parts."""

import io
import os
import sys

import numpy as np
import pytest

from numpygpt.data import prepare, read_corpus


def texts(corpus):
    return [piece for piece in corpus.pieces() if isinstance(piece, str)]


@pytest.fixture
def books(tmp_path, monkeypatch):
    (tmp_path / "books").mkdir()
    for name in "abc":
        (tmp_path / "books" / f"{name}.txt").write_text(f"book {name}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "books"


@pytest.mark.parametrize("given", [
    ["books", "books/*.txt"], ["books/*.txt", "books"], ["books", "./books/../books/b.txt"], ["books", "books"],
    ["books/a.txt", "books/b.txt", "books/a.txt", "books/c.txt"], ["books/?.txt", "{absolute}/c.txt"],
    ["{absolute}", "books/**/*.txt"]])
def test_a_file_counts_once_however_it_is_named(books, given):
    corpus = read_corpus([name.format(absolute=books) for name in given])
    assert texts(corpus) == ["book a\n", "book b\n", "book c\n"]
    (note,) = corpus.notes
    assert ".txt" in note and ("3 files" in note or "1 file" in note)


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_link_is_the_file_that_it_leads_to(books, link):
    link(books / "a.txt", books / "d.txt")
    corpus = read_corpus(["books"])
    assert texts(corpus) == ["book a\n", "book b\n", "book c\n"]
    assert len(corpus.notes) == 1 and "1 file" in corpus.notes[0]


def test_a_linked_folder_is_the_same_folder(books):
    os.symlink(books, "other")
    assert texts(read_corpus(["books", "other"])) == ["book a\n", "book b\n", "book c\n"]


def test_a_copy_counts_once_and_is_named(books):
    for name in ("d", "e", "f", "g", "h"):
        (books / f"{name}.txt").write_text("book a\n")
    (books / "i.txt").write_text("book i\n")  # of the same size
    corpus = read_corpus(["books"])
    assert texts(corpus) == ["book a\n", "book b\n", "book c\n", "book i\n"]
    (note,) = corpus.notes
    assert "5 files" in note and "d.txt (as books/a.txt)" in note and "2 more" in note


def test_standard_input_counts_once_as_well(books, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"book b\n")))
    with read_corpus(["books/b.txt", "-"]) as corpus:
        assert texts(corpus) == ["book b\n"] and "stdin" in corpus.notes[0]


def test_empty_files_are_no_copies(books):
    for name in "xy":
        (books / f"{name}.txt").write_text("")
    (note,) = read_corpus(["books"]).notes
    assert "2 files are empty" in note and "x.txt" in note and "y.txt" in note


def documents(number, seed=0):
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list("abcdefg \n"), 50)).strip() + "x" for _ in range(number)]


def made(tmp_path, parts, **settings):
    (tmp_path / "text").write_text("\n--\n".join(parts))
    said = []
    with read_corpus([tmp_path / "text"], separator="\n--\n") as corpus:
        dataset = prepare(corpus, tmp_path / "data", context=16, say=said.append, **settings)
    return dataset, said


def contents(dataset, part):
    return dataset.tokenizer.decode(getattr(dataset, part)).split("<|endoftext|>")[:-1]


def test_validation_documents_that_training_has_are_left_out(tmp_path):
    parts = documents(100)
    for at in (19, 49, 99):
        parts[at] = parts[at - 9] + " \n"  # the validation documents are 9, 19, ... 99
    parts[30] = parts[31]  # within the training part a document may come again
    dataset, said = made(tmp_path, parts, split="document")
    kept = [parts[at].strip() for at in (9, 29, 39, 59, 69, 79, 89)]
    assert [text.strip() for text in contents(dataset, "val")] == kept
    assert len(contents(dataset, "train")) == 90 == dataset.meta["train"]["documents"]
    assert dataset.meta["val"]["documents"] == 7 and dataset.meta["split"]["left_out"] == 3
    (note,) = [line for line in said if "validation documents" in line]
    assert "3 of the 10" in note


def test_by_position_as_well(tmp_path):
    parts = documents(100)
    parts[95], parts[98] = parts[3], parts[7]
    dataset, said = made(tmp_path, parts, split="position")
    found = contents(dataset, "val")
    assert parts[3] not in found and parts[7] not in found and parts[96] in found and parts[99] in found
    assert contents(dataset, "train")[:90] == parts[:90] and dataset.meta["split"]["left_out"] == 2
    assert sum("validation documents" in line for line in said) == 1


def test_a_copy_that_the_split_cuts_is_left_out(tmp_path):
    parts = documents(100)
    parts[90] = parts[3] * 2
    parts[4] = parts[90]
    dataset, said = made(tmp_path, parts, split="position")
    assert any("validation documents" in line for line in said) and dataset.meta["split"]["left_out"] == 1
    assert contents(dataset, "train")[4] == parts[4] and contents(dataset, "val")[0] == parts[91]
    assert parts[90] not in contents(dataset, "train")[5:]


def test_without_repeats_nothing_is_said_or_recorded(tmp_path):
    dataset, said = made(tmp_path, documents(100), split="document")
    assert "left_out" not in dataset.meta["split"] and not any("left out" in line for line in said)
    assert len(contents(dataset, "val")) == 10


def test_a_validation_part_that_is_all_in_the_training_part_is_kept_with_a_warning(tmp_path):
    parts = documents(20)
    parts[9], parts[19] = parts[0], parts[1]
    dataset, said = made(tmp_path, parts, split="document")
    assert contents(dataset, "val") == [parts[0], parts[1]] and "left_out" not in dataset.meta["split"]
    assert sum(line.startswith("warning: 2 of the 2 validation documents") for line in said) == 1
