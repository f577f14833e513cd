"""docs/TOKENIZERS.md is true: examples print what it says, quoted code is the code, tables are what the code does."""

import ast
import contextlib
import io
import re
from collections import Counter
from inspect import signature
from itertools import pairwise

import pytest
from test_backprop_doc import QUOTE, Block, anchor, fenced, quoted_from, sections

from numpygpt.tokenizer import BPETokenizer, CharTokenizer, WordTokenizer, bpe, formats, merges, storage, stream
from numpygpt.tokenizer.pretokenize import gpt2_pattern, pretokenize
from numpygpt.tokenizer.unicode import WHITESPACE
from numpygpt.tokenizer.unicode_table import UNICODE_VERSION
from numpygpt.utils.paths import ROOT

DOC = ROOT / "docs" / "TOKENIZERS.md"
DOCUMENT = DOC.read_text(encoding="utf-8")
PROSE = " ".join(re.sub(r"```.*?```", "", DOCUMENT, flags=re.DOTALL).split())
BLOCKS = fenced(DOCUMENT)
EXAMPLES = [(block, after) for block, after in zip(BLOCKS, [*BLOCKS[1:], Block("", "", 0)], strict=True)
            if block.info == "python"]
QUOTES = [block for block in BLOCKS if block.info.startswith(QUOTE)]
MEASURED = r"<!-- measured: (assets/outputs/\w+\.md) -->\n\n((?:\|.*\n)+)"  # the benchmark's output, and the table


def tables(document):
    """Header -> rows, each table's cells; a header that comes again raises."""
    found = {}
    for lines in re.findall(r"(?:^\|.*\n)+", document, re.MULTILINE):
        header, rule, *rows = ([cell.strip() for cell in line[1:-1].split("|")] for line in lines.splitlines())
        assert set("".join(rule)) == {"-"} and {len(row) for row in [rule, *rows]} == {len(header)}, header
        assert tuple(header) not in found
        found[tuple(header)] = rows
    return found


TABLES = tables(DOCUMENT)
TRAINING = ("step", "pairs and their counts", "merged", "new id", "the words then")
ENCODING = ("tokens", "ranks of the pairs", "merged")
CUTS = ("alternative", "takes", "text", "pieces")
WORDS = ("text", "tokens", "")
FIELDS = ("field", "holds")
IN_WORDS = [("", "characters", "words", "BPE")]  # has no number and no piece of text


def measured_tables():
    """(the output it is copied from, its lines) of each table with figures."""
    return [(path, table.splitlines()) for path, table in re.findall(MEASURED, DOCUMENT)]


def measured_headers():
    return [[cell.strip() for cell in table[0][1:-1].split("|")] for _, table in measured_tables()]


@pytest.fixture(scope="module")
def ran():
    """(what each example printed, by its line; the names they made): they run in order, as for a reader."""
    outputs, names = {}, {"__name__": "tokenizers"}
    with contextlib.chdir(ROOT):
        for block, _ in EXAMPLES:
            code = compile("\n" * (block.line - 1) + block.text, str(DOC), "exec")  # an error names the right line
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(code, names)
            outputs[block.line] = out.getvalue()
    return outputs, names


@pytest.mark.parametrize(("block", "after"), EXAMPLES, ids=lambda block: f"line{block.line}")
def test_an_example_prints_what_stands_under_it(block, after, ran):
    assert ran[0][block.line] == after.text + "\n" and after.info == "text"


@pytest.mark.parametrize("block", QUOTES, ids=lambda block: f"line{block.line}")
def test_quoted_code_is_the_code(block):
    path = block.info.removeprefix(QUOTE)
    assert quoted_from(block.text, (ROOT / path).read_text(encoding="utf-8")), f"{path} no longer has these lines"


