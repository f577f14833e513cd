"""Saving and loading: the same tokenizer comes back, the same bytes go out, and a bad file is refused by name."""

import copy
import json
import os

import pytest

from numpygpt.tokenizer import BPETokenizer, CharTokenizer, Tokenizer, WordTokenizer, load_tokenizer, storage


def test_a_tokenizer_comes_back(tok, tmp_path, hard_texts):
    path = tmp_path / "tokenizer.json"
    tok.save(path)
    for loaded in (load_tokenizer(path), type(tok).load(str(path)), Tokenizer.load(path)):
        assert type(loaded) is type(tok)
        assert loaded.to_dict() == tok.to_dict()
        assert (loaded.vocab_size, loaded.special_tokens) == (tok.vocab_size, tok.special_tokens)
        for text in hard_texts:
            assert loaded.encode(text) == tok.encode(text)
            assert loaded.decode(tok.encode(text)) == text


def test_files_are_stable_to_the_byte(tok, tmp_path):
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    (tmp_path / ".first.json.tmp").write_text("half")  # of a save that was killed
    tok.save(first)
    load_tokenizer(first).save(second)
    assert first.read_bytes() == second.read_bytes()
    assert b"\r" not in first.read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["first.json", "second.json"]  # no temporary file is left


def test_the_dict_is_json_and_a_copy(tok):
    fields = tok.to_dict()
    assert (fields["format"], fields["version"], fields["kind"]) == ("numpygpt-tokenizer", 2, tok.kind)
    again = Tokenizer.from_dict(json.loads(json.dumps(fields)))
    assert again.to_dict() == fields
    fields["special_tokens"].clear()
    fields[type(tok).fields[-1]].clear()
    assert tok.to_dict() == again.to_dict()


def test_lowercase_is_kept(tmp_path):
    WordTokenizer(lowercase=True).train("a b").save(tmp_path / "t.json")
    assert WordTokenizer.load(tmp_path / "t.json").decode(load_tokenizer(tmp_path / "t.json").encode("A B")) == "a b"


