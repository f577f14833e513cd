"""Byte-level BPE in the files of others: GPT-2's two, and Hugging Face's tokenizer.json."""

import json
import os
import random
from pathlib import Path

import pytest

from numpygpt.tokenizer import BPETokenizer, CharTokenizer, formats, load_tokenizer, stream

END = "<|endoftext|>"


@pytest.fixture(scope="module")
def gpt2_folder():
    default = Path(__file__).resolve().parents[3] / "shared" / "data" / "gpt2"
    folder = Path(os.environ.get("NUMPYGPT_GPT2", default))
    if not (folder / "vocab.bpe").is_file():
        pytest.skip("no GPT-2 files: set NUMPYGPT_GPT2 to the folder of vocab.bpe and encoder.json")
    return folder


@pytest.fixture(scope="module")
def gpt2(gpt2_folder):
    return BPETokenizer.from_gpt2(gpt2_folder / "vocab.bpe", gpt2_folder / "encoder.json")


@pytest.fixture
def small():
    return BPETokenizer().train("low low lower lowest 🙂🙂 日本日本", special_tokens=(END, "<|pad|>"))


def huggingface(tok, tmp_path):
    tok.save_huggingface(tmp_path / "hf.json")
    return json.loads((tmp_path / "hf.json").read_text(encoding="utf-8"))


def loaded(file, tmp_path):
    (tmp_path / "changed.json").write_text(json.dumps(file), encoding="utf-8")
    return load_tokenizer(tmp_path / "changed.json")


def test_the_byte_alphabet_is_one_to_one_and_visible():
    alphabet = formats.byte_alphabet()
    assert sorted(alphabet) == list(range(256)) and len(set(alphabet.values())) == 256
    assert chr(alphabet[ord(" ")]) == "Ġ" and chr(alphabet[ord("\n")]) == "Ċ" and chr(alphabet[0]) == "Ā"
    assert all(chr(code).isprintable() and not chr(code).isspace() for code in alphabet.values())
    assert all(formats.latin_1()[code] == byte for byte, code in alphabet.items())


def test_gpt2s_known_ids(gpt2):
    assert gpt2.vocab_size == 50257 and gpt2.special_tokens == {END: 50256}
    assert gpt2.encode("Hello, world!") == [15496, 11, 995, 0]
    assert gpt2.encode(END) == [27, 91, 437, 1659, 5239, 91, 29]
    assert gpt2.encode(END, allowed_special="all") == [50256]
    assert gpt2.decode([15496, 50256, 995]) == f"Hello{END} world"


def test_gpt2_comes_back_from_both_formats(gpt2, tmp_path, hard_texts):
    gpt2.save(tmp_path / "ours.json")
    gpt2.save_huggingface(tmp_path / "theirs.json")
    for name in ("ours.json", "theirs.json"):
        twin = load_tokenizer(tmp_path / name)
        assert twin.to_dict() == gpt2.to_dict()
        assert [twin.encode(text) for text in hard_texts] == [gpt2.encode(text) for text in hard_texts]
    assert all(gpt2.decode(gpt2.encode(text)) == text for text in hard_texts)


def test_a_small_vocabulary_in_gpt2s_two_files(tmp_path):
    letters = [chr(code) for code in sorted(formats.byte_alphabet().values())]
    ids = {token: id for id, token in enumerate([*letters, "lo", "Ġlo", END])}
    (tmp_path / "encoder.json").write_text(json.dumps(ids), encoding="utf-8")
    (tmp_path / "vocab.bpe").write_text("#version: 0.2\nl o\nĠ lo\n", encoding="utf-8")
    tok = BPETokenizer.from_gpt2(tmp_path / "vocab.bpe", tmp_path / "encoder.json")
    assert tok.special_tokens == {END: 258}
    assert tok.encode("lo lo!") == [256, 257, 0]  # "!" is the first visible byte
    assert tok.decode([256, 257, 0, 258]) == f"lo lo!{END}"
    (tmp_path / "vocab.bpe").write_text("#version: 0.2\nl o\nx\n", encoding="utf-8")
    with pytest.raises(ValueError, match="1"):
        BPETokenizer.from_gpt2(tmp_path / "vocab.bpe", tmp_path / "encoder.json")
    (tmp_path / "vocab.bpe").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="8"):
        BPETokenizer.from_gpt2(tmp_path / "vocab.bpe", tmp_path / "encoder.json")
    with pytest.raises(FileNotFoundError):
        BPETokenizer.from_gpt2(tmp_path / "vocab.bpe", tmp_path / "none.json")
    (tmp_path / "vocab.bpe").write_text("#version: 0.2\n", encoding="utf-8")
    (tmp_path / "encoder.json").write_text("[1, 2]", encoding="utf-8")
    with pytest.raises(ValueError, match=r"encoder\.json"):
        BPETokenizer.from_gpt2(tmp_path / "vocab.bpe", tmp_path / "encoder.json")


