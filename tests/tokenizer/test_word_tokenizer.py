"""Words: the rule of the implied space, apostrophes, the size of the vocabulary, unknown words."""

import random

import pytest

from numpygpt.tokenizer import WordTokenizer
from numpygpt.tokenizer.spacing import MARKERS, elements
from numpygpt.tokenizer.word import MAX_WORD


def shown(text, like=None):
    """The tokens of `text`, as a person sees them."""
    tok = WordTokenizer().train(like or text)
    return [tok.token_text(id) for id in tok.encode(text)]


def words(text):
    return [element for _, element in elements(text) if not element.isspace()]


def test_ordinary_prose_needs_no_tokens_for_spaces():
    text = "Speak, speak. First (citizen): you know; it is so! Is it? [Yes]\nAll: 'twas good."
    assert shown(text) == [element for _, element in elements(text)]
    assert " " not in shown(text) and "<join>" not in shown(text)


def test_what_deviates_has_a_token():
    assert shown("one  two") == ["one", " ", " ", "two"]
    assert shown("one,two") == ["one", ",", "<join>", "two"]
    assert shown("one ,two") == ["one", " ", ",", "<join>", "two"]
    assert shown(" one ") == [" ", "one", " "]
    assert shown("one\n two") == ["one", "\n", " ", "two"]
    assert shown("one - two") == ["one", " ", "-", " ", "two"]
    assert shown("one-two") == ["one", "-", "two"]
    assert shown('say "no"') == ["say", " ", '"', "no", '"']


def test_apostrophes():
    assert words("don't o'er lov'd rock'n'roll") == ["don't", "o'er", "lov'd", "rock'n'roll"]
    assert words("'tis 'Tis 'twas 'em \u2019tis") == ["'tis", "'Tis", "'twas", "'em", "\u2019tis"]
    assert words("'tissue' the 'emblem'") == ["'", "tissue", "'", "the", "'", "emblem", "'"]
    assert words("'quoted' lords' o' the") == ["'", "quoted", "'", "lords", "'", "o", "'", "the"]


def test_accents_and_vowel_signs_stay_in_their_word():
    assert words("cafe\u0301 हिन्दी naïve 3 snake_case") == ["cafe\u0301", "हिन्दी", "naïve", "3", "snake_case"]


def test_spaces_and_new_lines_are_always_known():
    tok = WordTokenizer().train("word")
    for text in (" ", "\n", "word  word\n\n word ", " \n \n  "):
        assert tok.decode(tok.encode(text)) == text


def test_other_white_space_is_learned_from_the_text():
    spaces = [chr(code) for code in range(0x3001) if chr(code).isspace()]
    tok = WordTokenizer().train("word".join(["", *spaces, ""]))
    for text in ["".join(spaces), *spaces, *(f"word{s}{s}word" for s in spaces), " \n \r\n\t "]:
        assert tok.decode(tok.encode(text)) == text
    with pytest.raises(ValueError, match="4"):
        WordTokenizer().train("word").encode("word\tword")


def test_words_are_ranked_by_frequency_then_alphabet():
    tok = WordTokenizer().train("b b a a c c c d")
    assert [tok.token_text(id) for id in range(len(MARKERS), tok.vocab_size)] == ["c", "a", "b", "d"]


def test_vocab_size_caps_and_adds_unk():
    text = "a a a b b c"
    full = len(MARKERS) + 3
    assert WordTokenizer().train(text).special_tokens == {}
    assert WordTokenizer().train(text, vocab_size=full).special_tokens == {}
    capped = WordTokenizer().train(text, vocab_size=full, special_tokens=("<|pad|>",))
    assert capped.vocab_size == full
    assert capped.special_tokens == {"<unk>": full - 2, "<|pad|>": full - 1}
    assert capped.decode(capped.encode("a b, c")) == "a <unk><unk> <unk>"
    with pytest.raises(ValueError, match=f"vocab_size must be an integer of at least {len(MARKERS) + 2}"):
        WordTokenizer().train(text, vocab_size=4)


def test_min_freq_cuts_and_adds_unk():
    tok = WordTokenizer().train("a a a b b c", min_freq=2)
    assert tok.vocab_size == len(MARKERS) + 3 and "<unk>" in tok.special_tokens
    assert tok.decode(tok.encode("a c  b-a")) == "a <unk>  b<unk>a"
    with pytest.raises(ValueError, match="min_freq.*1.*0"):
        WordTokenizer().train("a", min_freq=0)


def test_unk_that_was_asked_for():
    tok = WordTokenizer().train("a b", special_tokens=("<unk>",))
    assert tok.special_tokens == {"<unk>": tok.vocab_size - 1}
    assert tok.decode(tok.encode("a x, b")) == "a <unk><unk> b"
    assert len(tok.encode("a x b")) == 3  # <unk> is spaced like a word
    for text in ("a <unk> b", "a<unk>b", "<unk> <unk>"):
        assert tok.decode(tok.encode(text, allowed_special="all")) == text


def test_an_unknown_word_is_named_with_its_place():
    tok = WordTokenizer().train("to be or not to be")
    with pytest.raises(ValueError, match="'two'.*6.*2.*4"):
        tok.encode("to\nbe two")
    tok = WordTokenizer().train("to be", special_tokens=("<|pad|>",))
    with pytest.raises(ValueError, match="'two'.*10"):
        tok.encode("to<|pad|> two", allowed_special="all")


def test_lowercase():
    tok = WordTokenizer(lowercase=True).train("The Cat sat. THE END")
    assert tok.decode(tok.encode("the cat")) == "the cat"
    assert tok.encode("THE Cat") == tok.encode("the cat")
    assert [tok.token_text(id) for id in range(len(MARKERS), tok.vocab_size)] == ["the", ".", "cat", "end", "sat"]
    assert WordTokenizer().train("The the").encode("The the") != WordTokenizer().train("The the").encode("the the")


def test_special_tokens_keep_their_case_with_lowercase():
    tok = WordTokenizer(lowercase=True).train("the end", special_tokens=("<|END|>",))
    assert tok.encode("The<|END|>end", allowed_special="all")[1] == tok.special_tokens["<|END|>"]


@pytest.mark.parametrize("text", ["", " \n\t "])
def test_a_text_without_words_teaches_nothing(text):
    with pytest.raises(ValueError):
        WordTokenizer().train(text)


def test_overlong_words_are_not_learned():
    long, longest = "a" * (MAX_WORD + 1), "b" * MAX_WORD
    tok = WordTokenizer().train(f"the {long} cat {longest} {long}{long}")
    assert tok.overlong == 2
    assert [tok.token_text(id) for id in tok.encode(f"the {long} {longest}")] == ["the", "<unk>", longest]
    with pytest.raises(ValueError, match=f"only 2 of more than {MAX_WORD:,} characters"):
        WordTokenizer().train(f"{long} {long}b\n")
    assert WordTokenizer().train("the cat").overlong == 0


def test_random_spacing_comes_back_exactly():
    rng = random.Random(5)
    atoms = ["a", "b's", "'tis", "_", "é", *".,;:!?)]}([{\"'-/*$%&“”\u2018\u2019…", *"   \n\t\u3000", "  "]
    tok = WordTokenizer().train("\n".join(atoms), special_tokens=("<|pad|>",))
    known = set(words("\n".join(atoms)))
    tried = 0
    for _ in range(5000):
        text = "".join(rng.choices(atoms, k=rng.randrange(12)))
        if set(words(text)) <= known:
            tried += 1
            assert tok.decode(tok.encode(text)) == text
    assert tried > 1000