def test_a_failed_save_leaves_the_old_file(tok, tmp_path, monkeypatch):
    path = tmp_path / "tokenizer.json"
    path.write_text("old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(storage.os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        tok.save(path)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["tokenizer.json"]


def test_missing_files_and_folders(tok, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"t\.json"):
        tok.save(tmp_path / "nowhere" / "t.json")
    with pytest.raises(FileNotFoundError):
        load_tokenizer(tmp_path / "nothing.json")


def test_every_truncation_is_refused(tok, tmp_path):
    path = tmp_path / "tokenizer.json"
    tok.save(path)
    whole = path.read_bytes().rstrip()
    for length in [*range(0, len(whole), max(1, len(whole) // 40)), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"tokenizer\.json"):
            load_tokenizer(path)


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"not json", b'{"a": 1, "a": 2}', b"[" * 200_000, b"1" * 10_000, b"\xef\xbb\xbf{}"]
)
def test_what_is_no_json_is_refused(content, tmp_path):
    (tmp_path / "t.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"t\.json"):
        load_tokenizer(tmp_path / "t.json")


def test_the_path_is_in_the_message(tmp_path):
    (tmp_path / "t.json").write_text('{"format": "other"}')
    with pytest.raises(ValueError, match=r"t\.json.*'other'"):
        load_tokenizer(tmp_path / "t.json")


def test_a_class_refuses_another_kind():
    fields = CharTokenizer().train("abc").to_dict()
    with pytest.raises(ValueError, match="BPETokenizer.*'bpe'.*CharTokenizer"):
        BPETokenizer.from_dict(fields)


def test_a_subclass_reads_the_kind_of_its_parent():
    class Mine(BPETokenizer):
        pass

    assert type(Mine.from_dict(BPETokenizer().train("abab").to_dict())) is Mine


HEADER_CHANGES = [
    ({"format": None}, "not a NumpyGPT tokenizer: its format is None"),
    ({"version": 1}, "version 1 .*expected 2"),
    ({"version": "1"}, "version '1' is not supported"),
    ({"version": True}, "version True is not supported"),
    ({"kind": "sentence"}, "kind.*got 'sentence'"),
    ({"kind": ["char"]}, "kind"),
    ({"extra": 1}, "version 2.*extra"),
    ({"special_tokens": ["<|pad|>"]}, "special_tokens"),
    ({"special_tokens": {"<|pad|>": True}}, "special_tokens"),
    ({"special_tokens": {"<|pad|>": 10**6}}, "special_tokens"),
]


@pytest.mark.parametrize(("change", "message"), HEADER_CHANGES)
def test_a_wrong_header_is_refused(tok, change, message):
    with pytest.raises(ValueError, match=message):
        Tokenizer.from_dict({**tok.to_dict(), **change})


def test_special_ids_must_be_dense_and_names_writable(tok):
    first = tok.vocab_size - 2
    for special, message in [
        ({"<a>": first, "<b>": first + 2}, "special_tokens"),
        ({"<a>": first, "<b>": first}, "special_tokens"),
        ({"": first}, "non-empty str"),
        ({"\ud800": first}, "lone surrogate"),
        ({" ": first}, "' ' occurs 2 times"),
    ]:
        with pytest.raises(ValueError, match=message):
            Tokenizer.from_dict({**tok.to_dict(), "special_tokens": special})


def test_the_order_of_special_tokens_in_the_file_does_not_matter(tok):
    fields = tok.to_dict()
    fields["special_tokens"] = dict(reversed(fields["special_tokens"].items()))
    assert Tokenizer.from_dict(fields).to_dict() == tok.to_dict()


def test_a_missing_field_is_named(tok):
    for key in tok.to_dict():
        fields = tok.to_dict()
        del fields[key]
        with pytest.raises(ValueError, match=key):
            Tokenizer.from_dict(fields)
    with pytest.raises(ValueError, match="9"):
        Tokenizer.from_dict([0] * 9)  # type: ignore[arg-type]


MARKERS = WordTokenizer().train("a").to_dict()["vocab"][:-1]


@pytest.mark.parametrize(
    ("kind", "field", "value", "message"),
    [
        ("char", "vocab", "abc", "vocab.*got 'abc'"),
        ("char", "vocab", [], "vocab"),
        ("char", "vocab", {"a": 0}, "vocab"),
        ("char", "vocab", ["a", 1], r"vocab\[1\].*got 1"),
        ("char", "vocab", ["a", "bc"], r"vocab\[1\].*got 'bc'"),
        ("char", "vocab", ["a", ""], r"vocab\[1\].*got ''"),
        ("char", "vocab", ["a", "\ud800"], r"lone surrogate U\+D800"),
        ("char", "vocab", ["a", "b", "a"], "the token 'a' occurs 2 times"),
        ("word", "vocab", ["a", "b"], "a list that starts with the 3 white-space tokens"),
        ("word", "vocab", [*MARKERS, "a", "a"], "the token 'a' occurs 2 times"),
        ("word", "vocab", [*MARKERS, ""], "the token '' occurs 2 times"),
        ("word", "vocab", [*MARKERS, None], r"vocab\[3\]"),
        ("word", "lowercase", 1, "lowercase.*got 1"),
        ("bpe", "merges", None, "merges.*got None"),
        ("bpe", "merges", [["a", "b", "c"]], r"merges\[0\]"),
        ("bpe", "merges", ["ab"], r"merges\[0\]"),
        ("bpe", "merges", [[97, 98]], r"merges\[0\].*got \[97, 98\]"),
        ("bpe", "merges", [[" ", "a"], ["a", "cd"]], r"merges\[1\]"),
        ("bpe", "merges", [["a", "b"]], r"merges\[0\]"),
        ("bpe", "merges", [["a", ""]], r"merges\[0\]"),
        ("bpe", "merges", [[" ", "a"], [" ", "a"]], r"merges\[1\]"),
        ("bpe", "vocab", ["a", "a", "b", " ", " a"], "the token 'a' occurs 2 times"),
        ("bpe", "vocab", ["a", "b", " ", " a", "\u0100"], r"below U\+0100, one for each byte, got '\u0100'"),
    ],
)
def test_a_wrong_vocabulary_is_refused(kind, field, value, message, make):
    fields = copy.deepcopy(make(kind, "a b a a").to_dict())  # bpe: one merge, " a"
    fields[field] = value
    with pytest.raises(ValueError, match=message):
        Tokenizer.from_dict(fields)


def test_the_file_is_for_people(tmp_path):
    BPETokenizer().train("low low lower", special_tokens=("<|pad|>",)).save(tmp_path / "bpe.json")
    text = (tmp_path / "bpe.json").read_text(encoding="utf-8")
    assert text.startswith(
        '{\n  "format": "numpygpt-tokenizer",\n  "version": 2,\n  "kind": "bpe",\n  "lowercase": false,\n'
        '  "special_tokens": {"<|pad|>": 259},\n  "vocab": [\n    "\\u0000",\n'
    )
    assert text.endswith(
        '    "ÿ",\n    "lo",\n    "low",\n    " low"\n  ],\n'
        '  "merges": [\n    ["l", "o"],\n    ["lo", "w"],\n    [" ", "low"]\n  ]\n}\n'
    )
    CharTokenizer().train("é\n").save(tmp_path / "char.json")
    assert '    "\\n",\n    "é"\n' in (tmp_path / "char.json").read_text(encoding="utf-8")


def test_a_file_of_many_special_tokens_takes_its_time_once():
    """They stand among the ordinary ones, which must not be moved along for each: this would take minutes."""
    n = 200_000
    fields = {**CharTokenizer().train("ab").to_dict(), "special_tokens": {f"<{i}>": i for i in range(n)}}
    tok = Tokenizer.from_dict(fields)
    assert tok.vocab_size == n + 2 and tok.encode("ab") == [n, n + 1] and tok.token_text(7) == "<7>"


def test_no_value_makes_the_sentence_long(tok):
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    for odd in (10**5000, [[[[[]]]]], "a\nb", "x" * 10**6, deep):
        with pytest.raises(ValueError) as caught:
            Tokenizer.from_dict({**tok.to_dict(), "kind": odd})
        assert len(str(caught.value)) < 250 and "\n" not in str(caught.value)


def test_a_file_beyond_all_tokenizers_is_not_read(tok, tmp_path, monkeypatch):
    tok.save(tmp_path / "t.json")
    size = (tmp_path / "t.json").stat().st_size
    monkeypatch.setattr(storage, "MAX_FILE_BYTES", size)
    assert load_tokenizer(tmp_path / "t.json").to_dict() == tok.to_dict()
    monkeypatch.setattr(storage, "MAX_FILE_BYTES", size - 1)
    with pytest.raises(ValueError, match=r"t\.json"):
        load_tokenizer(tmp_path / "t.json")


@pytest.mark.skipif(os.name != "posix", reason="devices have other names there")
def test_what_is_no_file_is_not_read(tmp_path):
    for path in (tmp_path, os.devnull):
        with pytest.raises(ValueError):
            load_tokenizer(path)