def test_there_and_back_again(small, tmp_path, hard_texts):
    file = huggingface(small, tmp_path)
    assert file["model"]["merges"][0] == "l o" and file["model"]["vocab"]["Ġlow"] > 255
    assert [token["content"] for token in file["added_tokens"]] == [END, "<|pad|>"]
    twin = load_tokenizer(tmp_path / "hf.json")
    assert type(twin) is BPETokenizer and twin.to_dict() == small.to_dict()
    assert type(BPETokenizer.load(tmp_path / "hf.json")) is BPETokenizer
    with pytest.raises(ValueError, match="CharTokenizer"):
        CharTokenizer.load(tmp_path / "hf.json")


def test_merges_may_be_lists_and_special_tokens_may_come_first(small, tmp_path):
    file = huggingface(small, tmp_path)
    model = file["model"]
    model["merges"] = [merge.split(" ") for merge in model["merges"]]
    order = [END, "<|pad|>", *(token for token in model["vocab"] if token not in small.special_tokens)]
    model["vocab"] = {token: id for id, token in enumerate(order)}
    file["added_tokens"][0]["id"], file["added_tokens"][1]["id"] = 0, 1
    tok = loaded(file, tmp_path)
    assert tok.special_tokens == {END: 0, "<|pad|>": 1}
    assert tok.encode("lowest 日") == [id + 2 for id in small.encode("lowest 日")]
    assert tok.decode([0, *tok.encode("low"), 1]) == f"{END}low<|pad|>"
    tok.save(tmp_path / "ours.json")
    assert load_tokenizer(tmp_path / "ours.json").to_dict() == tok.to_dict()
    assert huggingface(tok, tmp_path)["model"]["vocab"] == model["vocab"]


def test_two_merges_may_make_the_same_token(tmp_path):
    file = huggingface(BPETokenizer().train("abab abc", vocab_size=258, min_freq=1), tmp_path)
    ids = {chr(code): byte for byte, code in formats.byte_alphabet().items()}
    file["model"]["vocab"] = {**ids, "ab": 256, "bc": 257, "abc": 258}
    file["model"]["merges"] = ["b c", "a b", "a bc", "ab c"]
    tok = loaded(file, tmp_path)
    assert tok.encode("abc") == [258] and tok.encode("abbc") == [256, 257]


def test_a_byte_without_a_token_is_named(tmp_path):
    file = huggingface(BPETokenizer().train("", vocab_size=256), tmp_path)
    file["model"]["vocab"] = {"a": 0, "b": 1, "ab": 2}
    file["model"]["merges"] = ["a b"]
    tok = loaded(file, tmp_path)
    assert tok.encode("aab") == [0, 2]
    with pytest.raises(ValueError, match="0x63"):
        tok.encode("abc")


@pytest.mark.parametrize("name", ["é", "Ġ", "À", "Ġthe"])
def test_a_special_token_that_spells_an_ordinary_one_cannot_be_written(name, tmp_path):
    tok = BPETokenizer().train("the the the the", 260, special_tokens=(name,))
    with pytest.raises(ValueError):
        tok.save_huggingface(tmp_path / "x.json")


def test_lower_case_cannot_be_written(tmp_path):
    with pytest.raises(ValueError):
        BPETokenizer(lowercase=True).train("Aa").save_huggingface(tmp_path / "x.json")
    assert not (tmp_path / "x.json").exists()


BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True}
TEXT = {"Sequence": {"id": "A", "type_id": 0}}
TEMPLATE = {"type": "TemplateProcessing", "single": [TEXT]}
START = {"SpecialToken": {"id": "<s>", "type_id": 0}}
CHANGES = [
    (("model", "type"), "WordPiece", "its model and pre_tokenizer are 'WordPiece' and 'ByteLevel', expected BPE and"),
    (("pre_tokenizer",), None, "pre_tokenizer are 'BPE' and None"),
    (("pre_tokenizer", "type"), "Whitespace", "'BPE' and 'Whitespace'"),
    (("pre_tokenizer", "add_prefix_space"), True, "adds a space or leaves out"),
    (("pre_tokenizer", "use_regex"), False, "adds a space or leaves out"),
    (("model", "byte_fallback"), True, "byte_fallback = True"),
    (("model", "dropout"), 0.1, "dropout = 0.1"),
    (("model", "end_of_word_suffix"), "</w>", "end_of_word_suffix = '</w>'"),
    (("normalizer",), {"type": "NFKC"}, "it has the normalizer {'type': 'NFKC'}"),
    (("normalizer",), {"type": "Sequence", "normalizers": [{"type": "NFD"}]}, "normalizer {'type': 'NFD'}"),
    (("normalizer",), {"type": "Sequence"}, "normalizers.*got None"),
    (("pre_tokenizer",), {"type": "Sequence", "pretokenizers": [{"type": "Digits"}, BYTES]}, "'Digits', 'ByteLevel'"),
    (("post_processor",), {"type": "TemplateProcessing"}, "its post_processor 'TemplateProcessing' adds tokens"),
    (("post_processor",), {"type": "TemplateProcessing", "single": [START, TEXT]}, r"adds tokens .*\('<s>'\)"),
    (("post_processor",), {"type": "TemplateProcessing", "single": [TEXT, TEXT]}, "'TemplateProcessing' adds"),
    (("post_processor",), {"type": "Sequence", "processors": [BYTES, {"type": "RobertaProcessing"}]}, "Roberta"),
    (("post_processor",), [5], r"processors.*\[5\]"),
    (("post_processor",), "ByteLevel", "processors.*'ByteLevel'"),
    (("post_processor",), "Sequence", "processors.*'Sequence'"),
    (("pre_tokenizer",), "ByteLevel", "pretokenizers.*'ByteLevel'"),
    (("pre_tokenizer",), {"type": "Sequence", "pretokenizers": ["Digits", BYTES]}, "pretokenizers.*'Digits'"),
    (("normalizer",), "NFC", "normalizers.*'NFC'"),
    (("added_tokens", 0, "lstrip"), True, r"its added token '<\|endoftext\|>' has lstrip"),
    (("added_tokens", 0, "rstrip"), True, r"its added token '<\|endoftext\|>' has rstrip"),
    (("added_tokens", 0, "single_word"), True, r"its added token '<\|endoftext\|>' has single_word"),
    (("added_tokens", 0, "content"), "lo", "its added token 'lo' is also an ordinary token"),
    (("added_tokens", 0, "id"), 5, "vocab"),
    (("added_tokens", 0, "id"), None, "vocab"),
    (("added_tokens",), 5, "added_tokens"),
    (("added_tokens",), [5], "added_tokens"),
    (("model", "vocab"), ["a"], r"model\.vocab"),
    (("model", "vocab", "€"), 10**6, "vocab"),
    (("model", "vocab", "Ā"), False, "vocab"),
    (("model", "merges"), None, "merges"),
    (("model", "merges"), ["a b c"], r"merges\[0\]"),
    (("model", "merges"), [[1, 2]], r"merges\[0\]"),
    (("model", "merges"), ["q q"], r"merges\[0\]"),
]


@pytest.mark.parametrize(("place", "value", "message"), CHANGES)
def test_what_would_give_other_ids_is_refused(place, value, message, small, tmp_path):
    file = huggingface(small, tmp_path)
    inner = file
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(ValueError, match=message):
        loaded(file, tmp_path)


NOTHING_NEW = [
    (("post_processor",), BYTES),
    (("post_processor",), {**TEMPLATE, "pair": [TEXT, START], "special_tokens": {}}),
    (("post_processor",), {"type": "Sequence", "processors": [BYTES, TEMPLATE]}),
    (("pre_tokenizer",), {"type": "Sequence", "pretokenizers": [BYTES]}),
    (("normalizer",), {"type": "Sequence", "normalizers": []}),
    (("decoder",), None),
    (("model", "type"), "BPE"),
    (("model", "unk_token"), "<unk>"),
    (("model", "fuse_unk"), True),
    (("model", "continuing_subword_prefix"), ""),
    (("model", "dropout"), 0.0),
    (("model", "of_a_later_version"), None),
    (("truncation",), {"max_length": 5}),
    (("padding",), {"pad_id": 0}),
    (("of_a_later_version",), {}),
]


@pytest.mark.parametrize(("place", "value"), NOTHING_NEW)
def test_what_changes_no_ids_is_accepted(place, value, small, tmp_path):
    file = huggingface(small, tmp_path)
    inner = file
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    assert loaded(file, tmp_path).to_dict() == small.to_dict()


