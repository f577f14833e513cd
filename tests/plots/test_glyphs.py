"""Tokens as words that the pictures' font can draw."""

import pytest

from numpygpt.plots import style
from numpygpt.plots.glyphs import drawable, one_line, token_label, token_labels
from numpygpt.tokenizer import BPETokenizer, CharTokenizer


def test_what_the_font_lacks_is_shown_by_number():
    assert drawable("Größe $5 ⏎·ж") == "Größe $5 ⏎·ж"
    assert drawable("日🙂") == r"\u65e5\U0001f642"
    assert drawable("a\x1b[2J\u202eb") == r"a\u001b[2J\u202eb"


@pytest.mark.parametrize("weight", ["normal", "bold"])
def test_every_character_that_is_left_can_be_drawn(weight):
    text = drawable("".join(chr(code) for code in range(0x20, 0x3000)))  # a missing one is a warning, and so an error
    figure = style.new_figure((40, 4))
    for i in range(0, len(text), 500):
        figure.text(0, i / len(text), text[i : i + 500], fontweight=weight, parse_math=False)
    figure.draw_without_rendering()
    assert len(text) > 3000


def test_a_title_quotes_a_text_in_one_line():
    assert one_line("To be,\nor\tnot 日") == r"To be,⏎or\tnot \u65e5"


def test_tokens_in_signs_and_shortened():
    char = CharTokenizer().train(" \n日a")
    assert token_labels(char, range(4)) == ["⏎", "·", "a", r"\u65e5"]
    bpe = BPETokenizer().train("incomprehensibilities " * 9 + "日日日日\n" * 9, vocab_size=300)
    (long,) = bpe.encode("incomprehensibilities")
    assert token_label(bpe, long, most=40) == "incomprehensibilities"
    assert token_label(bpe, long, most=10) == "incompreh…"
    (four,) = bpe.encode("日日日日")
    assert token_label(bpe, four, most=12) == r"\u65e5…"  # no number is torn apart
    assert token_label(bpe, 0xE6) == r"\xe6"
