"""Tokenizers as models have them, in small files: patterns, rules, ends of texts, folders, arrays of GGUF."""

import json

import pytest
from tokenizer_files import DIGITS, LETTERS, LEVEL, TEXT, byte_level, sequence, split, template

from numpygpt.tokenizer import BPETokenizer, CharTokenizer, WordTokenizer, formats, load_tokenizer, stream
from numpygpt.tokenizer.normal import nfc
from numpygpt.tokenizer.pretokenize import PATTERNS, pretokenize
from numpygpt.tokenizer.prompts import prompt_ids


@pytest.fixture
def load(tmp_path):
    """load(content, **others): the tokenizer of a folder with this tokenizer.json, and other files."""
    def loaded(content, **others):
        for name, value in {"tokenizer": content, **others}.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
        return load_tokenizer(tmp_path)

    return loaded


def shown(tok, text, **options):
    return [tok.token_text(id) for id in tok.encode(text, **options)]


# -- patterns and rules of byte-level BPE


@pytest.mark.parametrize(("name", "pieces"), [
    ("gpt2", ["In", " 2024", "!\"", "\n\n", " I", "'", "LL", "  ", " 12", "\r\n"]),
    ("smollm", ["In", " ", "2", "0", "2", "4", "!\"", "\n\n", " I", "'", "LL", "   ", "1", "2", "\r\n"]),
    ("llama3", ["In", " ", "202", "4", "!\"\n\n", " I", "'LL", "  ", " ", "12", "\r\n"]),
    ("qwen2", ["In", " ", "2", "0", "2", "4", "!\"\n\n", " I", "'LL", "  ", " ", "1", "2", "\r\n"]),
])  # fmt: skip
def test_each_pattern_cuts_in_its_own_way(name, pieces):
    text = "In 2024!\"\n\n I'LL   12\r\n"
    assert "".join(pieces) == text and pretokenize(text, name) == pieces


@pytest.mark.parametrize("name", PATTERNS)
def test_no_pattern_loses_text(name, hard_texts, randoms):
    for text in [*hard_texts, *randoms(300)]:
        assert "".join(pretokenize(text, name)) == text


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_is_recognised_and_comes_back(name, load, tmp_path, hard_texts, randoms, monkeypatch):
    tok = load(byte_level(name))
    assert tok.pattern == name and shown(tok, "12") == (["12"] if name in ("gpt2", "llama3") else ["1", "2"])
    tok.save(tmp_path / "ours.json")
    tok.save_huggingface(tmp_path / "theirs.json")
    for path in ("ours.json", "theirs.json"):
        assert load_tokenizer(tmp_path / path).to_dict() == tok.to_dict()
    monkeypatch.setattr(stream, "CHUNK_CHARACTERS", 8)
    for text in [*hard_texts, *randoms(200, length=60)]:
        assert tok.decode(tok.encode(text)) == text
        parts = [text[at : at + 5] for at in range(0, len(text), 5)]
        assert [id for ids in tok.encode_stream(parts) for id in ids.tolist()] == tok.encode(text)


@pytest.mark.parametrize(("splitter", "named"), [
    (sequence({**split("llama3"), "pattern": {"Regex": r"\p{Lu}+"}}, {**LEVEL, "use_regex": False}), r"p\{Lu\}"),
    (sequence({**split("llama3"), "behavior": "Removed"}, {**LEVEL, "use_regex": False}), "Split"),
    (sequence(split("llama3"), LEVEL), "pattern"),
    (sequence({**DIGITS, "individual_digits": False}, LEVEL), "Digits"),
    (sequence({"type": "Punctuation"}, LEVEL), "Punctuation"),
    (sequence(LEVEL, DIGITS), "Digits"),
])  # fmt: skip
def test_an_unknown_pattern_is_refused_by_name(splitter, named, load):
    with pytest.raises(ValueError, match=named):
        load(byte_level(pre_tokenizer=splitter))


def test_ignore_merges_takes_a_piece_that_is_a_token(load, tmp_path):
    file = byte_level(tokens=("hello",), model={"ignore_merges": True})
    tok = load(file)
    assert shown(tok, "hello ab") == ["hello", " ab"] and shown(tok, "hellos")[0] == "h"
    tok.save_huggingface(tmp_path / "theirs.json")
    assert shown(load_tokenizer(tmp_path / "theirs.json"), "hello") == ["hello"]
    assert shown(load({**file, "model": {**file["model"], "ignore_merges": False}}), "hello") == [*"hello"]


