"""Byte pair encoding as a tokenizer: bytes, sizes, incomplete characters, long pieces."""

import json
import random
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from numpygpt.tokenizer import BPETokenizer, pieces
from numpygpt.tokenizer.bpe import MAX_PIECE
from numpygpt.tokenizer.merger import MIN_LINKED
from numpygpt.tokenizer.merges import apply_merges, learn_merges
from numpygpt.tokenizer.pretokenize import pretokenize


@pytest.fixture(scope="module")
def plain():
    """The 256 bytes and no merges."""
    return BPETokenizer().train("", vocab_size=256)


def test_without_merges_ids_are_bytes(plain):
    assert plain.vocab_size == 256 and plain.kind == "bpe"
    assert plain.encode("né🙂") == list("né🙂".encode())
    assert [plain.decode([byte]) for byte in (65, 10, 0)] == ["A", "\n", "\0"]


def test_the_order_of_ids_is_bytes_merges_special_tokens():
    tok = BPETokenizer().train("low low lower", special_tokens=("<|endoftext|>",))
    # The pieces are "low", " low", " lower". lo and ow occur three times; l+o is (108, 111) and goes first.
    assert [tok.token_text(id) for id in range(256, tok.vocab_size)] == ["lo", "low", " low", "<|endoftext|>"]
    assert tok.encode("low lower slow") == [257, 258, 101, 114, 32, 115, 257]
    assert tok.special_tokens == {"<|endoftext|>": 259}


def test_every_character_of_unicode_comes_back(plain):
    tok = BPETokenizer().train("aé日🙂 " * 9)
    for start in range(0, sys.maxunicode + 1, 0x1000):
        text = "".join(chr(code) for code in range(start, start + 0x1000) if not 0xD800 <= code < 0xE000)
        assert tok.decode(tok.encode_array(text)) == text


def test_vocab_size_tells_the_truth_when_merges_run_out():
    tok = BPETokenizer().train("abab", vocab_size=1000, special_tokens=("<|a|>", "<|b|>"))
    assert tok.vocab_size == 256 + 1 + 2
    assert BPETokenizer().train("the cat the dog" * 9, vocab_size=260).vocab_size == 260
    assert BPETokenizer().train("abab", vocab_size=258, special_tokens=("<|a|>", "<|b|>")).vocab_size == 258


def test_min_freq():
    def learnt(min_freq):
        tok = BPETokenizer().train("xy xy xz", min_freq=min_freq)
        return [tok.token_text(id) for id in range(256, tok.vocab_size)]

    # The pieces are "xy", " xy", " xz": the pairs space+x and x+y both occur twice, and space is the smaller byte.
    assert learnt(3) == []
    assert learnt(2) == [" x"]
    assert learnt(1) == [" x", "xy", " xy", " xz"]


@pytest.mark.parametrize("size", [255, 0, -1, 257, 300.0, True, None])
def test_vocab_size_is_checked(size):
    names = ("<|a|>", "<|b|>")
    with pytest.raises(ValueError, match="vocab_size.*258.*256.*2"):
        BPETokenizer().train("abc", vocab_size=size, special_tokens=names)
    with pytest.raises(ValueError, match="min_freq.*1.*0"):
        BPETokenizer().train("abc", min_freq=0)


def test_incomplete_characters(plain):
    euro = list("€".encode())  # three bytes
    assert plain.token_text(euro[0]) == r"\xe2"
    assert plain.decode(euro[:2]) == plain.decode([0xFF]) == "\ufffd"
    assert plain.decode([*euro[:2], 65]) == "\ufffdA"
    stream = plain.stream()
    assert [stream.push(byte) for byte in euro] == ["", "", "€"]
    assert stream.push(euro[0]) == "" and stream.flush() == "\ufffd"
    assert [stream.push(byte) for byte in (euro[0], 65)] == ["", "\ufffdA"] and stream.flush() == ""


def test_token_text_shows_the_bytes_that_are_no_character():
    tok = BPETokenizer().train("🙂🙂🙂🙁🙁")
    texts = [tok.token_text(id) for id in range(256, tok.vocab_size)]
    # The two are f0 9f 99 82 and f0 9f 99 81; of the pairs that occur five times 9f 99 is the smaller.
    assert texts[:3] == [r"\x9f\x99", r"\xf0\x9f\x99", r"\x82\xf0\x9f\x99"]
    assert texts[3] == r"\x82🙂\xf0\x9f\x99"


def test_streaming_random_bytes_equals_decoding(plain):
    rng = random.Random(0)
    hard = [0xE2, 0x82, 0xAC, 0xF0, 0x9F, 0x99, 0x82, 0xC0, 0xED, 0xA0, 0x80, 0xF4, 0x90, 0xFF, 65]
    for _ in range(2000):
        ids = rng.choices(hard, k=rng.randrange(10))
        stream = plain.stream()
        assert "".join([stream.push(id) for id in ids]) + stream.flush() == plain.decode(ids)


