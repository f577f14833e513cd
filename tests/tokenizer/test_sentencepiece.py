"""SentencePiece's BPE as Llama 2 has it, in small files written by hand."""

import copy
import json
import random

import pytest
from tokenizer_files import BYTES, REPLACE, added, sentencepiece, template

from numpygpt.tokenizer import SentencePieceTokenizer, load_tokenizer, stream
from numpygpt.tokenizer.display import token_signs
from numpygpt.tokenizer.prompts import prompt_ids

WAYS = {"every": None, "first": ("first", False), "missing": ("always", True), "none": ("never", True)}


@pytest.fixture
def load(tmp_path):
    def loaded(file):
        (tmp_path / "tokenizer.json").write_text(json.dumps(file), encoding="utf-8")
        return load_tokenizer(tmp_path)

    return loaded


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(stream, "CHUNK_CHARACTERS", 8)


def pieces(tok, text, **options):
    return [tok._tokens[id] for id in tok.encode(text, **options)]


def joined(arrays):
    return [id for ids in arrays for id in ids.tolist()]


@pytest.mark.parametrize(("prefix", "text", "expected"), [
    ("every", "ab  ab", ["▁ab", "▁", "▁ab"]),  # the pair with the lower rank is merged first
    ("every", " a", ["▁", "▁a"]),
    ("every", "b</s>b", ["▁", "b", "</s>", "▁", "b"]),
    ("first", "b</s>b", ["▁", "b", "</s>", "b"]),
    ("first", "</s>b", ["</s>", "b"]),
    ("first", " b", ["▁", "b"]),
    ("first", "b   b", ["▁", "b", "▁▁", "▁", "b"]),
    ("missing", "b</s>b</s> b", ["▁", "b", "</s>", "▁", "b", "</s>", "▁", "b"]),
    ("missing", "b   b", ["▁", "b", "▁", "▁", "▁", "b"]),
    ("none", "b b", ["b", "▁", "b"]),
    ("every", "é日\n", ["▁", "é", "<0xE6>", "<0x97>", "<0xA5>", "<0x0A>"]),
    ("none", "", []), ("every", "", []), ("every", "</s>", ["</s>"]),
])  # fmt: skip
def test_where_a_text_gets_a_space(prefix, text, expected, load):
    tok = load(sentencepiece(metaspace=WAYS[prefix]))
    assert type(tok) is SentencePieceTokenizer and tok.prefix == prefix
    assert pieces(tok, text, allowed_special="all") == expected


@pytest.mark.parametrize("prefix", WAYS)
def test_any_text_comes_back(prefix, load, tmp_path, hard_texts, randoms, small):
    tok = load(sentencepiece(metaspace=WAYS[prefix]))
    tok.save(tmp_path / "ours.json")
    tok.save_huggingface(tmp_path / "theirs.json")
    twins = [load_tokenizer(tmp_path / "ours.json"), load_tokenizer(tmp_path / "theirs.json"), copy.copy(tok)]
    assert all(twin.to_dict() == tok.to_dict() for twin in twins)
    rng = random.Random(0)
    for text in [*hard_texts, *randoms(200, length=50), *("".join(rng.choices("ab \né", k=30)) for _ in range(200))]:
        text, ids = text.strip(" "), tok.encode(text.strip(" "))
        assert tok.decode(ids) == text and all(twin.encode(text) == ids for twin in twins)
        assert joined(tok.encode_stream([text[at : at + 5] for at in range(0, len(text), 5)])) == ids
        decoder, seen = tok.stream(), ""
        for id in ids:
            seen += decoder.push(id)
            assert text.startswith(seen)
        assert seen + decoder.flush() == text


def test_each_text_of_a_stream_starts_anew(load, small):
    tok = load(sentencepiece())
    end = tok.special_tokens["</s>"]
    ids = joined(tok.encode_stream(["ab ab ab a", "b", stream.Special("</s>"), "b ab b ab b"]))
    assert ids == [*tok.encode("ab ab ab ab"), end, *tok.encode("b ab b ab b")]


def test_added_tokens_are_not_broken_and_keep_what_follows(load, small):
    file = sentencepiece()
    for content, normalized in (("a b a", False), ("\n  ", False), ("x", False), ("yb", True)):
        file["added_tokens"].append(added(len(file["model"]["vocab"]) + len(file["added_tokens"]) - 3, content,
                                          special=False, normalized=normalized))  # fmt: skip
    tok, rng = load(file), random.Random(1)
    for _ in range(500):
        text = "".join(rng.choices(["a b a", "a", " ", "\n", "x", "yb", " yb", "b"], k=rng.randrange(30)))
        assert joined(tok.encode_stream([text[at : at + 5] for at in range(0, len(text), 5)])) == tok.encode(text)
    assert pieces(tok, "b yb") == ["▁", "b", "yb"] and tok.decode(tok.encode("b yb")) == "b yb"
    assert pieces(tok, "byb") == ["▁", "b", *[f"<0x{byte:02X}>" for byte in b"y"], "b"]  # it is found after a space


