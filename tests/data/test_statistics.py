"""What `inspection` prints: exactly, on small data; and harmlessly, on data from a stranger."""

import hashlib
import json
import unicodedata

import numpy as np
import pytest

from numpygpt.data import TokenDataset
from numpygpt.data.statistics import COLUMNS, inspection, token_counts
from numpygpt.tokenizer import BPETokenizer, CharTokenizer, WordTokenizer
from numpygpt.utils.colour import BACKGROUNDS

RHYME = "To be, or not to be:\nthat is the question.\n"


@pytest.fixture
def make(tmp_path, monkeypatch):
    """make(tokenizer, train, val, **meta): a dataset read from a folder `rhyme` in the current one. Without `val` the
    validation part is the training part again."""
    monkeypatch.chdir(tmp_path)

    def made(tokenizer, train, val=None, /, **changes):
        folder = tmp_path / "rhyme"
        folder.mkdir()
        tokenizer.save(folder / "tokenizer.json")
        sizes = {}
        for part, text in (("train", train), ("val", val or train)):
            ids = tokenizer.encode_array(text, allowed_special="all").astype("<u2")
            ids.tofile(folder / f"{part}.bin")
            sizes[part] = {"tokens": len(ids), "characters": len(text), "bytes": len(text.encode())}
            sizes[part] |= changes.pop(part, {})
        digest = hashlib.sha256((folder / "tokenizer.json").read_bytes()).hexdigest()
        meta = {
            "format": "numpygpt-data",
            "version": 1,
            "corpus": "rhyme",
            "source": "rhyme.txt",
            "sha256": "0123456789abcdef" * 4,
            "tokenizer": {"kind": tokenizer.kind, "sha256": digest},
            "settings": {"vocab_size": None, "min_freq": None, "lowercase": tokenizer.lowercase, "clean": None},
            "split": {"by": "position", "val_fraction": 0.1, "at_byte": 1234},
            "vocab_size": tokenizer.vocab_size,
            "dtype": "uint16",
            **sizes,
            **changes,
        }
        (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
        return TokenDataset.load(folder)

    return made


def section(shown, title):
    """The lines under `title`, without their indentation."""
    (found,) = [part for part in shown.split("\n\n") if part.startswith(title)]
    return [line.removeprefix("  ") for line in found.rstrip("\n").split("\n")[1:]]


def cells(lines):
    return [line.split(maxsplit=5) for line in lines]


def on(*parts, first=0):
    """Each on the next of the backgrounds."""
    numbers = [BACKGROUNDS[at % 3] for at in range(first, first + len(parts))]
    return "".join(f"\x1b[48;5;{n}m\x1b[38;5;16m{part}\x1b[0m" for n, part in zip(numbers, parts, strict=True))


CHAR = r"""Corpus
  name         rhyme
  source       rhyme.txt
  SHA-256      0123456789ab...
  split        by position, val fraction 0.1, at byte 1,234
  tokenizer    char, 5 entries
  folder       rhyme

Counts
          characters   bytes   tokens   tokens/char   chars/token   bytes/token
  train           16      16       16         1.000         1.000         1.000
    val            3       3        3         1.000         1.000         1.000

  vocabulary   5 of 5 entries occur in the training part, 0 do not
  rare         5 of them occur fewer than 20 times: 100.00% of the tokens

Vocabulary by frequency in the training part
     rank      id         count        %   % so far   token
        1       3             6   37.500      37.50   l
        2       1             3   18.750      56.25   e
        3       2             3   18.750      75.00   h
        4       0             2   12.500      87.50   ⏎
        5       4             2   12.500     100.00   o

Split, start of the training part
  h|e|l|l|o|⏎|
  h|e|l|l|o|⏎|
  h|e|l|l

  length       16 characters, 16 bytes, 16 tokens: 1.000 characters per token
  ids          2 1 3 3 4 0 2 1 3 3 4 0 2 1 3 3

Signs
  · space   ⏎ new line   \t tab   \u200b invisible character   ◌ lone accent   \\ backslash
"""


def test_characters(make):
    dataset = make(CharTokenizer().train("hello\n"), "hello\nhello\nhell", "oh\n")
    assert inspection(dataset) == CHAR
    plain = CHAR.split("\n")
    coloured = inspection(dataset, colour=True).split("\n")
    titles = [line for line in plain if line and not line.startswith(" ")]
    assert [line for line in coloured if line.startswith("\x1b")] == [f"\x1b[1m{title}\x1b[0m" for title in titles]
    at = plain.index("  h|e|l|l|o|⏎|")
    # Three colours in turn: the second line goes on where the first one ended.
    assert coloured[at : at + 3] == ["  " + on(*"hello⏎"), "  " + on(*"hello⏎"), "  " + on(*"hell")]
    rest = [line for line in coloured if "\x1b" not in line]
    assert rest == [line for line in plain if line not in titles and "|" not in line and line != "  h|e|l|l"]


def test_words(make):
    dataset = make(WordTokenizer().train(RHYME, special_tokens=("<unk>",)), RHYME, "to be here")
    shown = inspection(dataset, ["To be, be  or\nto be.not", "to bee"], rows=3)
    assert section(shown, "Split, text 1") == ["To| be|,| be|·|·|or|⏎|", "to| be|.|<join>|not"]
    assert "length       23 characters, 23 bytes, 13 tokens: 1.769 characters per token" in shown
    assert "note" not in shown.split("Split, text 2")[0]
    assert "note         " in shown and "vocabulary lacks" in shown
    assert section(shown, "Split, text 2") == ["to| <unk>"]
    assert "<unk>        0.00% of the train tokens, 33.33% of the val tokens" in shown
    assert cells(section(shown, "Vocabulary")) == [
        ["rank", "id", "count", "%", "%", "so far   token"],
        ["1", "2", "2", "13.333", "13.33", "⏎"],
        ["2", "3", "2", "13.333", "26.67", "be"],
        ["3", "4", "1", "6.667", "33.33", ","],
    ]
    rarest = cells(section(shown, "  the rarest"))
    assert len(rarest) == 5 and rarest[-1] == ["13", "14", "1", "6.667", "100.00", "to"]
    assert "3 never      <join>   ·   <unk>" in shown
    assert section(shown, "Signs")[1] == (
        "a bare space has no token of its own; the token <join> says that there is no space"
    )
    coloured = inspection(dataset, ["to be\nor not"], colour=True)
    first = f"{on('to')} {on('be', '⏎', first=1)}"  # the bare space has no background
    assert section(coloured, "\x1b[1mSplit, text 1") == [first, f"{on('or', first=3)} {on('not', first=4)}"]
    spaced = inspection(dataset, ["to  be"], colour=True)
    assert section(spaced, "\x1b[1mSplit, text 1") == [on("to", " ", " ", "be")]


def test_byte_pairs(make):
    dataset = make(BPETokenizer().train(RHYME, vocab_size=259), RHYME)
    shown = inspection(dataset, ["to bé or to:\n\\xc3"], rows=2)
    assert section(shown, "Split, text 1") == [r"t|o|·b|\xc3|\xa9|·|o|r|·t|o|:|⏎|", r"\\|x|c|3"]
    assert "length       17 characters, 18 bytes, 16 tokens: 1.062 characters per token" in shown
    assert "ids          116 111 256 195 169 32 111 114 257 111 58 10 92 120 99 51" in shown
    assert cells(section(shown, "  the longest that occur")) == [
        ["11", "258", "2", "5.405", "78.38", "·be"],
        ["10", "257", "2", "5.405", "72.97", "·t"],
    ]
    assert r"240 never    \u0000   \u001f   A   `   \x89   \xa7   \xc5   \xe3   ..." in shown
    assert section(shown, "Signs")[1] == r"\xe2 a byte that is part of a character"
    coloured = inspection(dataset, ["to bé"], colour=True)
    assert section(coloured, "\x1b[1mSplit, text 1") == [on("t", "o", " b", r"\xc3", r"\xa9")]


def test_a_vocabulary_with_its_own_order_of_ids(make):
    fields = BPETokenizer().train(RHYME, vocab_size=259, special_tokens=("<|end|>",)).to_dict()
    fields["special_tokens"] = {"<|end|>": 0}
    shown = inspection(make(BPETokenizer.from_dict(fields), f"{RHYME}<|end|>{RHYME}"))
    assert section(shown, "Split, start")[2].startswith("<|end|>¦T¦o¦")
    assert ["<|end|>"] in [row[5:] for row in cells(section(shown, "Vocabulary")) if row[1] == "0"]
    assert r" never    \u0000   " in shown  # whose id is 1 here


def test_the_record_of_the_folder(make):
    tokenizer = BPETokenizer(lowercase=True).train(RHYME, vocab_size=259)
    shown = inspection(
        make(
            tokenizer,
            RHYME.lower(),
            source=", ".join(f"chapter{number}.txt" for number in range(20)),
            documents=1200,
            train={"documents": 1080},
            val={"documents": 120},
            split={"by": "document", "val_fraction": 0.1, "every": 10.0},
            settings={"vocab_size": 3000, "min_freq": 2, "lowercase": True, "clean": "alnum"},
        ),
        ["To Be"],
    )
    corpus = section(shown, "Corpus")
    assert corpus[0] == "name         rhyme"
    assert corpus[1].startswith("source       chapter0.txt, chapter1.txt,")
    assert corpus[2].startswith("             chapter") and corpus[4].endswith(", chapter19.txt")
    assert "split        by document, val fraction 0.1, every 10" in corpus
    assert "settings     vocab size 3,000, min freq 2, lowercase, clean alnum" in corpus
    counts = section(shown, "Counts")
    assert counts[0].split() == "documents characters bytes tokens tokens/char chars/token bytes/token".split()
    assert counts[1].split()[:4] == ["train", "1,080", "43", "43"]
    assert "note         " in shown and "lower" in shown


def test_the_sample_is_the_start_and_its_ids_are_cut(make):
    text = "".join(f"{number} " for number in range(300))
    shown = inspection(make(CharTokenizer().train(text), text))
    sample = section(shown, "Split, start")
    assert "".join(sample).replace("|", "") == text[:400].replace(" ", "·")
    assert "length       400 characters, 400 bytes, 400 tokens" in shown and "... (300 more)" in shown
    assert len(shown.split("ids          ")[1].split("... (")[0].split()) == 100
    whole = inspection(TokenDataset.load("rhyme"), [text[:500]])
    assert "more)" not in whole


HOSTILE = (
    "\x1b[2J\x1b]0;title\x07 \x9b31m\r\n\t\x00\x7f\x85\u2028\u202eevil\u202c\u2066 zero\u200bwidth\ufeff\xad\xa0\u3164 "
    "שלום עולם العربية नमस्ते 日本語 👨\u200d👩 ❤\ufe0f e" + "\u0301" * 9 + " | ¦ · ⏎ ◌ \\u202e \\xe2 \\ \U000e0041\n"
) * 3
KINDS = {
    "char": lambda: CharTokenizer().train(HOSTILE),
    "word": lambda: WordTokenizer().train(HOSTILE, special_tokens=("<unk>", "\x1b[31m<red>")),
    "bpe": lambda: BPETokenizer().train(HOSTILE, vocab_size=380, special_tokens=("\u202e<end>",)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_in_the_data_reaches_the_terminal(make, kind):
    evil = "\x1b[2J\x07\u202e\x9b"
    dataset = make(
        KINDS[kind](),
        HOSTILE,
        corpus=evil,
        source=evil,
        sha256=evil,
        split={"by": evil, evil: evil},
        settings={evil: evil},
    )
    forbidden = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}
    for texts in ([], [HOSTILE, "\x1b[2J"]):
        for rows in (5, 1000):
            plain = inspection(dataset, texts, rows=rows)
            assert {char for char in plain if unicodedata.category(char) in forbidden} == {"\n"}
            assert "\u3164" not in plain and "\ufe0f" not in plain and "\xa0" not in plain
            assert max(map(len, plain.split("\n"))) <= COLUMNS + 20  # marks take no column
            coloured = inspection(dataset, texts, colour=True, rows=rows)
            for sequence in [*(f"\x1b[48;5;{number}m\x1b[38;5;16m" for number in BACKGROUNDS), "\x1b[1m", "\x1b[0m"]:
                coloured = coloured.replace(sequence, "")
            assert {char for char in coloured if unicodedata.category(char) in forbidden} == {"\n"}


def test_tokens_of_one_text_can_be_told_from_those_of_another(make):
    dataset = make(KINDS["bpe"](), HOSTILE)
    texts = ["\u202e", r"\u202e", "é", r"\xc3\xa9", "a|b", "a¦b", "a|¦b", "·", " ", "⏎", "\n", "\\n", "|", "\\"]
    shown = [inspection(dataset, [text]).split("Split, text 1\n")[1].split("\n\n")[0] for text in texts]
    assert len(set(shown)) == len(texts)


def test_a_byte_can_be_told_from_a_text_that_looks_like_one(make):
    tokenizer = BPETokenizer().train(RHYME, vocab_size=260, special_tokens=(r"\xe2",))
    shown = inspection(make(tokenizer, r"\xe2\xe2€"))
    assert section(shown, "Split, start") == [r"\\xe2|\\xe2|\xe2|\x82|\xac"]


def test_the_smallest_data(make):
    shown = inspection(make(CharTokenizer().train("a"), "a", "a"), ["", "a"], rows=1)
    assert "vocabulary   1 of 1 entries occur in the training part, 0 do not" in shown
    assert "  length       0 characters, 0 bytes, 0 tokens\n" in shown
    assert "  length       1 character, 1 byte, 1 token: 1.000 characters per token\n" in shown
    assert cells(section(shown, "Vocabulary")[1:]) == [["1", "0", "1", "100.000", "100.00", "a"]]
    assert "rarest" not in shown and "never" not in shown


def test_long_tokens_are_cut_in_the_table_and_broken_in_the_text(make):
    text = "x" * 150 + "\u200b" * 20
    shown = inspection(make(BPETokenizer().train(f"{text} {text}", vocab_size=300), text))
    assert "xxxxxxxxxxxxxxxxxxxxxx ... (150 characters)" in shown
    assert r"\u200b\u200b\u200b ... (20 characters)" in shown
    assert section(shown, "Split, start") == ["x" * 98, "x" * 52 + "|" + r"\u200b" * 7, r"\u200b" * 13]
    assert all(len(line) <= COLUMNS for line in shown.split("\n"))


def test_what_cannot_be_encoded_is_the_tokenizers_own_error(make):
    dataset = make(CharTokenizer().train(RHYME), RHYME)
    with pytest.raises(ValueError, match=r"'é'.*U\+00E9.*1"):
        inspection(dataset, ["to", "bé"])
    with pytest.raises(ValueError, match="1.*0"):
        inspection(dataset, rows=0)


@pytest.mark.parametrize("chunk", [1, 7, 100, 1000])
def test_counting_in_chunks_is_counting(tmp_path, chunk):
    ids = np.random.default_rng(0).integers(0, 50, 100).astype("<u2")
    ids.tofile(tmp_path / "train.bin")
    mapped = np.memmap(tmp_path / "train.bin", dtype="<u2", mode="r")
    counted = token_counts(mapped, 60, chunk)
    assert counted.dtype == np.int64 and np.array_equal(counted, np.bincount(ids, minlength=60))


def test_counting_never_takes_more_than_a_chunk():
    class Watched:
        longest = 0

        def __len__(self):
            return 1000

        def __getitem__(self, part):
            taken = np.arange(1000, dtype=np.uint16)[part] % 5
            self.longest = max(self.longest, len(taken))
            return taken

    tokens = Watched()
    assert token_counts(tokens, 5, chunk=64).tolist() == [200] * 5 and tokens.longest == 64