def test_nfc_comes_first(load, tmp_path):
    tok = load(byte_level("qwen2", normalizer={"type": "NFC"}))
    assert tok.encode("e\u0301 ab") == tok.encode("é ab") and tok.decode(tok.encode("e\u0301")) == "é"
    tok.save_huggingface(tmp_path / "theirs.json")
    assert load_tokenizer(tmp_path / "theirs.json").to_dict() == tok.to_dict()
    assert nfc("o\u0323\u0302") == "ộ" and nfc("plain") == "plain" and nfc("\u1100\u1161") == "가"
    assert nfc("x\u0898\u0301e\u0301") == "x\u0898\u0301é"  # a mark of Unicode 14 stays where it is


@pytest.mark.parametrize("change", [
    {"pattern": "gpt5"}, {"pattern": []}, {"nfc": 1}, {"ignore_merges": "yes"}, {"bos_id": -1}, {"bos_id": 10**6},
    {"eos_id": True}, {"add_bos": True}, {"add_eos": 1},
])  # fmt: skip
def test_fields_that_do_not_fit_are_refused(change, load):
    fields = load(byte_level()).to_dict()
    with pytest.raises(ValueError, match=next(iter(change))):
        BPETokenizer.from_dict({**fields, **change})


def test_training_goes_by_gpt2s_rules(load):
    tok = load(byte_level("llama3", normalizer={"type": "NFC"}, model={"ignore_merges": True}))
    before = tok.to_dict()
    with pytest.raises(ValueError, match="vocab_size"):
        tok.train("1234 1234", vocab_size=1)
    assert tok.to_dict() == before
    assert tok.train("1234 1234").to_dict() == BPETokenizer().train("1234 1234").to_dict()
    begun = load(byte_level(post_processor=template({"<s>": 260}, {"</s>": 261})))
    assert begun.add_bos and begun.train("1234 1234").to_dict() == tok.to_dict()


# -- the tokens that begin and end a text


def test_kinds_of_our_own_have_no_ends(make, kind):
    tok = make(kind, "a b")
    assert (tok.bos_id, tok.eos_id, tok.add_bos) == (None, None, False)
    assert not tok.to_dict().keys() & {"bos_id", "eos_id", "add_bos", "add_eos"}
    for other in (CharTokenizer, WordTokenizer):
        with pytest.raises(ValueError, match="bos_id"):
            other.from_dict({**other().train("a b").to_dict(), "bos_id": 0})


def test_a_template_says_what_begins_a_text(load, tmp_path):
    first = 256 + 4
    tok = load(byte_level(post_processor={"type": "Sequence", "processors": [LEVEL, template({"<s>": first})]}))
    assert (tok.bos_id, tok.eos_id, tok.add_bos, tok.add_eos) == (first, None, True, False)
    assert tok.encode("ab")[0] != first and tok.special_tokens["<s>"] == first
    assert prompt_ids(tok, "ab") == [first, *tok.encode("ab")] == prompt_ids(tok, "<s>ab")
    assert prompt_ids(tok, "") == [first]
    tok.save(tmp_path / "ours.json")
    tok.save_huggingface(tmp_path / "theirs.json")
    for path in ("ours.json", "theirs.json"):
        assert load_tokenizer(tmp_path / path).to_dict() == tok.to_dict()
    both = load(byte_level(post_processor=template({"<s>": first}, {"</s>": first + 1})))
    assert (both.add_bos, both.add_eos, both.eos_id) == (True, True, first + 1)
    both.save_huggingface(tmp_path / "theirs.json")
    assert load_tokenizer(tmp_path / "theirs.json").to_dict() == both.to_dict()


@pytest.mark.parametrize("processor", [
    template({"<s>": 5}), template({"<x>": 5}), template({"<s>": 260, "</s>": 261}),
    {**template({"<s>": 260}), "special_tokens": {}}, {**template(), "single": [TEXT, TEXT]},
    {"type": "Sequence", "processors": [template({"<s>": 260}), template({"<s>": 260})]},
    {"type": "BertProcessing", "sep": ["</s>", 261], "cls": ["<s>", 260]},
])  # fmt: skip
def test_another_template_is_refused(processor, load):
    with pytest.raises(ValueError, match="Processing"):
        load(byte_level(post_processor=processor))