def test_merges_across_spaces(load, tmp_path):
    tok = load(sentencepiece(merges=("▁ a", "a ▁", "a▁ a"), tokens=("▁", "a")))
    assert pieces(tok, "a a") == ["▁a", "▁a"] and pieces(tok, "\na a\n")[-1] == "<0x0A>"
    assert joined(tok.encode_stream(["a a\n", "a a"])) == tok.encode("a a\na a")  # cut at lines only
    tok = load(sentencepiece(merges=("a ▁", "a \n"), tokens=("▁", "a", "\n")))
    assert pieces(tok, "ba a\na") == ["▁", "<0x62>", "a▁", "a\n", "a"]
    with pytest.raises(ValueError, match="a▁"):
        joined(tok.encode_stream(["a a"]))
    with pytest.raises(RuntimeError):
        joined(SentencePieceTokenizer().encode_stream(["a"]))


def test_long_texts_without_spaces(load):
    tok = load(sentencepiece())
    text = "ab" * 40_000 + "é日" * 100
    assert tok.decode(tok.encode(text)) == text and pieces(tok, text)[:3] == ["▁ab", "ab", "ab"]


def test_tokens_as_a_person_sees_them(load):
    tok = load(sentencepiece())
    ids = {token: id for id, token in enumerate(tok._tokens)}
    assert [tok.token_text(ids[token]) for token in ("▁ab", "<0x0A>", "<0xE6>", "</s>", "▁▁")] \
        == [" ab", "\n", "\\xe6", "</s>", "  "]
    assert [token_signs(tok, ids[token]) for token in ("▁ab", "<0xE6>")] == [["·", "a", "b"], ["\\xe6"]]
    assert tok.decode([ids["<0xE6>"], ids["a"]]) == "\ufffda" and tok.decode([1, ids["▁a"]]) == "<s> a"


def test_ends_and_prompts(load):
    tok = load(sentencepiece())
    assert (tok.bos_id, tok.add_bos, tok.eos_id) == (1, True, None)
    assert prompt_ids(tok, "ab") == [1, *tok.encode("ab")] and prompt_ids(tok, "") == [1]


def without(token):
    file = sentencepiece()
    ids = file["model"]["vocab"]
    return {"vocab": {"?" if name == token else name: id for name, id in ids.items()}}


META = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}


@pytest.mark.parametrize(("change", "named"), [
    ({"model": {"byte_fallback": False}}, "byte_fallback"),
    ({"model": {"ignore_merges": True}}, "ignore_merges"),
    ({"model": {"dropout": 0.1}}, "dropout"),
    ({"model": {"type": "Unigram"}}, "Unigram"),
    ({"model": without("<0x41>")}, "<0x41>"),
    ({"model": {"merges": ["<0x41> <0x42>"]}}, "merges"),
    ({"model": {"merges": ["a b"] * 2}}, "merges"),
    ({"model": {"vocab": 5}}, "vocab"),
    ({"normalizer": {"type": "NFKC"}}, "NFKC"),
    ({"normalizer": REPLACE, "pre_tokenizer": META}, "Metaspace"),
    ({"normalizer": None, "pre_tokenizer": {"type": "Whitespace"}}, "Whitespace"),
    ({"normalizer": None, "pre_tokenizer": {**META, "replacement": "_"}}, "'_'"),
    ({"normalizer": None, "pre_tokenizer": {**META, "prepend_scheme": "last"}}, "'last'"),
    ({"normalizer": None, "pre_tokenizer": {**META, "split": 1}}, "Metaspace"),
    ({"post_processor": template({"<s>": 1}, {"</s>": 5})}, "</s>"),
])  # fmt: skip
def test_what_would_give_other_ids_is_refused(change, named, load):
    file = sentencepiece()
    change = {**change, "model": {**file["model"], **change.get("model", {})}}
    with pytest.raises(ValueError, match=named):
        load({**file, **change})


def test_metaspace_of_older_files(load):
    older = {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}
    tok = load({**sentencepiece(), "normalizer": None, "pre_tokenizer": older})
    assert (tok.prefix, tok.split) == ("missing", True)
    assert load({**sentencepiece(), "normalizer": None, "pre_tokenizer": {**older, "add_prefix_space": False}}).prefix \
        == "none"


@pytest.mark.parametrize("change", [
    {"prefix": "last"}, {"prefix": 5}, {"split": 1}, {"lowercase": True}, {"vocab": ["a"]},
    {"merges": [["a", BYTES[0]]]}, {"added_tokens": [5]},
])  # fmt: skip
def test_fields_that_do_not_fit_are_refused(change, load):
    fields = load(sentencepiece()).to_dict()
    with pytest.raises(ValueError):
        SentencePieceTokenizer.from_dict({**fields, **change})
