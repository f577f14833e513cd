"""Damaged tokenizer files of all kinds give one line of error or a tokenizer that works."""

import json

import pytest

pytest.importorskip("hypothesis")

from damage import cases, changed, spoiled, to_json
from hypothesis import given
from hypothesis import strategies as st

from numpygpt.tokenizer import BPETokenizer, CharTokenizer, Tokenizer, WordTokenizer, formats, load_tokenizer
from numpygpt.tokenizer.storage import to_json as as_saved

TEXT = "low low lower lowest; the cat's hat\n é"
END = ("<|endoftext|>", "<unk>")
FIELDS = {kind.kind: kind().train(TEXT, special_tokens=END).to_dict()
          for kind in (CharTokenizer, WordTokenizer, BPETokenizer)}  # fmt: skip
FIELDS["short"] = {**FIELDS["bpe"], "special_tokens": {}, "vocab": ["b", "a", "ab", "abab"],
                   "merges": [["a", "b"], ["ab", "ab"]]}
HUGGINGFACE = formats.to_huggingface(FIELDS["bpe"])
VOCAB_BPE = "#version: 0.2\nl o\nlo w\nĠ low\n"
ENCODER = {**{chr(code): byte for byte, code in formats.byte_alphabet().items()},
           "lo": 256, "low": 257, "Ġlow": 258, "<|endoftext|>": 259}  # fmt: skip
kinds = st.sampled_from(sorted(FIELDS))


def works(tok):
    """Check what holds for every tokenizer."""
    assert Tokenizer.from_dict(json.loads(json.dumps(tok.to_dict()))).to_dict() == tok.to_dict()
    try:
        ids = tok.encode(TEXT)
    except ValueError as error:  # a vocabulary that lacks some of the text
        assert "vocabulary" in str(error)
        return
    assert all(0 <= id < tok.vocab_size for id in ids)
    text = tok.decode(ids)
    if "<unk>" not in tok.special_tokens or tok.special_tokens["<unk>"] not in ids:
        assert text == (TEXT.lower() if tok.lowercase else TEXT)


def opened(place, content):
    path = place.folder / "in" / "side" / "tok.json"
    path.write_bytes(content)
    tok = place.tried(lambda: load_tokenizer(path), "tok.json")
    if tok is not None:
        works(tok)


@cases(12)
@given(st.data())
def test_bytes_of_our_files(place, data):
    opened(place, data.draw(spoiled(as_saved(FIELDS[data.draw(kinds)]).encode())))


@cases(14)
@given(st.data())
def test_fields_of_our_files(place, data):
    opened(place, to_json(data.draw(changed(FIELDS[data.draw(kinds)]))))


@cases(4)
@given(st.data())
def test_bytes_of_a_tokenizer_json(place, data):
    opened(place, data.draw(spoiled(json.dumps(HUGGINGFACE).encode())))


@cases(6)
@given(st.data())
def test_fields_of_a_tokenizer_json(place, data):
    opened(place, to_json(data.draw(changed(HUGGINGFACE))))


@cases(6)
@given(st.data())
def test_the_two_files_of_gpt2(place, data):
    folder = place.folder / "in" / "side"
    merges, encoder = VOCAB_BPE.encode(), json.dumps(ENCODER).encode()
    if data.draw(st.booleans()):
        merges = data.draw(spoiled(merges))
    else:
        encoder = to_json(data.draw(changed(ENCODER))) if data.draw(st.booleans()) else data.draw(spoiled(encoder))
    (folder / "vocab.bpe").write_bytes(merges)
    (folder / "encoder.json").write_bytes(encoder)
    tok = place.tried(lambda: BPETokenizer.from_gpt2(folder / "vocab.bpe", folder / "encoder.json"), "encoder.json")
    if tok is not None:
        works(tok)
