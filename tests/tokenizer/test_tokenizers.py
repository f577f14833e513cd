"""What holds for every tokenizer, whatever its kind."""

import doctest
import importlib
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from numpygpt.tokenizer import BPETokenizer, CharTokenizer, WordTokenizer

ROOT = Path(__file__).resolve().parents[2]


def test_hard_texts_come_back_exactly(tok, hard_texts):
    for text in hard_texts:
        assert tok.decode(tok.encode(text)) == text


def test_random_texts_come_back_exactly(tok, kind, randoms):
    for text in randoms(500, seed=2):
        try:
            ids = tok.encode(text)
        except ValueError as error:  # atoms side by side make words that were never seen; nothing else may fail
            assert kind == "word" and "not in the vocabulary" in str(error)
            continue
        assert tok.decode(ids) == text


def test_encode_array_equals_encode(tok, hard_texts):
    for text in hard_texts:
        array = tok.encode_array(text)
        assert array.dtype == np.uint32 and array.ndim == 1
        assert array.tolist() == tok.encode(text)
        assert all(type(id) is int for id in tok.encode(text))


def test_decode_takes_lists_and_arrays_of_any_integer_type(tok):
    ids = tok.encode("two spaces")
    assert tok.decode(ids) == tok.decode(np.array(ids, dtype=np.uint16)) == tok.decode(np.array(ids)) == "two spaces"
    assert tok.decode([np.int64(id) for id in ids]) == "two spaces"
    assert tok.decode([]) == tok.decode(np.array([])) == ""


def test_ids_are_dense_and_special_tokens_come_last(tok):
    assert len(tok) == tok.vocab_size
    assert list(tok.special_tokens.values()) == [tok.vocab_size - 2, tok.vocab_size - 1]
    assert tok.encode_array("two spaces").max() < tok.vocab_size


def test_streaming_equals_decoding_for_any_ids(tok):
    rng = random.Random(3)
    for _ in range(300):
        ids = [rng.randrange(tok.vocab_size) for _ in range(rng.randrange(20))]
        stream = tok.stream()
        assert "".join([stream.push(id) for id in ids]) + stream.flush() == tok.decode(ids)
        assert "".join([stream.push(id) for id in ids]) + stream.flush() == tok.decode(ids)  # flush starts afresh


def test_streaming_equals_decoding_for_texts(tok, hard_texts):
    for text in hard_texts:
        stream = tok.stream()
        assert "".join([stream.push(id) for id in tok.encode(text)]) + stream.flush() == text


def test_plain_text_never_makes_a_special_token(tok, kind, make):
    text = "a <|endoftext|> b<|pad|>"
    assert not set(tok.encode(text)) & set(tok.special_tokens.values())
    seen_in_training = make(kind, text * 50, special_tokens=("<|endoftext|>",))
    assert seen_in_training.special_tokens["<|endoftext|>"] not in seen_in_training.encode(text)
    assert seen_in_training.decode(seen_in_training.encode(text)) == text


def test_allowed_special_tokens_are_recognised(tok):
    end, pad = tok.special_tokens["<|endoftext|>"], tok.special_tokens["<|pad|>"]
    text = "two  <|endoftext|> <|pad|>spaces"
    assert end in tok.encode(text, allowed_special={"<|endoftext|>"})
    assert pad not in tok.encode(text, allowed_special={"<|endoftext|>"})
    both = tok.encode(text, allowed_special="all")
    assert end in both and pad in both
    assert tok.decode(both) == text
    assert tok.encode_array(text, allowed_special="all").tolist() == both
    assert tok.encode("<|pad|><|pad|>", allowed_special=["<|pad|>"]) == [pad, pad]


