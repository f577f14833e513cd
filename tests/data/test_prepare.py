"""From text to data folder with each tokenizer: what is split, learned, encoded, said and refused."""

import hashlib
import json
import random
import re
import sys
import zlib
from dataclasses import replace

import numpy as np
import pytest

from numpygpt.data import TokenDataset, documents, load_corpus, prepare, read_corpus, statistics
from numpygpt.data.corpora import Corpus
from numpygpt.data.documents import Document
from numpygpt.data.streams import END, clean_alnum
from numpygpt.tokenizer import BPETokenizer, CharTokenizer, WordTokenizer
from numpygpt.tokenizer.formats import byte_alphabet

WORDS = "the king and his fool went over hills to find a crown that nobody had lost".split()


def tale():
    rng = random.Random(0)
    return "\n".join(" ".join(rng.choices(WORDS, k=8)) + "." for _ in range(400))


def make(tmp_path, text=None, **settings):
    """The data folder of one text, or of a list of them; and what was said."""
    text = tale() if text is None else text
    corpus = Corpus.of("tale", "" if isinstance(text, list) else text, "tale.txt")
    if isinstance(text, list):
        corpus = replace(corpus, documents=tuple(Document(str(i), part.encode()) for i, part in enumerate(text)))
    said = []
    settings = {"context": 16, **settings}
    return prepare(corpus, tmp_path / "out", say=said.append, **settings), said


