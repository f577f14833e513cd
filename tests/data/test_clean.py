"""Cleaning: of a whole text, and the same of a text in pieces."""

import random

import pytest

from numpygpt.data.streams import END, Cut, clean_alnum, cleaned


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("don't", "dont"),
        ("don\N{RIGHT SINGLE QUOTATION MARK}t", "dont"),
        ("king.--And  so", "king And so"),
        ("one.\r\n\r\n  Two, three\t4!", "one\nTwo three 4"),
        ("a_b #c", "a b c"),
        ("été हिन्दी e\u0301", "été हिन्दी e\u0301"),
        ("...", ""),
    ],
)
def test_clean_alnum(text, clean):
    assert clean_alnum(text) == clean
    assert clean_alnum(clean) == clean


def test_pieces_are_cleaned_as_the_whole_text_is():
    rng = random.Random(0)
    for _ in range(2000):
        text = "".join(rng.choices(["a", "é", "e\u0301", "7", " ", "  ", "\n", "\r\n", "'", ".", "_", "\u2019"], k=12))
        expected = " ".join(text.replace("'", "").replace("\u2019", "").replace("_", ".").replace(".", " ").split(" "))
        expected = "\n".join(" ".join(line.split()) for line in expected.replace("\r", " ").split("\n") if line.strip())
        assert clean_alnum(text) == expected
        places = sorted(rng.choices(range(len(text) + 1), k=rng.randrange(6)))
        pieces = [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]
        assert "".join(cleaned(pieces)) == expected


def test_documents_and_parts_are_cleaned_on_their_own():
    cut = Cut(9)
    pieces = ["..one", " ", END, " \n two", ". ", cut, "\n", ". three", "!", END]
    found = [piece for piece in cleaned(pieces) if piece]
    assert found == ["one", END, "two", cut, "three", END]
