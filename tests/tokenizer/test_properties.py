"""Properties that hold for every text, whatever it is; hypothesis looks for a text that breaks them."""

import pytest

hypothesis = pytest.importorskip("hypothesis")

from hypothesis import assume, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from numpygpt.tokenizer import BPETokenizer, CharTokenizer, WordTokenizer  # noqa: E402
from numpygpt.tokenizer.pretokenize import pretokenize  # noqa: E402
from numpygpt.tokenizer.stream import chunks  # noqa: E402

PARTS = [
    *(" ", "  ", "\n", "\r\n", "\t", "\x00", "\x85", "\u2028", "\ufeff", "\u200d", "\u202e", "\u0301"),
    *("a", "the", "'s", "'tis", "n't", '"', "(", ",", "--", "1", "½", "é", "e\u0301", "ǅ", "İ", "Σ", "ß", "שלום"),
    *("👨‍👩‍👧", "🇩🇪", "<|endoftext|>", "<unk>"),
]
texts = st.one_of(st.text(), st.lists(st.sampled_from(PARTS) | st.text(max_size=3)).map("".join))
bpe = BPETokenizer().train("the cat's hat, the rats' hats; שלום é 👍 " * 20, 300, special_tokens=("<|endoftext|>",))
cases = settings(max_examples=500, deadline=None)


@cases
@given(texts)
def test_bytes_bring_any_text_back(text):
    assert bpe.decode(bpe.encode(text)) == text


@cases
@given(texts)
def test_the_text_itself_makes_a_vocabulary_that_brings_it_back(text):
    for tok in (CharTokenizer(), WordTokenizer(), BPETokenizer()):
        try:
            tok.train(text)
        except ValueError as error:  # nothing to learn from
            assert not text.strip() and "no " in str(error)
            continue
        assert tok.decode(tok.encode(text)) == text


@cases
@given(texts, texts)
def test_with_unk_no_text_fails_and_known_parts_stay(known, text):
    assume("<unk>" not in text)
    for tok in (CharTokenizer(), WordTokenizer()):
        tok.train(known + "a", special_tokens=("<unk>",))
        decoded = tok.decode(tok.encode(text))
        assert "<unk>" in decoded or decoded == text
        assert tok.decode(tok.encode(decoded, allowed_special="all")) == decoded


@cases
@given(texts)
def test_lower_case_is_what_comes_back(text):
    for tok in (CharTokenizer(lowercase=True), WordTokenizer(lowercase=True), BPETokenizer(lowercase=True)):
        tok.train(text + "\na")
        assert tok.decode(tok.encode(text)) == text.lower()


@cases
@given(texts)
def test_streaming_never_shows_half_a_character(text):
    stream = bpe.stream()
    shown = ""
    for id in bpe.encode(text):
        shown += stream.push(id)
        assert text.startswith(shown)
    assert shown == text and stream.flush() == ""


@cases
@given(st.lists(st.integers(0, bpe.vocab_size - 1)))
def test_streaming_any_ids_is_decoding_them(ids):
    stream = bpe.stream()
    assert "".join([stream.push(id) for id in ids]) + stream.flush() == bpe.decode(ids)


@cases
@given(texts)
def test_pieces_joined_are_the_text_and_chunks_cut_no_piece(text):
    assert "".join(pretokenize(text)) == text
    assert [piece for chunk in chunks([text], 4) for part in chunk for piece in pretokenize(part)] == pretokenize(text)


@cases
@given(texts)
def test_no_plain_text_makes_a_special_token(text):
    assert bpe.special_tokens["<|endoftext|>"] not in bpe.encode(text)


@cases
@given(st.text(alphabet=st.characters(categories=["Cs", "L"]), min_size=1))
def test_lone_surrogates_are_refused_and_nothing_else_is(text):
    lone = any(0xD800 <= ord(character) < 0xE000 for character in text)
    try:
        bpe.encode(text)
    except ValueError as error:
        assert lone and "lone surrogate" in str(error)
    else:
        assert not lone
