"""Characters: order, unknown ones, the lookup table's ends."""

import pytest

from numpygpt.tokenizer import CharTokenizer


def test_the_vocabulary_is_sorted():
    tok = CharTokenizer().train("banana\n🙂é")
    assert [tok.token_text(id) for id in range(tok.vocab_size)] == ["\n", "a", "b", "n", "é", "🙂"]
    assert tok.encode("🙂ab\n") == [5, 1, 2, 0]
    assert tok.special_tokens == {} and tok.kind == "char"


def test_an_unknown_character_is_named_with_its_place():
    tok = CharTokenizer().train("abc\n", special_tokens=("<|pad|>",))
    for unknown, code in (("d", "0064"), ("`", "0060"), ("🙂", "1F642"), ("\x00", "0000")):
        with pytest.raises(ValueError) as error:
            tok.encode(f"ab\nc{unknown}{unknown}")
        assert f"{unknown!r} (U+{code}) at index 4 (line 2, column 2)" in str(error.value)
        assert "vocabulary of 5 tokens" in str(error.value)


def test_the_place_counts_from_the_start_of_the_whole_text():
    tok = CharTokenizer().train("abc", special_tokens=("<|pad|>",))
    with pytest.raises(ValueError, match="'x'.*9"):
        tok.encode("a<|pad|>bx", allowed_special="all")


def test_unk_takes_the_place_of_unknown_characters():
    tok = CharTokenizer().train("abc", special_tokens=("<unk>",))
    assert tok.encode("a🙂c`") == [0, 3, 2, 3]
    assert tok.decode([0, 3, 2]) == "a<unk>c"
    with pytest.raises(ValueError):
        tok.encode("\ud800")


def test_an_empty_text_teaches_nothing():
    with pytest.raises(ValueError):
        CharTokenizer().train("")