def test_the_config_beside_it_names_the_ends(load, tmp_path):
    config = {"bos_token": "<s>", "eos_token": {"content": "</s>", "lstrip": False}}
    tok = load(byte_level(), tokenizer_config=config)
    assert (tok.bos_id, tok.eos_id, tok.add_bos) == (260, 261, False)
    assert prompt_ids(tok, "ab") == tok.encode("ab") and prompt_ids(tok, "") == [260]
    assert load_tokenizer(tmp_path / "tokenizer.json").to_dict() == tok.to_dict()
    assert load(byte_level(), tokenizer_config={"bos_token": None, "eos_token": "ab"}).eos_id == 257


@pytest.mark.parametrize("config", [{"eos_token": "<end>"}, {"eos_token": 5}, {"bos_token": {"content": 5}}, ["</s>"]])
def test_a_config_that_does_not_fit_is_refused(config, load):
    with pytest.raises(ValueError, match=r"tokenizer_config\.json"):
        load(byte_level(), tokenizer_config=config)


# -- folders


def test_a_folder_with_gpt2s_two_files(tmp_path):
    vocab = [*LETTERS, "ab", "Ġab", "<|endoftext|>"]
    (tmp_path / "vocab.json").write_text(json.dumps({token: id for id, token in enumerate(vocab)}), encoding="utf-8")
    with pytest.raises(ValueError, match=r"vocab\.json"):
        load_tokenizer(tmp_path)
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b\nĠ ab\n", encoding="utf-8")
    tok = load_tokenizer(tmp_path)
    assert shown(tok, "ab ab") == ["ab", " ab"] and tok.special_tokens == {"<|endoftext|>": 258} and tok.eos_id is None
    config = {"tokenizer_class": "GPT2Tokenizer", "eos_token": "<|endoftext|>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    assert load_tokenizer(tmp_path).eos_id == 258
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "Qwen2Tokenizer"}', encoding="utf-8")
    with pytest.raises(ValueError, match="Qwen2Tokenizer"):
        load_tokenizer(tmp_path)


def test_a_folder_with_our_own_file_or_none(tmp_path):
    with pytest.raises(ValueError, match=r"tokenizer\.json"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(b"\n")
    with pytest.raises(ValueError, match=r"tokenizer\.model"):
        load_tokenizer(tmp_path)
    CharTokenizer().train("ab").save(tmp_path / "tokenizer.json")
    assert load_tokenizer(tmp_path).encode("ba") == [1, 0]


# -- GGUF

ARRAYS = {
    "model": "gpt2", "pre": "smollm", "tokens": ["<|end|>", *LETTERS, "ab", "12", "<tool>"],
    "merges": ["a b", "1 2"], "token_types": [3, *[1] * 258, 4], "bos_id": 0, "eos_id": 0,
}  # fmt: skip


def test_the_arrays_of_a_gguf_file():
    tok = BPETokenizer.from_dict(formats.from_gguf(**ARRAYS))
    assert (tok.pattern, tok.bos_id, tok.eos_id, tok.add_bos) == ("smollm", 0, 0, False)
    assert tok.special_tokens == {"<|end|>": 0} and shown(tok, "12ab<tool>") == ["1", "2", "ab", "<tool>"]
    assert BPETokenizer.from_dict(formats.from_gguf(**ARRAYS | {"add_bos": True})).add_bos
    for pre, name in formats.GGUF_PATTERNS.items():
        tok = BPETokenizer.from_dict(formats.from_gguf(**ARRAYS | {"pre": pre}))
        assert (tok.pattern, tok.ignore_merges, tok.nfc) == (name, name == "llama3", name == "qwen2")
        assert tok.add_bos == (name == "llama3"), "files of Llama 3 do not say it"
    assert not BPETokenizer.from_dict(formats.from_gguf(**ARRAYS | {"pre": "llama-bpe", "add_bos": False})).add_bos
    assert not BPETokenizer.from_dict(formats.from_gguf(**ARRAYS | {"pre": "llama-bpe", "bos_id": None})).add_bos


@pytest.mark.parametrize(("change", "named"), [
    ({"model": "llama"}, "'llama'"), ({"pre": "deepseek-llm"}, "'deepseek-llm'"), ({"bos_id": 10**6}, "bos_id"),
    ({"merges": ["q w"]}, "merges"), ({"merges": ["ab"]}, "merges"), ({"tokens": ["a", "a"]}, "tokens"),
    ({"token_types": [1]}, "tokens"), ({"tokens": ["€"], "token_types": [1]}, "€"),
])  # fmt: skip
def test_other_arrays_are_refused_by_name(change, named):
    with pytest.raises(ValueError, match=named):
        BPETokenizer.from_dict(formats.from_gguf(**ARRAYS | change))