def test_a_special_token_ends_an_incomplete_character():
    tok = BPETokenizer().train("", vocab_size=257, special_tokens=("é",))
    ids = [0xE2, 256, 65]
    stream = tok.stream()
    assert "".join([stream.push(id) for id in ids]) + stream.flush() == tok.decode(ids) == "\ufffdéA"


def test_merges_stay_inside_pieces():
    tok = BPETokenizer().train("dog. dog. dog. dog1 dog1 don't can't won't")
    texts = [tok.token_text(id) for id in range(256, tok.vocab_size)]
    assert " dog" in texts and "'t" in texts
    assert not any("g." in text or "g1" in text or "n'" in text for text in texts)


@pytest.mark.parametrize("unit", ["a", "the", "._", " ", "日本"])
def test_a_long_line_without_cuts(unit):
    text = unit * (30_000 // len(unit)) + "x"
    tok = BPETokenizer().train(text, vocab_size=400)
    assert tok.decode(tok.encode(text)) == text
    assert len(tok.encode(text)) < 100


@pytest.mark.parametrize("in_order", [True, False])
def test_much_text_without_cuts_has_the_ids_of_the_definition(in_order, monkeypatch):
    rng = random.Random(7)
    tok = BPETokenizer().train("".join(rng.choices("abcd", k=5000)) + " aaaa bbbb", vocab_size=400)
    tok._merger.in_order = in_order  # else piece by piece
    letters = "".join(rng.choices("abcdé", k=2 * MIN_LINKED))
    text = f"{'a' * MIN_LINKED} {letters} {letters[:99]} the {'-' * 99}"
    expected = []
    for piece in pretokenize(text):
        expected += apply_merges(list(piece.encode()), tok._merger.ranks, tok._merger.made)
    assert tok.encode(text) == expected


def test_a_text_without_cuts_is_learned_from_in_parts():
    text = "".join(random.Random(6).choices("abcd", k=5 * MAX_PIECE + 10))
    tok = BPETokenizer().train(text, vocab_size=300)
    parts = [text[start : start + MAX_PIECE] for start in range(0, len(text), MAX_PIECE)]
    assert tok.cut == 5
    assert list(tok._merger.ranks) == learn_merges({part.encode(): 1 for part in parts}, 44)
    assert BPETokenizer().train(text[: MAX_PIECE - 1]).cut == 0


def test_the_cache_is_bounded_and_changes_nothing(monkeypatch):
    words = [f"{a}{b}" for a in "abcdef" for b in "uvwxyz"]
    text = " ".join(words * 3)
    expected = BPETokenizer().train(text).encode(text)
    monkeypatch.setattr(pieces, "MAX_PIECES", 40)
    monkeypatch.setattr(pieces, "MAX_CHARACTERS", 500)
    tok = BPETokenizer().train(text)
    assert tok.encode(text) == tok.encode(text) == expected
    assert len(tok._cache) == 37  # 36 with a space, the first without
    assert tok.encode(text + " more words than fit")[: len(expected)] == expected
    assert tok.decode(tok.encode("a b c d")) == "a b c d" and len(tok._cache) == 4
    assert tok.decode(tok.encode("z" * 1000)) == "z" * 1000
    assert tok.decode(tok.encode("a b c d")) == "a b c d" and len(tok._cache) == 4


def test_threads_share_a_tokenizer(monkeypatch):
    monkeypatch.setattr(pieces, "MAX_PIECES", 40)
    texts = [" ".join(f"{word}{number}" for word in ("cat", "hat", "rat")) * 20 for number in range(40)]
    tok = BPETokenizer().train(" ".join(texts))
    expected = [BPETokenizer.from_dict(tok.to_dict()).encode(text) for text in texts]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            assert list(pool.map(tok.encode, texts)) == expected


def test_long_and_short_pieces_together():
    tok = BPETokenizer().train("ab" * 50 + " the cat the cat " + "-" * 99, vocab_size=280)
    text = "the " + "ab" * 70 + " cat" + "-" * 200 + " the cat " + "ab" * 70
    assert tok.decode(tok.encode(text)) == text
    assert tok.encode(text) == [id for piece in pretokenize(text) for id in tok.encode(piece)]


def test_a_failed_encoding_leaves_the_tokenizer_sound(tmp_path):
    path = tmp_path / "few.json"
    BPETokenizer().train("abab").save_huggingface(path)
    file = json.loads(path.read_text(encoding="utf-8"))
    file["model"] |= {"vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}
    path.write_text(json.dumps(file), encoding="utf-8")
    tok = BPETokenizer.load(path)
    for _ in range(2):
        assert tok.encode("abba") == [2, 1, 0]
        with pytest.raises(ValueError, match="0x20"):
            tok.encode("abba cab")
