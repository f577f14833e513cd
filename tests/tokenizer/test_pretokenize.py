"""GPT-2's pattern without \\p{L}: the classes against unicodedata, the cuts against the pattern's own definition."""

import re
import sys
import unicodedata

import pytest

from numpygpt.tokenizer.pretokenize import pretokenize
from numpygpt.tokenizer.unicode import WHITESPACE, char_classes

EVERY = list(map(chr, range(sys.maxunicode + 1)))


@pytest.mark.parametrize("initial", ["L", "N", "M"])
def test_the_classes_are_exact(initial):
    found = set(re.findall(f"[{char_classes()[initial]}]", "".join(EVERY)))
    assert found == {character for character in EVERY if unicodedata.category(character)[0] == initial}


def test_white_space_is_unicodes():
    # White_Space is every separator (Z) and six controls; Python's isspace adds four information separators.
    separators = {character for character in EVERY if unicodedata.category(character)[0] == "Z"}
    assert set(WHITESPACE) == separators | set("\t\n\v\f\r\x85")
    assert {character for character in EVERY if character.isspace()} - set(WHITESPACE) == set("\x1c\x1d\x1e\x1f")


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("Hello world", ["Hello", " world"]),
        ("don't we'll I'M 'tis", ["don", "'t", " we", "'ll", " I", "'", "M", " '", "tis"]),
        ("a  b\n\n c \n", ["a", " ", " b", "\n\n", " c", " \n"]),
        ("in 2024, 3.14!", ["in", " 2024", ",", " 3", ".", "14", "!"]),
        ("x²½Ⅷ٣y", ["x", "²½Ⅷ٣", "y"]),
        ("snake_case __init__", ["snake", "_", "case", " __", "init", "__"]),
        ("naïve日本語ǅª", ["naïve日本語ǅª"]),
        ("e\u0301a", ["e", "\u0301", "a"]),
        ("a\x1c\x1db\u3000\u3000c", ["a", "\x1c\x1d", "b", "\u3000", "\u3000", "c"]),
        ("a\tb", ["a", "\t", "b"]),
        ("   ", ["   "]),
        ("", []),
    ],
)
def test_cuts(text, pieces):
    assert list(pretokenize(text)) == pieces


def test_nothing_is_lost(hard_texts, randoms):
    for text in [*hard_texts, *randoms(300), "".join(c for c in EVERY if not "\ud800" <= c <= "\udfff")]:
        assert "".join(pretokenize(text)) == text
