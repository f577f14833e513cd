"""What is counted in a text and said: names of special tokens, control characters, lost letters."""

import re

import pytest

from numpygpt.data import documents, prepare, read_corpus
from numpygpt.data.oddities import Oddities
from numpygpt.tokenizer.special import ENDS, SPECIAL

WORDS = "some words of a text that goes on. "


@pytest.mark.parametrize("size", [1, 2, 3, 5, 13, 1000])
def test_names_are_found_wherever_the_pieces_end(size):
    text = "".join(f"{WORDS}{name}{name}<{name[:-1]} [x] é" for name in SPECIAL).encode()
    found = Oddities()
    for start in range(0, len(text), size):
        found.add(text[start : start + size])
    assert found.names == {name: text.count(name.encode()) for name in SPECIAL}


def test_no_name_goes_over_the_end_of_a_document():
    found = Oddities()
    found.add(b"<|endof")
    found.end()
    found.add(b"text|>")
    assert found.names == {} and found.notes() == []


@pytest.mark.parametrize("block", [7, 1 << 20])
@pytest.mark.parametrize("name", ENDS)
def test_the_separator_that_is_named_makes_documents(tmp_path, monkeypatch, name, block):
    monkeypatch.setattr(documents, "BLOCK", block)
    text = "\n".join(f"{number} {WORDS}{name}" for number in range(30))
    (tmp_path / "a.txt").write_text(text)
    said = []
    prepare(read_corpus([tmp_path / "a.txt"]), tmp_path / "one", context=16, say=said.append)
    (note,) = [line for line in said if name in line]
    assert "30 times" in note
    separator = re.search(r'`separator="(.+)"`', note)[1]
    said.clear()
    corpus = read_corpus([tmp_path / "a.txt"], separator=separator)
    dataset = prepare(corpus, tmp_path / "two", context=16, say=said.append)
    assert dataset.meta["documents"] == 30 and not any(name in line for line in said)


def test_a_name_of_a_chat_is_noted_without_a_separator(tmp_path):
    (tmp_path / "a.txt").write_text(f"<|im_start|>user {WORDS}<|im_end|>\n" * 20)
    said = []
    prepare(read_corpus([tmp_path / "a.txt"]), tmp_path / "one", context=16, say=said.append)
    (note,) = [line for line in said if "<|im_start|> 20 times" in line]
    assert "<|im_end|> 20 times" in note and "`separator" not in note


def test_controls_and_lost_letters_are_counted(tmp_path):
    (tmp_path / "a.txt").write_bytes(f"{WORDS}\xa0é \x93x\x94 \ufffd ".encode() * 20)
    said = []
    prepare(read_corpus([tmp_path / "a.txt"]), tmp_path / "one", context=16, say=said.append)
    assert sum(" 40 " in line and "U+009F" in line for line in said) == 1
    assert sum(" 20 " in line and "U+FFFD" in line for line in said) == 1


def test_plain_text_is_not_remarked_upon():
    found = Oddities()
    found.add("<b>a [1] « é » \u2019</b> ¡…".encode())
    assert found.notes() == []