def with_added(small, tmp_path, *tokens):
    """The file, with added tokens (content, normalized) behind all others."""
    file = huggingface(small, tmp_path)
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "special"), False)
    first = len(file["model"]["vocab"])
    for id, (content, normalized) in enumerate(tokens, start=first):
        file["added_tokens"].append({"id": id, "content": content, "normalized": normalized, **flags})
    return file, first


def test_added_tokens_are_recognised_in_every_text(small, tmp_path):
    file, first = with_added(small, tmp_path, ("    ", True), ("  ", True), ("\t\t", False), ("a b", True))
    tok = loaded(file, tmp_path)
    four, two, tabs, phrase = range(first, first + 4)
    assert tok.vocab_size == first + 4 and list(tok.special_tokens) == [END, "<|pad|>"]
    (low, *_), text = small.encode("low"), "low    low  low\t\tlow a b"
    assert tok.encode(text) == [low, four, low, two, low, tabs, low, *small.encode(" "), phrase]
    assert tok.decode(tok.encode(text)) == text and tok.token_text(tabs) == "\t\t"
    assert tok.encode(f"{END}  ", allowed_special="all") == [tok.special_tokens[END], two]
    for path, save in ((tmp_path / "ours.json", tok.save), (tmp_path / "theirs.json", tok.save_huggingface)):
        save(path)
        twin = load_tokenizer(path)
        assert twin.to_dict() == tok.to_dict() and twin.encode(text) == tok.encode(text)


def test_an_added_token_is_not_broken_by_a_chunk(small, tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "CHUNK_CHARACTERS", 16)
    file, _ = with_added(small, tmp_path, ("        ", True), ("x \ty", False), ("\n\t \n", True), ("z,", True))
    tok = loaded(file, tmp_path)
    rng = random.Random(3)
    for _ in range(300):
        text = "".join(rng.choices(["x \ty", "x ", "\ty", " ", "\n", "\t ", "z", ",", "low"], k=rng.randrange(60)))
        pieces = [text[i : i + 7] for i in range(0, len(text), 7)]
        assert [id for ids in tok.encode_stream(pieces) for id in ids.tolist()] == tok.encode(text)


def test_an_added_token_whose_pattern_would_fill_the_memory(small, tmp_path):
    file, first = with_added(small, tmp_path, ("a b" * 1000, False))
    tok = loaded(file, tmp_path)
    assert tok.encode("x" + "a b" * 1000)[-1] == first
    with pytest.raises(ValueError, match="3,000"):
        list(tok.encode_stream("x y"))


def test_an_added_token_may_be_one_that_merges_make(small, tmp_path):
    file, _ = with_added(small, tmp_path)
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "special"), False)
    low = file["model"]["vocab"]["low"]
    file["added_tokens"].append({"id": low, "content": "low", "normalized": True, **flags})
    tok = loaded(file, tmp_path)
    assert tok.vocab_size == small.vocab_size
    assert tok.encode("slower") == [*small.encode("s"), low, *small.encode("er")]
    tok.save(tmp_path / "ours.json")
    assert load_tokenizer(tmp_path / "ours.json").encode("slower") == tok.encode("slower")
    file["added_tokens"][-1]["id"] = low + 1
    with pytest.raises(ValueError, match="'low'"):
        loaded(file, tmp_path)
    file["added_tokens"][-1] |= {"id": file["model"]["vocab"]["é"], "content": "é"}  # there it is the byte 0xE9
    with pytest.raises(ValueError, match="'é'"):
        loaded(file, tmp_path)


@pytest.mark.parametrize("change", [
    {"id": -1}, {"id": 10**6}, {"id": "5"}, {"content": ""}, {"content": "<|pad|>"}, {"own": False},
    {"normalized": None}, {"more": 1},
])  # fmt: skip
def test_added_tokens_that_do_not_fit_are_refused(change, small, tmp_path):
    file, _ = with_added(small, tmp_path, ("  ", True), ("\t\t", True))
    fields = loaded(file, tmp_path).to_dict()
    fields["added_tokens"][1] |= change
    with pytest.raises(ValueError, match="token"):
        BPETokenizer.from_dict(fields)
    for value in (5, [5]):
        with pytest.raises(ValueError, match="added_tokens"):
            BPETokenizer.from_dict({**fields, "added_tokens": value})


def test_a_token_outside_the_byte_alphabet_is_named(small, tmp_path):
    file = huggingface(small, tmp_path)
    vocab = file["model"]["vocab"]
    vocab["€"] = vocab.pop("Ġlow")
    with pytest.raises(ValueError, match="GPT.*2.*'€'"):
        loaded(file, tmp_path)
