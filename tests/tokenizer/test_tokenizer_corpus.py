"""Tiny Shakespeare, whole. Skipped where there is no corpus; nothing here is timed."""

from collections import Counter

import pytest

from numpygpt.tokenizer import BPETokenizer, CharTokenizer, WordTokenizer


@pytest.fixture(scope="module")
def shakespeare(corpus):
    if len(corpus) != 1_115_394:
        pytest.skip("the corpus is not tiny Shakespeare")
    return corpus


def test_characters(shakespeare):
    tok = CharTokenizer().train(shakespeare)
    ids = tok.encode_array(shakespeare)
    assert tok.vocab_size == 65 and len(ids) == len(shakespeare)
    assert tok.decode(ids) == shakespeare


def test_words(shakespeare):
    tok = WordTokenizer().train(shakespeare)
    ids = tok.encode_array(shakespeare)
    assert tok.decode(ids) == shakespeare
    assert 12_000 < tok.vocab_size < 15_000
    spacing = Counter(tok.token_text(id) for id in ids.tolist())
    assert spacing["<join>"] + spacing[" "] < len(ids) / 200  # the rule fits English


def test_bpe(shakespeare):
    tok = BPETokenizer().train(shakespeare, special_tokens=("<|endoftext|>",))
    ids = tok.encode_array(shakespeare)
    assert tok.vocab_size == 6551
    assert tok.decode(ids) == shakespeare
    assert len(ids) < 330_000  # 3.4 bytes a token
    stream = tok.stream()
    assert "".join([stream.push(id) for id in ids.tolist()]) + stream.flush() == shakespeare
