"""Texts in pieces: chunks, streams of ids, counts in bounded memory, and several processes."""

import copy
import random
from collections import Counter
from itertools import pairwise

import pytest

from numpygpt.tokenizer import BPETokenizer, CharTokenizer, WordTokenizer, stream
from numpygpt.tokenizer.pretokenize import pretokenize
from numpygpt.tokenizer.stream import Special, chunks, count
from numpygpt.tokenizer.unicode import WHITESPACE

END = Special("<|endoftext|>")


def pieces_of(text, rng, longest=9):
    """`text` cut anywhere, empty pieces included."""
    pieces = []
    while text:
        n = rng.randrange(longest)
        pieces.append(text[:n])
        text = text[n:]
    return pieces


def joined(arrays):
    return [id for ids in arrays for id in ids.tolist()]


@pytest.fixture
def small(monkeypatch):
    """Chunks of about eight characters, so that every text is cut."""
    monkeypatch.setattr(stream, "CHUNK_CHARACTERS", 8)


def test_chunks_are_the_text_and_are_cut_only_before_white_space(hard_texts, randoms):
    rng = random.Random(0)
    cuts = 0
    for text in [*hard_texts, *randoms(300, length=60)]:
        got = ["".join(chunk) for chunk in chunks(pieces_of(text, rng), size=8)]
        assert "".join(got) == text
        cuts += len(got[1:])
        for left, right in pairwise(got):
            assert left[-1] not in WHITESPACE and right[0] in WHITESPACE
    assert cuts > 300


def test_a_long_text_in_one_piece_is_cut_too():
    text = "word " * 1000
    sizes = [len("".join(chunk)) for chunk in chunks(text, size=100)]
    assert sum(sizes) == len(text) and max(sizes) <= 104


def test_a_text_without_white_space_is_cut_in_the_end(monkeypatch):
    monkeypatch.setattr(stream, "MAX_UNCUT", 64)
    got = list(chunks(["a"] * 1000, size=8))
    assert all(chunk == ["a" * 64] for chunk in got[:-1]) and sum(len(text) for (text,) in got) == 1000


def test_special_tokens_end_a_text_and_many_short_texts_share_a_chunk():
    assert list(chunks(["a b", END, "c", END], size=100)) == [["a b", END, "c", END, ""]]
    many = list(chunks([piece for _ in range(100) for piece in ("a b c", END)], size=20))
    assert 10 < len(many) < 40
    parts = (part.name if isinstance(part, Special) else part for chunk in many for part in chunk)
    assert "".join(parts) == f"a b c{END.name}" * 100


def test_encoding_a_stream_equals_encoding_the_text(tok, kind, hard_texts, randoms, small):
    rng = random.Random(1)
    for text in [*hard_texts, *randoms(300, length=60, seed=1)]:
        try:
            expected = tok.encode(text)
        except ValueError:
            assert kind == "word"
            continue
        assert joined(tok.encode_stream(pieces_of(text, rng))) == expected


def test_a_word_stream_that_is_cut_inside_a_word_still_decodes_exactly(monkeypatch):
    text = "aaaaaaaabbbbbbbb,aaa"
    tok = WordTokenizer().train("aaaaaaaa bbbbbbbb aaa ,")
    monkeypatch.setattr(stream, "CHUNK_CHARACTERS", 8)
    monkeypatch.setattr(stream, "MAX_UNCUT", 8)
    ids = joined(tok.encode_stream([text]))
    assert tok.decode(ids) == text and "<join>" in [tok.token_text(id) for id in ids]


def test_special_tokens_in_a_stream(tok, small):
    end = tok.special_tokens[END.name]
    ids = joined(tok.encode_stream(["two  spa", "ces", END, "two spaces", END, END]))
    assert ids == [*tok.encode("two  spaces"), end, *tok.encode("two spaces"), end, end]
    assert tok.decode(ids) == "two  spaces<|endoftext|>two spaces<|endoftext|><|endoftext|>"
    with pytest.raises(ValueError, match=r"'<\|other\|>'"):
        joined(tok.encode_stream(["a", Special("<|other|>")]))


def test_an_error_shows_what_stands_around(small):
    tok = CharTokenizer().train("abc ")
    with pytest.raises(ValueError, match=r"'x'.*U\+0078"):
        joined(tok.encode_stream(["abc abc ax"]))
    with pytest.raises(ValueError):
        joined(tok.encode_stream(["a", "\ud800"]))
    with pytest.raises(RuntimeError):
        joined(CharTokenizer().encode_stream(["a"]))