def test_the_longer_of_two_special_tokens_wins(kind, make):
    tok = make(kind, "plain text", special_tokens=("<|a", "<|a|>"))
    assert tok.encode("<|a|><|a", allowed_special="all") == [tok.special_tokens["<|a|>"], tok.special_tokens["<|a"]]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("<|pad|>", r"takes a collection of names or 'all'.*pass \('<\|pad\|>',\)"),
        (["<|x|>"], "no special token.* it has '<|endoftext|>', '<|pad|>'".replace("|", r"\|")),
    ],
)
def test_allowed_special_is_checked(tok, names, message):
    with pytest.raises(ValueError, match=message):
        tok.encode("text", allowed_special=names)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("<|end|>", "takes a collection of names"),
        (("",), "non-empty str"),
        ((3,), "non-empty str, got 3"),
        (("<a>", "<a>"), "occurs 2 times"),
        (("\ud800",), "lone surrogate"),
        (("t",), "'t' occurs 2 times"),
    ],
)
def test_special_names_are_checked(kind, make, names, message):
    with pytest.raises(ValueError, match=message):
        make(kind, "t t", special_tokens=names)


def test_decode_names_the_id_that_is_outside(tok):
    for bad in (tok.vocab_size, -1, 2**70):
        with pytest.raises(ValueError, match=rf"id {bad} at position 2 is outside the vocabulary of {tok.vocab_size}"):
            tok.decode([0, 1, bad, 0])
    with pytest.raises(ValueError, match=f"id {tok.vocab_size} at position 1"):
        tok.decode(np.array([0, tok.vocab_size]))
    with pytest.raises(ValueError, match="id.*1.*0"):
        tok.token_text(-1)
    stream = tok.stream()
    stream.push(0)
    with pytest.raises(ValueError, match=f"id {tok.vocab_size} at position 1"):
        stream.push(tok.vocab_size)


@pytest.mark.parametrize("ids", [[0.5], ["a"], None, 3, np.array([0.0]), np.array([[0]]), np.array([True])])
def test_decode_takes_nothing_but_integers(tok, ids):
    with pytest.raises(ValueError, match="1"):
        tok.decode(ids)


def test_lone_surrogates_are_refused_with_their_place(tok, kind, make):
    message = r"lone surrogate U\+DC80 at index 4 \(line 2, column 2\)"
    with pytest.raises(ValueError, match=message):
        tok.encode("ab\nc\udc80d")
    with pytest.raises(ValueError, match=message):
        make(kind, "ab\nc\udc80d")
    with pytest.raises(TypeError):
        tok.encode(b"bytes")


@pytest.mark.parametrize("cls", [CharTokenizer, WordTokenizer, BPETokenizer])
def test_an_untrained_tokenizer_says_so(cls, tmp_path):
    tok = cls()
    path = tmp_path / "tokenizer.json"
    uses = [lambda: tok.encode("a"), lambda: tok.encode_array("a"), lambda: tok.decode([0]), lambda: tok.token_text(0),
            lambda: tok.stream(), lambda: tok.to_dict(), lambda: tok.save(path), lambda: tok.vocab_size,
            lambda: len(tok)]  # fmt: skip
    for use in uses:
        with pytest.raises(RuntimeError, match=rf"{cls.__name__} has no vocabulary yet: train\(text\) or load\(path\)"):
            use()
    assert not path.exists()
    assert "untrained" in repr(tok)


def test_training_again_forgets_the_first_text(kind, make):
    tok = make(kind, "first first text", special_tokens=("<|pad|>",))
    tok.encode("first text")
    fresh = type(tok)().train("text text second")
    assert tok.train("text text second").to_dict() == fresh.to_dict()
    assert tok.encode("text text") == fresh.encode("text text")  # nothing was kept in a cache either


def test_the_hash_seed_changes_nothing():
    code = (
        "from numpygpt.tokenizer import *\n"
        "text = 'the cat, the dog; on the mat: a cat dog mat. ' * 3 + 'zyx wvu tsr'\n"
        "for tok in (CharTokenizer(), WordTokenizer(), BPETokenizer()):\n"
        "    print(tok.train(text).to_dict(), tok.encode('the mat'))\n"
    )
    runs = []
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
        run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
        runs.append(run.stdout)
    assert runs[0] == runs[1] and b"merges" in runs[0]


@pytest.mark.parametrize("module", ["char", "word", "bpe"])
def test_the_examples_in_the_docstrings_are_true(module):
    result = doctest.testmod(importlib.import_module(f"numpygpt.tokenizer.{module}"))
    assert result.attempted >= 3 and result.failed == 0
