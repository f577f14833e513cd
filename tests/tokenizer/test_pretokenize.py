"""GPT-2's pattern without \\p{L}: the classes against unicodedata, the cuts against the pattern's own definition."""

import random
import re
import sys
import unicodedata

import pytest

from numpygpt.tokenizer.pretokenize import pattern, pretokenize
from numpygpt.tokenizer.unicode import WHITESPACE, category_runs, char_classes, ranges, read_table, write_table
from numpygpt.tokenizer.unicode_table import LETTERS, NUMBERS, UNICODE_VERSION

EVERY = list(map(chr, range(sys.maxunicode + 1)))
ATOMS = [
    *"abzé中ßªאم１²½Ⅷ٣09 \t\n\r\v\x85\xa0\u2028\u3000\x00\x1c\x1f",
    *"'’.,!_-$\u0301\u200d\u200f\u202e\ufe0f\ufeff\uffff\ud800",
    *"𐐀𠀀𝒳𝟘𐄇👍🏽🇩\U000e0067\U000f0000\U0010ffff",  # above U+FFFF: letters, numbers, emoji, a tag, private use, nothing
    *["  ", "\r\n", "'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'l", "'S", " '", "''"],
]  # fmt: skip


def category(character):
    """L, N, S (white space) or "" (anything else), from this Python's own tables."""
    initial = unicodedata.category(character)[0]
    return "S" if initial == "Z" or character in "\t\n\v\f\r\x85" else initial if initial in "LN" else ""


def plain_pretokenize(text):
    """The pattern's alternatives in their order, one character at a time."""
    pieces, kinds, at = [], [*map(category, text), None], 0
    while at < len(text):
        contraction = next((c for c in ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d") if text.startswith(c, at)), "")
        start = at + (text[at] == " " and kinds[at + 1] not in ("S", None))
        end = start
        while kinds[end] == kinds[start]:
            end += 1
        if kinds[start] == "S" and end < len(text) and end - at > 1:
            end -= 1  # the last one stays with what follows
        pieces.append(contraction or text[at:end])
        at += len(pieces[-1])
    return pieces


@pytest.mark.parametrize(("initial", "table"), [("L", LETTERS), ("N", NUMBERS)])
def test_the_table_is_unicodes(initial, table):
    """An older unicodedata lacks some characters, a newer has more; none has ever changed between these classes."""
    known = {code for code in range(len(EVERY)) if unicodedata.category(EVERY[code]) != "Cn"}
    here = {code for code in known if unicodedata.category(EVERY[code])[0] == initial}
    in_table = {code for first, last in read_table(table) for code in range(first, last + 1)}
    version, written = ([int(part) for part in v.split(".")] for v in (unicodedata.unidata_version, UNICODE_VERSION))
    if version <= written:
        assert here == in_table & known
    if version >= written:
        assert in_table <= here
    if version == written:
        assert write_table(category_runs()[initial]) == table.strip()


@pytest.mark.parametrize("table", [LETTERS, NUMBERS])
def test_tables_are_in_order_and_no_wider_than_the_code(table):
    ends = [end for run in read_table(table) for end in run]
    assert ends == sorted(ends) and write_table(read_table(table)) == table.strip()
    assert max(map(len, table.splitlines())) <= 120


def test_ranges_are_clipped():
    assert re.findall(f"[{ranges([(0x41, 0x45), (0x61, 0x61)], 0x43, 0x44)}]", "ABCDEFa") == ["C", "D"]


def test_marks_are_unicodes():
    found = set(re.findall(f"[{char_classes()['M']}]", "".join(EVERY)))
    assert found == {character for character in EVERY if unicodedata.category(character)[0] == "M"}


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
        ("x𐐀y 𐐀𠀀z 1𝟘² 👍🏽!", ["x𐐀y", " 𐐀𠀀z", " 1𝟘²", " 👍🏽!"]),
        ("\U00010d4a\U00010d40", ["\U00010d4a", "\U00010d40"]),  # of Unicode 16: a letter, a digit
        ("   ", ["   "]),
        ("", []),
    ],
)
def test_cuts(text, pieces):
    assert pretokenize(text) == pieces


def test_cuts_are_those_of_the_definition(hard_texts):
    rng = random.Random(0)
    low = [atom for atom in ATOMS if max(atom) <= "\uffff"]
    for atoms in ATOMS, low, [atom for atom in low if atom.isascii()]:
        for text in [*hard_texts, *("".join(rng.choices(atoms, k=rng.randrange(1, 25))) for _ in range(2000))]:
            assert pretokenize(text) == plain_pretokenize(text), ascii(text)


def test_both_patterns_agree_below_the_high_characters():
    rng = random.Random(1)
    low = [atom for atom in ATOMS if max(atom) <= "\uffff"]
    for text in ["".join(rng.choices(low, k=40)) for _ in range(1000)] + ["".join(EVERY[:0x10000])]:
        assert pattern("gpt2", False).findall(text) == pattern("gpt2", True).findall(text)


def test_nothing_is_lost(hard_texts, randoms):
    for text in [*hard_texts, *randoms(300), "".join(EVERY)]:
        assert "".join(pretokenize(text)) == text
