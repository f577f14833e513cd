"""What --score, --prompt-file and plot.py read: a text as it is, what a vocabulary lacks, and no more than a bound."""

import io
import sys
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

from numpygpt.data import user_text
from numpygpt.data.user_text import known_text, read_ids, read_text
from numpygpt.tokenizer import BPETokenizer, CharTokenizer, WordTokenizer

MOST = 3 << 20


class Endless(io.RawIOBase):
    """Standard input that a device without an end was put to."""

    given = 0

    def read(self, size=-1):
        assert 0 < size and self.given <= MOST, "more is read than was asked for"
        self.given += size
        return b"x" * size


@pytest.fixture(autouse=True)
def bound(monkeypatch):
    monkeypatch.setattr(user_text, "MAX_BYTES", MOST)


def written(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "text.txt"
    path.write_bytes(text.encode(encoding))
    return str(path)


def test_a_text_comes_as_it_is(tmp_path):
    text = "Größe\r\n日本語 \ufeff" * 60_000
    assert MOST * 0.4 < len(text.encode()) < MOST
    assert read_text(written(tmp_path, text)) == text


@pytest.mark.parametrize("extra", [0, 1])
def test_a_file_has_a_bound(tmp_path, extra):
    path = written(tmp_path, "x" * (MOST + extra))
    if extra:
        with pytest.raises(ValueError, match="^the prompt .* 3,145,728 bytes.*text.txt$"):
            read_text(path, "the prompt")
    else:
        assert len(read_text(path, "the prompt")) == MOST


def test_what_has_no_end_is_stopped(monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=Endless()))
    with pytest.raises(ValueError, match="3,145,728"):
        read_text("-")


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-16-le", "utf-32-be"])
def test_another_encoding_is_refused_with_a_command(tmp_path, encoding):
    path = written(tmp_path, "It\u2019s a caf\xe9.\n" * 10, encoding)
    name = encoding.replace("utf-16-", "utf-16").replace("utf-32-", "utf-32")
    with pytest.raises(ValueError, match=f"text.txt is not UTF-8.* iconv -f {name} -t utf-8 {path} > {path}.utf8"):
        read_text(path)


TEXT = "To be, or not to be:\nthat is the question.\n"
TOKENIZERS = [CharTokenizer().train(TEXT), CharTokenizer(lowercase=True).train(TEXT), WordTokenizer().train(TEXT),
              CharTokenizer().train(TEXT, special_tokens=("<unk>",)), BPETokenizer().train(TEXT, vocab_size=270)]


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("copies", [1, 9000])  # one chunk, and several
def test_the_ids_are_those_of_the_whole_text(tmp_path, tokenizer, copies):
    text = TEXT * copies
    found = read_ids(tokenizer, written(tmp_path, text))
    np.testing.assert_array_equal(found.ids, tokenizer.encode_array(text))
    assert found.ids.dtype == np.min_scalar_type(tokenizer.vocab_size - 1)
    assert found.n_bytes == len(text) and text.startswith(found.start)
    assert bool(found.notes) == tokenizer.lowercase


@pytest.mark.parametrize("copies", [0, 9000])
def test_what_a_char_vocabulary_lacks_is_left_out_with_its_place(tmp_path, copies):
    tokenizer = CharTokenizer().train(TEXT)
    text = TEXT * copies + "\u201cTo be\u201d, or \u201cnot\n\u2014"
    path = written(tmp_path, text)
    found = read_ids(tokenizer, path)
    known = text.translate(dict.fromkeys(map(ord, "\u201c\u201d\u2014")))
    assert tokenizer.decode(found.ids) == known and found.n_bytes == len(known)
    (note,) = found.notes
    for value in ("4 characters", path, "'\u201c' (2)", f"line {2 * copies + 1:,}, column 1"):
        assert value in note
    assert known_text(tokenizer, text, "the prompt")[0] == known


def test_what_a_word_vocabulary_lacks_is_left_out_with_its_place(tmp_path):
    tokenizer = WordTokenizer().train(TEXT)
    found = read_ids(tokenizer, written(tmp_path, "To be\nor nought, not  be"))
    assert tokenizer.decode(found.ids) == "To be\nor, not  be"
    (note,) = found.notes
    assert "1 word" in note and "'nought' (1)" in note and "line 2, column 4" in note


def test_an_error_of_a_text_says_what_was_left_out(tmp_path):
    (tmp_path / "a.txt").write_text("\u03a9a", encoding="utf-8")
    text = read_ids(CharTokenizer().train("ab"), str(tmp_path / "a.txt"))
    with pytest.raises(ValueError, match="'Ω'"), text.noted():
        raise ValueError("too short")


def test_with_unk_nothing_is_left_out(tmp_path):
    tokenizer = CharTokenizer().train(TEXT, special_tokens=("<unk>",))
    found = read_ids(tokenizer, written(tmp_path, "T\xe9\xe9o"))
    assert found.ids.tolist() == tokenizer.encode("T\xe9\xe9o") and found.n_bytes == 6
    assert "2 of the 4" in found.notes[0]


@pytest.mark.parametrize("tokenizer", TOKENIZERS[:3])
def test_a_text_of_nothing_that_is_known_is_refused(tmp_path, tokenizer):
    with pytest.raises(ValueError, match=r"text\.txt"):
        read_ids(tokenizer, written(tmp_path, "\u65e5\u65e5"))
    with pytest.raises(ValueError):
        known_text(tokenizer, "\u65e5", "the prompt")
    assert known_text(tokenizer, "", "the prompt") == ("", [])


def test_a_text_is_never_held_as_a_whole(tmp_path):
    tokenizer, peaks = CharTokenizer().train(TEXT), []
    read_ids(tokenizer, written(tmp_path, TEXT))  # what is imported and made once
    for copies in (25_000, 70_000):
        path = written(tmp_path, TEXT * copies)
        tracemalloc.start()
        read_ids(tokenizer, path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / (45_000 * len(TEXT)) < 2.5  # bytes per byte of the text: ids, and all of them joined
