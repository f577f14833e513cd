"""From text to data folder with each tokenizer: what is split, learned, encoded, said and refused."""

import random

import numpy as np
import pytest

from numpygpt.utils.data import TokenDataset, load_corpus, prepare, summary
from numpygpt.utils.data.corpora import Corpus
from numpygpt.utils.data.prepare import clean_alnum

WORDS = "the king and his fool went over hills to find a crown that nobody had lost".split()


def corpus(text=None, name="tale"):
    if text is None:
        rng = random.Random(0)
        text = "\n".join(" ".join(rng.choices(WORDS, k=8)) + "." for _ in range(400))
    return Corpus.of(name, text, f"{name}.txt")


def make(tmp_path, text=None, **settings):
    said = []
    settings = {"context": 16, **settings}
    return prepare(corpus(text), tmp_path / "out", say=said.append, **settings), said


SETTINGS = [
    {"tokenizer": "char"},
    {"tokenizer": "word"},
    {"tokenizer": "bpe", "vocab_size": 280},
    {"tokenizer": "char", "lowercase": True, "clean": "alnum", "val_fraction": 0.3},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_parts_are_the_text(tmp_path, settings):
    dataset, _ = make(tmp_path, **settings)
    text = corpus().text
    if settings.get("clean"):
        text = text.replace(".\n", "\n").rstrip(".")
    fraction = settings.get("val_fraction", 0.1)
    cut = int(len(text) * (1 - fraction))
    assert dataset.meta["split"] == {"by": "position", "val_fraction": fraction, "at_character": cut}
    decoded = dataset.tokenizer.decode(dataset.train), dataset.tokenizer.decode(dataset.val)
    if settings["tokenizer"] != "word":  # words may put white space back in another way
        assert decoded == (text[:cut], text[cut:])
    for part, piece in (("train", text[:cut]), ("val", text[cut:])):
        tokens = getattr(dataset, part)
        assert np.array_equal(tokens, dataset.tokenizer.encode_array(piece))
        assert dataset.meta[part] == {"tokens": len(tokens), "characters": len(piece), "bytes": len(piece.encode())}
    assert dataset.meta["tokenizer"]["kind"] == dataset.tokenizer.kind == settings["tokenizer"]
    assert dataset.meta["sha256"] == corpus().sha256


@pytest.mark.parametrize("settings", SETTINGS)
def test_twice_gives_the_same_bytes(tmp_path, settings):
    folders = [make(tmp_path / name, **settings)[0].folder for name in "ab"]
    for name in ("train.bin", "val.bin", "tokenizer.json", "meta.json"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


def test_the_vocabulary_is_learned_on_the_training_part_only(tmp_path):
    text = "abc " * 500 + "xyz! " * 10
    dataset, said = make(tmp_path, text, val_fraction=0.05)
    assert "x" not in "".join(map(dataset.tokenizer.token_text, range(4)))
    assert dataset.tokenizer.special_tokens == {"<unk>": 4} and dataset.vocab_size == 5
    (note,) = said
    assert note.startswith("note: <unk> stands for what only the validation part has: 4 of its characters ('!' 'x' 'y'")
    assert note.endswith(", 40 times in all")
    assert int((dataset.val == 4).sum()) == 40 and not (dataset.train == 4).any()


def test_no_unknown_token_without_need(tmp_path):
    dataset, said = make(tmp_path)
    assert dataset.tokenizer.special_tokens == {} and said == []


def test_unknown_words_are_counted(tmp_path):
    dataset, said = make(tmp_path, corpus().text + "\nJabberwock galumphing", tokenizer="word")
    unknown = dataset.tokenizer.special_tokens["<unk>"]
    count = int((dataset.val == unknown).sum())
    assert count >= 2
    assert any(line.startswith(f"note: {count} validation tokens (") for line in said)


def test_crlf_and_every_script_survive(tmp_path):
    text = "Ärger\r\n日本語 \U0001f600 e\u0301\r\n" * 80
    dataset, _ = make(tmp_path, text)
    assert dataset.tokenizer.decode(dataset.train) + dataset.tokenizer.decode(dataset.val) == text
    assert dataset.val_bytes > dataset.meta["val"]["characters"]


def test_progress_is_told_of_the_long_parts(tmp_path):
    reports = []
    make(tmp_path, tokenizer="bpe", vocab_size=280, progress=lambda *report: reports.append(report))
    assert {what for what, _, _ in reports} == {"learning merges", "encoding"}
    assert reports[-1] == ("encoding", 2, 2)


def test_a_vocabulary_that_dwarfs_the_text_is_warned_of(tmp_path):
    text = " ".join(f"word{i}" for i in range(9000))
    dataset, said = make(tmp_path, text, tokenizer="word")
    warning = next(line for line in said if line.startswith("warning: "))
    tokens = len(dataset.train)
    assert f"{dataset.vocab_size:,} vocabulary entries for {tokens:,} training tokens" in warning
    assert f"--vocab-size {tokens // 2000 * 100} or --tokenizer char or a longer text" in warning


def test_fewer_merges_than_asked_for_are_told(tmp_path):
    dataset, said = make(tmp_path, tokenizer="bpe", vocab_size=5000)
    assert dataset.vocab_size < 5000
    assert f"note: no pair was left that occurs often enough: {dataset.vocab_size:,} entries, not 5,000" in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "0 characters give 0 training and 0 validation characters, and a context of 16 needs 17 tokens in each"),
        ("a", "1 characters give 0 training and 1 validation characters"),
        ("ab" * 84, "168 characters give 151 training and 17 validation tokens"),
        ("ab" * 80, "160 characters give 144 training and 16 validation tokens, and a context of 16 needs 17"),
    ],
)
def test_a_text_too_short_is_refused_with_the_numbers(tmp_path, text, message):
    if "17 validation" in message:
        dataset, _ = make(tmp_path, text)
        assert (len(dataset.train), len(dataset.val)) == (151, 17)  # just long enough
        return
    with pytest.raises(ValueError, match=message):
        make(tmp_path, text)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tokenizer": "chars"}, "no tokenizer is called 'chars'"),
        ({"clean": "html"}, "no cleaning is called 'html'"),
        ({"val_fraction": 0}, "between 0 and 1, and 0 does not"),
        ({"val_fraction": 1.5}, "between 0 and 1, and 1.5 does not"),
        ({"context": 0}, "the context is at least 1, not 0"),
        ({"tokenizer": "bpe", "vocab_size": 0}, "the vocabulary size is at least 1, not 0"),
        ({"tokenizer": "word", "min_freq": 0}, "the min-freq is at least 1, not 0"),
        ({"vocab_size": 100}, "takes no vocabulary size"),
        ({"min_freq": 2}, "takes no vocabulary size and no min-freq"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        make(tmp_path, **settings)
    assert not (tmp_path / "out").exists()


def test_another_tokenizer_needs_force(tmp_path):
    first, _ = make(tmp_path)
    make(tmp_path)
    with pytest.raises(ValueError, match="--force"):
        make(tmp_path, tokenizer="word")
    assert TokenDataset.load(first.folder).tokenizer.kind == "char"
    assert make(tmp_path, tokenizer="word", force=True)[0].tokenizer.kind == "word"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("don't", "dont"),
        ("don\N{RIGHT SINGLE QUOTATION MARK}t", "dont"),
        ("king.--And  so", "king And so"),
        ("one.\r\n\r\n  Two, three\t4!", "one\nTwo three 4"),
        ("a_b #c", "a b c"),
        ("été हिन्दी e\u0301", "été हिन्दी e\u0301"),
        ("...", ""),
    ],
)
def test_clean_alnum(text, clean):
    assert clean_alnum(text) == clean
    assert clean_alnum(clean) == clean


def test_the_summary_has_the_numbers(tmp_path):
    dataset, _ = make(tmp_path, "aé" * 500)
    lines = summary(dataset).splitlines()
    assert lines[0] == "corpus      tale: tale.txt"
    assert "1,000 characters, 1,500 bytes" in lines[1]
    assert "2 entries (char" in lines[2]
    assert "900 tokens" in lines[3] and "100 tokens, the last 10 %" in lines[4]
    assert "1.00 characters, 1.50 bytes" in lines[5]
    dataset, _ = make(tmp_path / "b", "Aé. " * 500, lowercase=True, clean="alnum")
    assert "after lowercase and clean" in summary(dataset)


def test_a_named_corpus_goes_all_the_way(tmp_path):
    dataset = prepare(load_corpus("pydoc"), tmp_path / "out")
    assert dataset.meta["corpus"] == "pydoc" and len(dataset.train) > 100_000