def test_training_on_pieces_equals_training_on_the_text(kind, make, randoms, small):
    rng = random.Random(2)
    texts = randoms(100, seed=5)
    whole = make(kind, "\n".join(texts), special_tokens=(END.name,))
    assert make(kind, pieces_of("\n".join(texts), rng), special_tokens=(END.name,)).to_dict() == whole.to_dict()


def test_texts_between_special_tokens_are_texts_of_their_own():
    tok = BPETokenizer().train(["ab ", END, "ab ", END, "ab"], special_tokens=(END.name,))
    assert [tok.token_text(id) for id in range(256, tok.vocab_size - 1)] == ["ab"]  # never " ab", though counted twice


def test_two_processes_give_what_one_gives(small, randoms):
    text = " ".join(randoms(60, seed=6))
    one, two = (BPETokenizer().train(text, vocab_size=300, workers=workers) for workers in (1, 2))
    assert one.to_dict() == two.to_dict()
    assert joined(two.encode_stream([text], workers=2)) == one.encode(text)


def test_counts_are_exact_up_to_the_bound(randoms, small):
    text = " ".join(randoms(200, seed=7))
    counts = count(pretokenize, [text])
    assert counts == Counter(pretokenize(text)) and counts.dropped == 0


def test_beyond_the_bound_frequent_words_keep_their_counts(small):
    rng = random.Random(3)
    rare = [f" {number}" for number in range(4000)]
    words = [*rare, *[" the"] * 3000, *[" of"] * 2000]
    rng.shuffle(words)
    counts = count(pretokenize, ["".join(words)], distinct=100)
    assert len(counts) <= 100 and counts.dropped >= 3900
    assert counts[" the"] > 2900 and counts[" of"] > 1900
    assert all(counts[word] <= 1 for word in rare)


def test_long_words_are_bounded_by_their_bytes(monkeypatch, small):
    monkeypatch.setattr(stream, "MAX_WORD_BYTES", 2000)
    rng = random.Random(4)
    words = [*(f" {''.join(rng.choices('ACGT', k=60))}" for _ in range(500)), *[" the"] * 300]
    rng.shuffle(words)
    counts = count(pretokenize, ["".join(words)])
    assert sum(map(len, counts)) <= 2000 and counts.dropped > 400
    assert counts[" the"] > 290


def test_of_equally_rare_words_some_stay(small):
    counts = count(pretokenize, ["".join(f" {number}" for number in range(1000))], distinct=100)
    assert 50 <= len(counts) <= 100 and set(counts.values()) == {1}


def test_without_white_space_a_mark_will_do(monkeypatch):
    text = "".join(f'{{"id":{number},"name":"user{number}"}},' for number in range(400))
    tok = BPETokenizer().train(text, vocab_size=300)
    words = WordTokenizer().train(text)
    expected, expected_words = tok.encode(text), words.encode(text)
    monkeypatch.setattr(stream, "CHUNK_CHARACTERS", 64)
    monkeypatch.setattr(stream, "MAX_UNCUT", 512)
    assert len(list(chunks([text]))) > 10
    assert joined(tok.encode_stream([text])) == expected and joined(words.encode_stream([text])) == expected_words


def test_a_line_of_a_megabyte(tok, kind):
    text = "two  spaces, three " * 60_000
    if kind != "bpe":
        text = text.replace(" three", " and")
    assert len(text) > 1_000_000 and "\n" not in text
    assert joined(tok.encode_stream([text])) == tok.encode(text)
    assert tok.decode(tok.encode(text)) == text


def test_dropped_words_are_told_of(monkeypatch, small):
    monkeypatch.setattr(stream, "MAX_WORDS", 10)
    text = " ".join(f"w{number} the" for number in range(100))
    words = WordTokenizer().train(text)
    assert words.dropped > 80 and "<unk>" in words.special_tokens and words.token_text(words.encode("the")[0]) == "the"
    assert BPETokenizer().train(text).dropped > 80
    assert WordTokenizer().train("w1 the").dropped == 0


def test_a_tokenizer_travels_to_another_process(tok, hard_texts):
    twin = copy.copy(tok)  # by way of __reduce__, as to a worker
    assert type(twin) is type(tok) and twin.to_dict() == tok.to_dict()
    assert [twin.encode(text) for text in hard_texts] == [tok.encode(text) for text in hard_texts]
