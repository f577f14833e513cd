"""Colours only where they are wanted and can be told apart; text from a stranger shown whole and harmless."""

import doctest
import io
import sys
import unicodedata
from itertools import combinations

import numpy as np
import pytest

from numpygpt.utils import colour
from numpygpt.utils.colour import (
    BACKGROUNDS,
    BLACK,
    DARK,
    SCALE,
    WHITE,
    bold,
    colours,
    faint,
    harmless,
    listed,
    paint,
    printable,
    room,
    signs,
    token_lines,
    width,
)  # fmt: skip


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "columns", "found"),
    [(Terminal(), 60, 60), (Terminal(), 200, 96), (Terminal(), 5, 20), (io.StringIO(), 60, 96), (None, 60, 96)],
)
def test_lines_are_as_long_as_the_terminal_has_room(stream, columns, found, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert room(stream, 96) == found


@pytest.mark.parametrize(
    ("stream", "environment", "wanted"),
    [
        (Terminal(), {}, True),
        (io.StringIO(), {}, False),
        (None, {}, False),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"NO_COLOR": ""}, True),
        (Terminal(), {"TERM": "dumb"}, False),
        (Terminal(), {"TERM": "xterm-256color"}, True),
        (io.StringIO(), {"FORCE_COLOR": "1"}, True),
        (io.StringIO(), {"FORCE_COLOR": ""}, False),
        (Terminal(), {"FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "dumb"}, True),
    ],
)
def test_colours_on_a_terminal_unless_the_environment_says_otherwise(monkeypatch, stream, environment, wanted):
    for name in ("FORCE_COLOR", "NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(colour, "WINDOWS", False)
    assert colours(stream) is wanted


def test_no_colours_on_a_closed_stream_or_an_old_windows_console(monkeypatch):
    for name in ("FORCE_COLOR", "NO_COLOR", "TERM", "WT_SESSION"):
        monkeypatch.delenv(name, raising=False)
    closed = Terminal()
    closed.close()
    assert not colours(closed)
    monkeypatch.setattr(colour, "WINDOWS", True)
    assert not colours(Terminal())
    monkeypatch.setenv("WT_SESSION", "1")
    assert colours(Terminal())


def test_painted_text_ends_its_own_colour():
    assert paint("to be", 157) == "\x1b[48;5;157m\x1b[38;5;16mto be\x1b[0m"
    assert paint("to be", 16, 231) == "\x1b[48;5;16m\x1b[38;5;231mto be\x1b[0m"
    assert bold("to be") == "\x1b[1mto be\x1b[0m"
    assert faint("to be") == "\x1b[2mto be\x1b[0m"
    assert paint("", 157) == bold("") == faint("") == ""


# Machado, Oliveira, Fernandes 2009: linear RGB as it looks to eyes that lack one kind of cone.
EYES = {
    "all cones": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear_rgb(number):
    """Of a colour in the 6 x 6 x 6 cube, numbers 16 to 231."""
    levels = np.array([0, 95, 135, 175, 215, 255]) / 255
    place = number - 16
    rgb = levels[[place // 36, place // 6 % 6, place % 6]]
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(number, eyes="all cones"):
    xyz = TO_XYZ @ np.clip(EYES[eyes] @ linear_rgb(number), 0, 1) / TO_XYZ.sum(axis=1)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("eyes", EYES)
def test_backgrounds_differ_from_each_other_and_from_white_and_black_for_every_eye(eyes):
    for first, second in combinations((*BACKGROUNDS, 231, BLACK), 2):  # 231 is white
        assert np.linalg.norm(lab(first, eyes) - lab(second, eyes)) > 20  # 2.3 can just be told apart


def test_backgrounds_differ_in_lightness_and_black_is_easy_to_read_on_each():
    for first, second in combinations(BACKGROUNDS, 2):
        assert abs(lab(first)[0] - lab(second)[0]) > 10
    for background in BACKGROUNDS:
        assert ((TO_XYZ @ linear_rgb(background))[1] + 0.05) / 0.05 >= 7  # contrast as in WCAG 2, level AAA


@pytest.mark.parametrize("eyes", EYES)
def test_the_scale_gets_darker_at_each_step_for_every_eye(eyes):
    lightness = [lab(number, eyes)[0] for number in SCALE]
    assert min(-np.diff(lightness)) > 7
    for first, second in combinations(SCALE, 2):
        assert np.linalg.norm(lab(first, eyes) - lab(second, eyes)) > 10


def test_text_can_be_read_on_each_step_of_the_scale():
    for number in SCALE:
        light, dark = sorted([(TO_XYZ @ linear_rgb(number))[1], 1.0 if number in DARK else 0.0], reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5  # level AA
        painted = token_lines([["a"]], 9, [number])
        assert painted == [paint("a", number, WHITE if number in DARK else BLACK)]


def test_a_token_without_a_background_stands_as_it_is():
    assert token_lines([["·", "a"], ["·", "b"]], 9, [None, 157]) == ["·a" + paint(" b", 157)]


def visible(text):
    return "".join(signs(text))


SHOWN = {
    " a\n": "·a⏎",
    "\t\r\\": r"\t\r\\",
    "\0\x07\x1b[2J\x7f\x85\x9b": r"\u0000\u0007\u001b[2J\u007f\u0085\u009b",
    "\u202eevil\u202c\u2066\u200f": r"\u202eevil\u202c\u2066\u200f",
    "zero\u200bwidth\u200d\ufeff\xad\ufe0f\u2060": r"zero\u200bwidth\u200d\ufeff\u00ad\ufe0f\u2060",
    "\u2028\u2029\xa0\u3000\u115f\u2800": r"\u2028\u2029\u00a0\u3000\u115f\u2800",
    "\U000e0041\ue000\ud800\uffff": r"\U000e0041\ue000\ud800\uffff",
    "·⏎◌¦|": r"\u00b7\u23ce\u25cc\u00a6|",
    "שלום العربية 日本語 नमस्ते 🙂": "שלום·العربية·日本語·नमस्ते·🙂",
    "e\u0301": "e\u0301",
    "\u0301a": "◌\u0301a",
    " \u0301\u0301\n\u0301": "·◌\u0301\u0301⏎◌\u0301",
    "\u200b\u0301\t\u0301\\\u0301": r"\u200b\u0301\t\u0301\\\u0301",
    "e" + "\u0301" * 6: "e" + "\u0301" * 4 + r"\u0301\u0301",
}


@pytest.mark.parametrize("text", SHOWN)
def test_signs_show_what_cannot_be_seen(text):
    assert visible(text) == SHOWN[text]


def test_no_character_reaches_the_terminal_as_a_control_and_no_two_look_the_same():
    shown = [visible(chr(code)) for code in range(sys.maxunicode + 1)]
    assert len(set(shown)) == len(shown)
    bad = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"}
    assert not any(unicodedata.category(char) in bad for char in "".join(shown))


def test_different_texts_are_shown_differently():
    rng = np.random.default_rng(0)
    alphabet = ["\\", "u", "0", "3", "1", "\u0301", "·", " ", "◌", "\n", "e", "\u200b", "\\u0301"]
    texts = {"".join(rng.choice(alphabet, rng.integers(1, 9))) for _ in range(5000)}
    assert len({visible(text) for text in texts}) == len(texts)


def test_what_steers_a_terminal_is_shown_by_its_number_and_all_else_is_left():
    assert harmless("a\tb\r\n\x1b]0;title\x07 \x9b2J é·") == "a\tb\r\n\\u001b]0;title\\u0007 \\u009b2J é·"
    steering = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n\r"]
    assert [char for char in map(chr, range(sys.maxunicode + 1)) if harmless(char) != char] == steering


def test_names_keep_their_spaces_and_letters():
    assert printable("C:\\my texts·\x1b[31m\n\u202e.txt") == "C:\\my texts·\\u001b[31m\\u000a\\u202e.txt"


def test_width_in_columns():
    assert [width(text) for text in ("", "abc", "日本", "e\u0301", "🙂")] == [0, 3, 4, 1, 2]


def lines(*tokens, columns=12, backgrounds=None):
    return token_lines([signs(token) for token in tokens], columns, backgrounds)


def test_tokens_in_lines_without_colour():
    assert lines() == []
    assert lines("To", " be", ",") == ["To|·be|,"]
    assert lines("to", " be", " or", " not") == ["to|·be|·or|", "·not"]
    assert lines("a", "\n", "\n\n", "b") == ["a|⏎|", "⏎", "⏎|", "b"]
    assert lines("ends\n") == ["ends⏎"]
    assert lines("x" * 30, "y") == ["x" * 12, "x" * 12, "xxxxxx|y"]
    assert lines("日本語テキスト", "a") == ["日本語テキス", "ト|a"]
    assert lines("\u200b" * 5) == [r"\u200b\u200b", r"\u200b\u200b", r"\u200b"]


def test_the_separator_is_in_no_token():
    assert lines("a", "|", "b") == ["a¦|¦b"]
    assert lines("a", "|", "¦") == ["a¦|¦\\u00a6"]
    assert lines("a", "¦") == ["a|\\u00a6"]


def on(text, number):
    return f"\x1b[48;5;{number}m\x1b[38;5;16m{text}\x1b[0m"


def test_tokens_in_lines_with_colour():
    found = lines("To", " be", "\n", "|", backgrounds=[1, 2, 3, 4])
    assert found == [on("To", 1) + on(" be", 2) + on("⏎", 3), on("|", 4)]
    assert lines("x" * 15, backgrounds=[9]) == [on("x" * 12, 9), on("xxx", 9)]
    assert token_lines([["T", "o"], [" ", "b", "e"]], 12, [1, 2]) == [on("To", 1) + " " + on("be", 2)]
    assert token_lines([["T", "o"], [" ", "b", "e"]], 12) == ["To| be"]


def test_listed_rows():
    assert listed([("name", "a b"), ("empty", ""), ("<unk>", "\x1b")], 40) == "name         a b\n<unk>        \\u001b"
    assert listed([("ids", "1 2 3 4 5")], 18) == "ids          1 2 3\n             4 5"


def test_the_example_in_the_module():
    assert doctest.testmod(colour) == (0, 1)