def test_no_block_and_no_table_is_unchecked():
    assert len(EXAMPLES) >= 8 and len(QUOTES) >= 4
    assert sum(block.info == "text" for block in BLOCKS) == len(EXAMPLES)
    assert {block.info for block in BLOCKS if block not in QUOTES} == {"", "python", "text"}
    (pattern,) = (block.text for block in BLOCKS if not block.info)
    assert pattern == gpt2_pattern.__doc__.splitlines()[0]
    measured = [header for header in TABLES if header in map(tuple, measured_headers())]
    assert set(TABLES) == {TRAINING, ENCODING, CUTS, WORDS, FIELDS, *IN_WORDS, *measured} and len(measured) == 3


# -- the tables of merges, made again by counting everything at each step


def train_by_hand(pieces):
    """The rows of the table, and the merges as pairs of ids."""
    words, tokens, rows, learnt = {word: list(word) for word in pieces}, [bytes([b]) for b in range(256)], [], []
    while True:
        counts = Counter()
        for word, ids in words.items():
            for pair in pairwise(ids):
                counts[pair] += pieces[word]
        ranked = sorted(counts, key=lambda pair: (-counts[pair], pair))
        if not ranked or counts[ranked[0]] < 2:
            return rows, learnt
        best = ranked[0]
        words = {word: merged(ids, best, len(tokens)) for word, ids in words.items()}
        tokens.append(tokens[best[0]] + tokens[best[1]])
        learnt.append(best)
        rows.append([
            str(len(learnt)),
            ", ".join(f"{shown(pair, tokens)} {counts[pair]}" for pair in ranked),
            shown(best, tokens),
            str(len(tokens) - 1),
            ", ".join(f"{shown(ids, tokens)} {pieces[word]}" for word, ids in words.items()),
        ])  # fmt: skip


def merged(ids, pair, new):
    """`ids` with `pair` replaced from left to right."""
    out, at = [], 0
    while at < len(ids):
        out.append(new if tuple(ids[at : at + 2]) == pair else ids[at])
        at += 1 + (out[-1] == new)
    return out


def shown(ids, tokens):
    return f"`{b' '.join(tokens[id] for id in ids).decode()}`"


def encode_by_hand(word, learnt):
    """The rows of the table, and the ids."""
    tokens, ids, rows = [bytes([b]) for b in range(256)], list(word.encode()), []
    for first, second in learnt:
        tokens.append(tokens[first] + tokens[second])
    while True:
        ranks = [learnt.index(pair) if pair in learnt else None for pair in pairwise(ids)]
        lowest = min((rank for rank in ranks if rank is not None), default=None)
        merge = "" if lowest is None else shown(learnt[lowest], tokens)
        rows.append([shown(ids, tokens), ", ".join("-" if rank is None else str(rank) for rank in ranks), merge])
        if lowest is None:
            return rows, ids
        at = ranks.index(lowest)
        ids[at : at + 2] = [256 + lowest]


def test_the_table_of_training_is_what_counting_by_hand_gives(ran):
    pieces = ast.literal_eval(re.search(r"^pieces = (.*)", DOCUMENT, re.MULTILINE)[1])
    rows, learnt = train_by_hand(pieces)
    assert TABLES[TRAINING] == rows
    assert merges.learn_merges(pieces, 10) == learnt == ran[1]["merges"]


def test_the_example_shows_what_the_text_says_of_it():
    """A tie, a pair that overlaps itself, a pair that is gone before its turn, a merge of merged tokens."""
    pairs, made = [row[1] for row in TABLES[TRAINING]], [row[2] for row in TABLES[TRAINING]]
    assert pairs[0].startswith("`a a` 6, `a h` 6") and pairs[2].startswith("`aa ah` 3, `ah a` 3")
    assert "`aa a h` 3" in TABLES[TRAINING][0][4]
    assert "`aa a` 3" in pairs[1] and "`aa a`" not in pairs[2] and "`aa a`" not in made
    assert "`h a` 5" in pairs[1] and "`h a` 2" in pairs[2]
    assert made[2] == "`aa ah`"


def test_the_table_of_encoding_is_what_the_ranks_give(ran):
    word = TABLES[ENCODING][0][0].replace(" ", "").strip("`")
    rows, ids = encode_by_hand(word, ran[1]["merges"])
    assert TABLES[ENCODING] == rows and f"`{word}` was not in the text" in PROSE
    assert ids == merges.apply_merges(list(word.encode()), ran[1]["ranks"], ran[1]["made"])


