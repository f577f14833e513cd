"""Tokens found by the names that a picture shows, and sorted into classes."""

import pytest

from numpygpt.inspection.vocabulary import CLASSES, find_tokens, token_class
from numpygpt.tokenizer import BPETokenizer, CharTokenizer, WordTokenizer
from numpygpt.tokenizer.display import token_signs

TEXT = "The cat, the café and the \\n 42 cats\tof \"Ünal\".\nThe·end of the the cat 日\n"


@pytest.fixture(params=[CharTokenizer, WordTokenizer, BPETokenizer])
def tokenizer(request):
    sizes = {"vocab_size": 300} if request.param is BPETokenizer else {}
    return request.param().train(TEXT, special_tokens=("<|end|>",), **sizes)


def test_every_token_is_found_by_its_signs(tokenizer):
    names = ["".join(token_signs(tokenizer, id)) for id in range(tokenizer.vocab_size)]
    assert find_tokens(tokenizer, names) == list(range(tokenizer.vocab_size))


def test_tokens_by_their_text_and_by_a_backslash():
    char = CharTokenizer().train(TEXT)
    assert find_tokens(char, [" ", "·", "\n", r"\n", "⏎", r"\t", "\t", "T"]) == char.encode(" \n\tT")  # each once
    assert find_tokens(char, [r"\u00b7", "\\", r"\\"]) == char.encode("·\\")  # the sign of a space is no middle dot
    bpe = BPETokenizer().train(TEXT, vocab_size=300)
    assert find_tokens(bpe, [" the", "·the"]) == bpe.encode(" the") and len(bpe.encode(" the")) == 1
    assert find_tokens(bpe, [r"\xe6"]) == [0xE6]


@pytest.mark.parametrize(("name", "values"), [
    ("Q", ["'Q'", "'\\n'", "'·the'"]), ("the", ["'the'", "3 tokens: t h e"]), ("", ["''"]),
    ("\x1b[2J", [r"'\u001b[2J'"]), (r"\u00B7", [r"\u00b7"]),
])  # fmt: skip
def test_a_name_that_no_token_has_is_answered_with_what_there_is(name, values):
    with pytest.raises(ValueError, match="25") as error:
        find_tokens(CharTokenizer().train(TEXT), ["T", name])
    assert all(value in str(error.value) for value in values) and "\x1b" not in str(error.value)


def test_classes():
    char = CharTokenizer().train(TEXT, special_tokens=("<|end|>",))
    kinds = {char.token_text(id): token_class(char, id) for id in range(char.vocab_size)}
    expected = {"c": "small letters", "é": "small letters", "T": "capital letters", "Ü": "capital letters",
                "4": "digits", " ": "white space", "\n": "white space", "\t": "white space", ",": "punctuation",
                "\\": "punctuation", "<|end|>": "other", "日": "other"}  # fmt: skip
    assert {text: kinds[text] for text in expected} == expected
    bpe = BPETokenizer().train(TEXT, vocab_size=300)
    found = [token_class(bpe, bpe.encode(text)[0]) for text in (" the", "The", "cat", "\n", "日")]
    assert found == ["after a space", "capital letters", "small letters", "white space", "other"]
    assert set(kinds.values()) <= set(CLASSES)