SETTINGS = [
    {"tokenizer": "char"},
    {"tokenizer": "word"},
    {"tokenizer": "bpe", "vocab_size": 280},
    {"tokenizer": "char", "lowercase": True, "clean": "alnum", "val_fraction": 0.3},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_parts_are_the_text(tmp_path, settings):
    dataset, _ = make(tmp_path, **settings)
    text, fraction = tale(), settings.get("val_fraction", 0.1)
    cut = int(len(text) * (1 - fraction))
    assert dataset.meta["split"] == {"by": "position", "val_fraction": fraction, "at_byte": cut}
    parts = {"train": text[:cut], "val": text[cut:]}
    if settings.get("clean"):
        parts = {part: clean_alnum(piece) for part, piece in parts.items()}
    for part, piece in parts.items():
        tokens = getattr(dataset, part)
        if settings["tokenizer"] != "word":  # words may put white space back in another way
            assert dataset.tokenizer.decode(tokens) == piece
        assert np.array_equal(tokens, dataset.tokenizer.encode_array(piece))
        counts = {"documents": 1, "characters": len(piece), "bytes": len(piece.encode())}
        crc32 = zlib.crc32((dataset.folder / f"{part}.bin").read_bytes())
        assert dataset.meta[part] == {"tokens": len(tokens), **counts, "crc32": crc32}
    assert dataset.meta["tokenizer"]["kind"] == dataset.tokenizer.kind == settings["tokenizer"]
    assert dataset.tokenizer.lowercase == dataset.meta["settings"]["lowercase"]
    assert dataset.meta["sha256"] == hashlib.sha256(text.encode()).hexdigest() and dataset.meta["documents"] == 1


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
    assert " 4 " in note and "('!' 'x' 'y' 'z')" in note and " 40 " in note and "<unk>" in note
    assert int((dataset.val == 4).sum()) == 40 and not (dataset.train == 4).any()


def test_a_single_unknown_character_is_singular_and_a_short_text_has_no_note(tmp_path):
    text = "abc " * 500
    _, (note,) = make(tmp_path / "long", text + "x")
    assert "1 character " in note and "1 time " in note
    said = []
    with pytest.raises(ValueError, match="context of 1000"):
        prepare(Corpus.of("tale", text + "x", "tale.txt"), tmp_path / "short", context=1000, say=said.append)
    assert said == []


def test_no_unknown_token_without_need(tmp_path):
    dataset, said = make(tmp_path)
    assert dataset.tokenizer.special_tokens == {} and said == []


def test_unknown_words_are_counted(tmp_path):
    dataset, said = make(tmp_path, tale() + "\nJabberwock galumphing", tokenizer="word")
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
    assert {what for what, _, _ in reports} == {
        "reading", "counting", "learning merges", "encoding train", "encoding val"}  # fmt: skip
    assert reports[-1] == ("encoding val", len(tale()), len(tale()))


def test_a_vocabulary_that_dwarfs_the_text_is_warned_of(tmp_path):
    text = " ".join(f"word{i}" for i in range(9000))
    settings = []

    def again(changes):
        settings.append(changes)
        return "the command"

    dataset, said = make(tmp_path, text, tokenizer="word", advise=again)
    warning = next(line for line in said if line.startswith("warning: "))
    tokens = len(dataset.train)
    assert f"{dataset.vocab_size:,} vocabulary entries for {tokens:,} training tokens" in warning
    assert settings == [{"vocab_size": tokens // 2000 * 100}] and warning.endswith("the command")


def test_fewer_merges_than_asked_for_are_told(tmp_path):
    dataset, said = make(tmp_path, tokenizer="bpe", vocab_size=5000)
    assert dataset.vocab_size < 5000
    assert any(f" {dataset.vocab_size:,} " in line and "5,000" in line for line in said)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no text in tale.txt"),
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
        ({"tokenizer": "chars"}, "'chars'"),
        ({"clean": "html"}, "clean.*'html'"),
        ({"val_fraction": 0}, "val_fraction.*got 0$"),
        ({"val_fraction": 1.5}, "val_fraction.*1.5"),
        ({"split": "documents"}, "split.*'documents'; did you mean document"),
        ({"workers": 0}, "workers.*at least 1, got 0"),
        ({"tokenizer": "nowhere/tokenizer.json"}, "'nowhere/tokenizer.json'.*tokenizer.json"),
        ({"tokenizer": "cahr"}, "'cahr'; did you mean char"),
        ({"tokenizer": "gpt2"}, "tokenizer_files.*vocab.bpe and encoder.json.*https://"),
        ({"tokenizer_files": "x"}, "tokenizer_files.*gpt2.*char"),
        ({"split": "document"}, "several documents"),
        ({"context": 0}, "context.*at least 1, got 0"),
        ({"tokenizer": "bpe", "vocab_size": 0}, "vocab_size.*at least 1, got 0"),
        ({"tokenizer": "word", "min_freq": 0}, "min_freq.*at least 1, got 0"),
        ({"vocab_size": 100}, "char.*vocab_size"),
        ({"min_freq": 2}, "char.*min_freq"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        make(tmp_path, **settings)
    assert not (tmp_path / "out").exists()


def test_another_tokenizer_needs_force(tmp_path):
    first, _ = make(tmp_path)
    make(tmp_path)
    with pytest.raises(ValueError):
        make(tmp_path, tokenizer="word")
    assert TokenDataset.load(first.folder).tokenizer.kind == "char"
    assert make(tmp_path, tokenizer="word", force=True)[0].tokenizer.kind == "word"


def test_the_summary_has_the_numbers(tmp_path):
    dataset, _ = make(tmp_path, "aé" * 500)
    lines = statistics(dataset).splitlines()
    assert lines[0] == "corpus      tale: tale.txt"
    assert "1,000 characters, 1,500 bytes" in lines[1]
    assert "2 entries (char" in lines[2]
    assert "900 tokens" in lines[3] and "100 tokens, the last 10 %" in lines[4]
    assert "1.00 characters, 1.50 bytes" in lines[5]
    dataset, _ = make(tmp_path / "b", "Aé. " * 500, lowercase=True, clean="alnum")
    assert "bytes after clean\n" in statistics(dataset) and "(char, lower case, " in statistics(dataset)


def test_a_named_corpus_goes_all_the_way(tmp_path):
    dataset = prepare(load_corpus("pydoc"), tmp_path / "out")
    assert dataset.meta["corpus"] == "pydoc" and len(dataset.train) > 100_000


# -- corpora of several documents, against the same thing done in memory

ALPHABET = ["a", "b", "ß", "é", "e\u0301", "日", "\U0001f600", "Σ", " ", " ", "\n", "\r\n", ".", "'", "\ufeff"]


def expected_parts(texts, split, fraction):
    """{part: [(text, whether the document ends there)]}, by the definition."""
    if split == "document":
        parts = {"train": [], "val": []}
        texts = [text for text in texts if text]
        for i, text in enumerate(texts):
            percent = round(100 * fraction)
            parts["val" if (i + 1) * percent // 100 > i * percent // 100 else "train"].append((text, True))
        return parts
    data = [text.encode() for text in texts]
    cut = int(sum(map(len, data)) * (1 - fraction))
    parts = {"train": [], "val": []}
    start = 0
    for text, raw in zip(texts, data, strict=True):
        place = next(i for i in range(len(text) + 1) if start + len(text[:i].encode()) >= cut or i == len(text))
        head, tail = text[:place], text[place:]
        if head:
            parts["train"].append((head, not tail))
        if tail:
            parts["val"].append((tail, True))
        start += len(raw)
    return parts


@pytest.mark.parametrize("clean", [None, "alnum"])
@pytest.mark.parametrize("split", ["position", "document"])
@pytest.mark.parametrize("tokenizer", ["char", "word", "bpe"])
def test_any_corpus_becomes_what_it_would_in_memory(tmp_path, monkeypatch, tokenizer, split, clean):
    rng = random.Random(f"{tokenizer} {split}")
    for trial in range(6):
        monkeypatch.setattr(documents, "BLOCK", rng.choice([1, 2, 3, 5, 17, 1 << 20]))
        texts = ["".join(rng.choices(ALPHABET, k=rng.randrange(1, 200))).lstrip("\ufeff") for _ in range(12)]
        texts = ["x" + text if split == "document" or clean else text for text in texts]
        fraction = rng.choice([0.25, 0.3, 0.5])
        settings = {"vocab_size": 270} if tokenizer == "bpe" else {}
        settings |= {"lowercase": rng.random() < 0.5, "tokenizer": tokenizer, "clean": clean, "split": split}
        dataset, _ = make(tmp_path / str(trial), texts, val_fraction=fraction, context=4, **settings)
        coder, parts = dataset.tokenizer, expected_parts(texts, split, fraction)
        end = coder.special_tokens[END.name]
        assert dataset.meta["documents"] == sum(map(bool, texts))
        for part, pieces in parts.items():
            pieces = [(clean_alnum(text) if clean else text, whole) for text, whole in pieces]
            ids = [np.append(coder.encode_array(text), [end] * whole) for text, whole in pieces]
            assert np.array_equal(getattr(dataset, part), np.concatenate(ids)), part
            counts = dataset.meta[part]
            assert counts["characters"] == sum(len(text) for text, _ in pieces)
            assert counts["bytes"] == sum(len(text.encode()) for text, _ in pieces)
            assert counts["documents"] == len(pieces)
        alone = {"char": CharTokenizer, "word": WordTokenizer, "bpe": BPETokenizer}[tokenizer](settings["lowercase"])
        options = {"vocab_size": 270, "min_freq": 2} if tokenizer == "bpe" else {}
        learned = [piece for text, _ in parts["train"] for piece in ((clean_alnum(text) if clean else text), END)]
        alone.train(learned, special_tokens=coder.special_tokens, **options)
        assert alone.to_dict() == coder.to_dict()


def test_the_hash_tells_documents_apart(tmp_path):
    x, y = "x" * 200, "y" * 200
    corpora = [[x, y], [x + y], [x, "", y]]
    a, b, c = (make(tmp_path / str(i), texts)[0].meta["sha256"] for i, texts in enumerate(corpora))
    assert a == c != b
    assert a == hashlib.sha256(b"x" * 200 + b"\xff" + b"y" * 200).hexdigest()


@pytest.mark.parametrize(
    ("fraction", "chosen"),
    [(0.1, [9, 19, 29]), (0.3, [3, 6, 9, 13, 16, 19, 23, 26, 29]), (0.5, range(1, 30, 2))],
)
def test_documents_are_chosen_evenly(tmp_path, fraction, chosen):
    texts = ["document " + "x" * i for i in range(30)]
    dataset, _ = make(tmp_path, texts, split="document", val_fraction=fraction)
    found = dataset.tokenizer.decode(dataset.val).split(END.name)[:-1]
    assert found == [texts[i] for i in chosen]
    every = 10 if fraction == 0.1 else 2 if fraction == 0.5 else pytest.approx(10 / 3)
    assert dataset.meta["split"] == {"by": "document", "val_fraction": fraction, "every": every}
    assert f"{len(chosen)} of 30 documents" in statistics(dataset) and "30 documents, " in statistics(dataset)


def test_no_document_for_validation(tmp_path):
    with pytest.raises(ValueError, match=r"9.*0\.1"):
        make(tmp_path, ["a document"] * 9, split="document")


def test_a_separator_that_never_comes_is_told(tmp_path):
    (tmp_path / "x.txt").write_text("abc " * 200)
    said = []
    prepare(read_corpus([tmp_path / "x.txt"], separator="###"), tmp_path / "out", context=16, say=said.append)
    assert ["'###'" in line for line in said] == [True]


def test_nothing_of_the_validation_part_is_in_a_vocabulary(tmp_path):
    texts = ["the king and the fool " * 40, "Quartz zephyrs jinxed zephyrs " * 40] * 5
    for tokenizer, size, some in (("char", None, "k"), ("word", None, "king"), ("bpe", 300, " king")):
        settings = {"split": "document", "val_fraction": 0.5, "vocab_size": size}
        dataset, _ = make(tmp_path / tokenizer, texts, tokenizer=tokenizer, **settings)
        first = 256 if tokenizer == "bpe" else 0  # where what was learned begins
        tokens = [dataset.tokenizer.token_text(id) for id in range(first, dataset.vocab_size)]
        assert some in tokens and not any(letter in token for token in tokens for letter in "Qz")


def test_several_processes_give_the_same_folder(tmp_path):
    folders = [make(tmp_path / str(workers), tokenizer="word", workers=workers)[0].folder for workers in (1, 2)]
    for name in ("train.bin", "val.bin", "tokenizer.json", "meta.json"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


# -- tokenizers that are given


def test_a_tokenizer_from_a_file_is_used_as_it_is(tmp_path):
    BPETokenizer().train(tale(), 300, special_tokens=(END.name,)).save(tmp_path / "mine.json")
    dataset, said = make(tmp_path, [f"another text {i} " * 80 for i in range(3)], tokenizer=tmp_path / "mine.json")
    (warning,) = said
    for number in ("300", f"{len(dataset.train):,}", f"{len(dataset.train) / 300:.1f}", "20"):
        assert re.search(rf"\b{number}\b", warning)
    assert (dataset.folder / "tokenizer.json").read_bytes() == (tmp_path / "mine.json").read_bytes()
    assert dataset.meta["tokenizer"]["from"].endswith("/mine.json") and "/mine.json)" in statistics(dataset)
    for flag in ({"vocab_size": 300}, {"min_freq": 1}, {"lowercase": True}):
        (name,) = flag
        with pytest.raises(ValueError, match=f"{name}.*/mine"):
            make(tmp_path, tokenizer=tmp_path / "mine.json", **flag)
    BPETokenizer().train("other " * 80, 300, special_tokens=(END.name,)).save(tmp_path / "mine.json")
    with pytest.raises(ValueError):
        make(tmp_path, tokenizer=tmp_path / "mine.json")


def test_a_given_tokenizer_must_be_able_to_end_documents(tmp_path):
    BPETokenizer().train(tale(), 300).save(tmp_path / "mine.json")
    make(tmp_path, tokenizer=tmp_path / "mine.json")
    with pytest.raises(ValueError, match="3"):
        make(tmp_path, ["a text " * 80] * 3, tokenizer=tmp_path / "mine.json", force=True)


def test_a_given_vocabulary_may_lack_words(tmp_path):
    WordTokenizer().train(tale(), special_tokens=("<unk>",)).save(tmp_path / "mine.json")
    dataset, said = make(tmp_path, "the king saw a dragon " * 80, tokenizer=tmp_path / "mine.json")
    unknown = int((dataset.val == dataset.tokenizer.special_tokens["<unk>"]).sum())
    assert said[0].startswith(f"note: {unknown} validation tokens ({unknown / len(dataset.val):.1%}) and ")


def gpt2_files(folder):
    """A tokenizer in the form in which GPT-2's was published: the bytes, one merge, the end of a text."""
    folder.mkdir()
    alphabet = [chr(code) for code in byte_alphabet().values()]
    ids = {token: i for i, token in enumerate([*alphabet, "th", "<|endoftext|>"])}
    (folder / "encoder.json").write_text(json.dumps(ids))
    (folder / "vocab.bpe").write_text("#version: 0.2\nt h\n")
    return folder


def test_gpt2(tmp_path):
    files = gpt2_files(tmp_path / "files")
    dataset, _ = make(tmp_path, tokenizer="gpt2", tokenizer_files=files)
    assert dataset.vocab_size == 258 and dataset.meta["tokenizer"]["from"] == "gpt2"
    assert dataset.tokenizer.decode(dataset.train) + dataset.tokenizer.decode(dataset.val) == tale()
    for name, other in (("vocab.bpe", "merges.txt"), ("encoder.json", "vocab.json")):  # Hugging Face's names
        (files / name).rename(files / other)
        again, _ = make(tmp_path, tokenizer="gpt2", tokenizer_files=files)
        assert again.meta["tokenizer"] == dataset.meta["tokenizer"]
    (files / "merges.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"merges\.txt"):
        make(tmp_path, tokenizer="gpt2", tokenizer_files=files)


# -- what goes wrong on the way


def test_a_text_that_changes_while_it_is_read_is_refused(tmp_path, monkeypatch):
    (tmp_path / "x.txt").write_text("abc " * 200)
    module = sys.modules["numpygpt.data.prepare"]
    train = module.train

    def meanwhile(*arguments):
        (tmp_path / "x.txt").write_text("abd " * 200 + "abc")
        return train(*arguments)

    monkeypatch.setattr(module, "train", meanwhile)
    with pytest.raises(RuntimeError):
        prepare(read_corpus([tmp_path / "x.txt"]), tmp_path / "out", "bpe", context=16)
    assert [path.name for path in tmp_path.iterdir()] == ["x.txt"]


def test_other_data_is_refused_before_the_text_is_read(tmp_path):
    make(tmp_path)
    unreadable = replace(Corpus.of("tale", "", "tale.txt"), documents=(Document("gone", tmp_path / "gone.txt"),))
    with pytest.raises(ValueError):
        prepare(unreadable, tmp_path / "out", "word", context=16)
    with pytest.raises(FileNotFoundError):
        prepare(unreadable, tmp_path / "out", context=16)


def test_no_more_than_a_few_blocks_are_held(tmp_path, monkeypatch):
    """A long text of which only what is in use exists: each block is made when it is asked for, and counted."""
    monkeypatch.setattr(documents, "BLOCK", 1 << 14)
    alive = most = 0

    class Block(bytes):
        def __new__(cls, data):
            nonlocal alive, most
            alive += 1
            most = max(most, alive)
            return super().__new__(cls, data)

        def __del__(self):
            nonlocal alive
            alive -= 1

    class Endless:
        """5 MB of text that nobody has."""

        def seek(self, place, whence=0):
            self.at = 0
            return 5 << 20

        def read(self, size):
            size = min(size, (5 << 20) - self.at)
            self.at += size
            return Block((b"some text.\n" * (size // 11 + 1))[:size])

    corpus = replace(Corpus.of("long", "", "long"), documents=(Document("long", Endless()),))
    dataset = prepare(corpus, tmp_path / "out")
    assert len(dataset.train) + len(dataset.val) == 5 << 20 and most < 5