# -- the tables of cuts


def code(cell):
    """The Python value in a cell of the form `value`."""
    return ast.literal_eval(cell.removeprefix("`").removesuffix("`"))


@pytest.mark.parametrize("row", TABLES[CUTS], ids=lambda row: row[2])
def test_gpt2s_pattern_cuts_as_the_table_says(row):
    assert pretokenize(code(row[2])) == code(row[3])


def test_the_table_has_the_alternatives_of_the_pattern_in_order():
    (pattern,) = (block.text for block in BLOCKS if not block.info)
    assert "|".join(re.findall("`([^`]+)`", " ".join(row[0] for row in TABLES[CUTS]))) == pattern


def test_words_are_cut_as_the_table_says():
    texts = [code(row[0]) for row in TABLES[WORDS]]
    tok = WordTokenizer().train("\n".join(texts))
    for text, (_, tokens, _) in zip(texts, TABLES[WORDS], strict=True):
        ids = tok.encode(text)
        assert [tok.token_text(id) for id in ids] == code(tokens)
        assert tok.decode(ids) == text


# -- names, numbers and links in the text


def test_the_fields_are_those_of_the_file():
    named = [name for row in TABLES[FIELDS] for name in re.findall("`([^`]+)`", row[0])]
    fields = [kind().train("a b").to_dict() for kind in (CharTokenizer, WordTokenizer, BPETokenizer)]
    assert named == [*fields[2], *BPETokenizer.optional] and set(fields[2]) == {name for one in fields for name in one}
    holds = {row[0]: row[1] for row in TABLES[FIELDS]}
    assert holds["`format`, `version`"].startswith(f'`"{storage.FORMAT}"` and {storage.VERSION};')
    assert re.findall(r'`"(\w+)"`', holds["`kind`"]) == [one["kind"] for one in fields]


def test_the_options_that_are_refused_are_those_of_the_code():
    options = re.search(r"The options (.*?) must be off", PROSE)[1]
    assert tuple(re.findall("`([^`]+)`", options)) == formats.UNSUPPORTED


