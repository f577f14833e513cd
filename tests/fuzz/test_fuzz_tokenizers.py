"""Damaged tokenizer files of all kinds give one line of error or a tokenizer that works."""

import json

import pytest

pytest.importorskip("hypothesis")

from damage import ODD, cases, changed, spoiled, to_json
from hypothesis import given
from hypothesis import strategies as st
from tokenizer_files import LETTERS, added, byte_level, sentencepiece, template

from numpygpt.tokenizer import BPETokenizer, CharTokenizer, Tokenizer, WordTokenizer, formats, load_tokenizer
from numpygpt.tokenizer.storage import to_json as as_saved

TEXT = "low low lower lowest; the cat's hat\n é"
END = ("<|endoftext|>", "<unk>")
FIELDS = {kind.kind: kind().train(TEXT, special_tokens=END).to_dict()
          for kind in (CharTokenizer, WordTokenizer, BPETokenizer)}  # fmt: skip
FIELDS["short"] = {**FIELDS["bpe"], "special_tokens": {}, "vocab": ["b", "a", "ab", "abab"],
                   "merges": [["a", "b"], ["ab", "ab"]]}
HUGGINGFACE = formats.to_huggingface(FIELDS["bpe"])
LLAMA3 = byte_level("llama3", normalizer={"type": "NFC"}, model={"ignore_merges": True},
                    post_processor=template({"<s>": 260}, {"</s>": 261}))  # fmt: skip
LLAMA3["added_tokens"].append(added(262, "e\u0301", special=False, normalized=True))
LLAMA2, METASPACE = sentencepiece(), sentencepiece(metaspace=("first", False))
FIELDS["llama3"] = formats.from_huggingface(LLAMA3)
FIELDS["sentencepiece"] = formats.from_huggingface(LLAMA2)
MODELS = {"llama3": LLAMA3, "smollm": byte_level("smollm"), "llama2": LLAMA2, "metaspace": METASPACE}
CONFIG = {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "tokenizer_class": "PreTrainedTokenizerFast"}
ARRAYS = {"model": "gpt2", "pre": "smollm", "tokens": [*LETTERS, "ab"], "merges": ["a b"],
          "token_types": [*[1] * 256, 4], "bos_id": 0, "eos_id": 1, "add_bos": True}  # fmt: skip
VOCAB_BPE = "#version: 0.2\nl o\nlo w\nĠ low\n"
ENCODER = {**{chr(code): byte for byte, code in formats.byte_alphabet().items()},
           "lo": 256, "low": 257, "Ġlow": 258, "<|endoftext|>": 259}  # fmt: skip
kinds = st.sampled_from(sorted(FIELDS))


def outside(file):
    """The file without its long lists, so that changes meet the rest: what belongs to no model and no vocabulary."""
    return {key: value for key, value in file.items() if key not in ("model", "added_tokens")}


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
    assert [id for ids in tok.encode_stream([TEXT]) for id in ids.tolist()] == ids


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


@cases(10)
@given(st.data())
def test_fields_of_a_models_tokenizer_json(place, data):
    file = MODELS[data.draw(st.sampled_from(sorted(MODELS)))]
    how = data.draw(st.integers(0, 2))
    if how == 0:
        opened(place, data.draw(spoiled(json.dumps(file).encode())))
    elif how == 1:
        opened(place, to_json(data.draw(changed(file))))
    else:  # around the vocabulary
        damaged = data.draw(changed(outside(file)))
        opened(place, to_json({**file, **damaged} if isinstance(damaged, dict) else damaged))


@cases(4)
@given(st.data())
def test_a_folder_with_a_damaged_config(place, data):
    folder = place.folder / "in" / "side" / "model"
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(MODELS[data.draw(st.sampled_from(sorted(MODELS)))]))
    config = to_json(data.draw(changed(CONFIG))) if data.draw(st.booleans()) else \
        data.draw(spoiled(json.dumps(CONFIG).encode()))
    (folder / "tokenizer_config.json").write_bytes(config)
    tok = place.tried(lambda: load_tokenizer(folder), "tokenizer_config.json")
    if tok is not None:
        works(tok)


@cases(6)
@given(st.data())
def test_the_arrays_of_a_gguf_file(place, data):
    arrays = {name: data.draw(st.sampled_from(ODD)) if data.draw(st.integers(0, 9)) == 0 else value
              for name, value in ARRAYS.items()}  # fmt: skip
    tok = place.tried(lambda: BPETokenizer.from_dict(formats.from_gguf(**arrays)), "")
    if tok is not None:
        works(tok)


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