@pytest.mark.parametrize(("sentence", "true"), [
    ("GPT-2 has 50,000 merges, and Tiny Shakespeare, a small text, has 1,115,394 bytes: "
     f"{50_000 * 1_115_394:,} looks at a pair, or {50_000 * 1_115_394 / 1e7 / 3600:.1f} hours", True),
    ("on the whole text, 1,115,394 bytes", True),
    ("occurs fewer than 20 times", any("occur 20 times" in header for header in measured_headers())),
    ("as large as you ask, at least 256", BPETokenizer().train("", vocab_size=256).vocab_size == 256),
    ("starts with the 256 bytes as tokens 0 to 255", bpe.BYTES == [bytes([byte]) for byte in range(256)]),
    ("All 256 bytes are tokens", True),
    ("Merge number k, from 0 on, makes the id 256 + k", True),
    ("**Step 1 is a tie.**", True),
    ("Step 3 is one too", TABLES[TRAINING][2][1].startswith("`aa ah` 3, `ah a` 3")),
    ("In step 2 `a h` takes the last `a` of `aa a h` and the `h` of `a h a`", TABLES[TRAINING][1][2] == "`a h`"),
    ("**Step 3 merges two tokens that were merged before.**", TABLES[TRAINING][2][2] == "`aa ah`"),
    ("A word of more than 64 bytes", bpe.MAX_SHORT == 64),
    ("chunks of about 262,000 characters", stream.CHUNK_CHARACTERS == 1 << 18),
    ("white space for 4 million characters", stream.MAX_UNCUT == 4 << 20),
    ("Beyond half a million, or 4 MB of them in all", (stream.MAX_WORDS, stream.MAX_WORD_BYTES) == (500_000, 4 << 20)),
    (f"those of Unicode {UNICODE_VERSION},", True),
    (f"new in Unicode {UNICODE_VERSION.removesuffix('.0')} ", True),
    ("97 is the byte of `a` and 104 that of `h`", [*b"ah"] == [97, 104]),
    ("the list of 127", WordTokenizer().train((ROOT / "LICENSE").read_text(encoding="utf-8")).vocab_size == 127),
    ("(97, 97) before (97, 104)", TABLES[TRAINING][0][1].startswith("`a a` 6, `a h` 6")),
    ("`h a` falls from 5 to 2", [re.search(r"`h a` (\d)", TABLES[TRAINING][k][1])[1] for k in (1, 2)] == ["5", "2"]),
    ("`h a` is on the heap with 5, comes to the top in step 3, is found to be 2", True),
    ("`min_freq` times (2 by default)", signature(BPETokenizer.train).parameters["min_freq"].default == 2),
    ("`haha` could be `ha|ha`, and `ahaah` could be `aha|ah`", True),
    ("all begin with the bytes e2 80", all(mark.encode()[:2] == b"\xe2\x80" for mark in "—…“”")),
    ("the 128 of ASCII as one, `é` as two, `€` as three, most emoji as four",
     [len(mark.encode()) for mark in "\x7fé€🙂"] == [1, 2, 3, 4]),
    ("controls U+001C to U+001F", {c for c in map(chr, range(0x110000)) if re.match(r"\s", c)} - set(WHITESPACE)
     == set(map(chr, range(0x1C, 0x20)))),
    ("`!` is 0 and the space 220", [sorted(map(chr, formats.byte_alphabet().values())).index(c) for c in "!Ġ"]
     == [0, 220]),
    ("In the example above four words", "distinct=4)" in DOCUMENT),
    ("the bytes e2 80 are written `â\\x80`", b"\xe2\x80".decode("latin-1") == "â\x80"),
    ("the 68 others, in order, as U+0100 and up", sum(code > 255 for code in formats.byte_alphabet().values()) == 68),
    ("The space is byte 32 and the 33rd of them", formats.byte_alphabet()[32] - 255 == 33),
    ("so it is U+0120, `Ġ`", formats.byte_alphabet()[ord(" ")] == 0x120 == ord("Ġ")),
    ("A line break is `Ċ`", formats.byte_alphabet()[ord("\n")] == ord("Ċ")),
    ("its 50,000 merges follow, and `<|endoftext|>` is the last, 50,256", 256 + 50_000 == 50_256),
])  # fmt: skip
def test_a_number_in_the_text_is_that_of_the_code(sentence, true):
    assert sentence in PROSE and true


def test_links_and_paths_lead_somewhere():
    links = re.findall(r"\]\(([^)#\s]+)\)", DOCUMENT)
    assert links and [link for link in links if not (DOC.parent / link).exists()] == []
    assert {"#" + anchor(title) for title in sections(DOCUMENT)} >= set(re.findall(r"\]\((#[^)]+)\)", DOCUMENT))
    paths = set(re.findall(r"(?:\.\.?/)?((?:assets|benchmarks|docs|numpygpt|tests)/[\w./]+|\w+\.py)\b", DOCUMENT))
    here = {path.name for path in [*ROOT.glob("*.py"), *ROOT.glob("numpygpt/tokenizer/*.py")]}
    assert paths >= {"benchmarks/tokenization.py", "datagen.py", "merges.py"}
    assert [path for path in paths if not (ROOT / path).exists() and path not in here] == []


# -- what was measured


def test_measured_tables_are_lines_that_the_benchmarks_printed():
    assert [path for path, _ in measured_tables()] == re.findall(r"<!-- measured: (\S+) -->", DOCUMENT)
    for path, table in measured_tables():
        printed = (ROOT / path).read_text(encoding="utf-8").splitlines()
        assert len(table) > 2 and [line for line in table if line not in printed] == []
    assert len(measured_tables()) == 3


def test_the_lines_fit():
    assert [line for line in DOCUMENT.splitlines() if len(line) > 120] == []
