"""Every flag of datagen.py at its edges and beyond."""

import pytest
from edges import (
    BYTES,
    ESCAPE,
    LONG,
    NEWLINE,
    ODD_NAMES,
    OK,
    TEXT,
    actions,
    files,
    given,
    judged,
    kind_cases,
    parser_of,
    refused_by_parser,
    table,
)
from running import script

from numpygpt.utils.paths import ROOT

PARSER = parser_of("datagen.py")
NO_TOKENIZER = "char, word, bpe, gpt2, or the path of a tokenizer.json"
BETWEEN = "--val-fraction must be between 0 and 1, got "
TABLE = {
    "--input": [("text.txt", OK), ("-", OK), ("folder", OK), ("fold*/*.txt", OK),
                ("", "--input is empty"), ("nowhere", "nowhere"),
                ("text.tx", "text.tx; did you mean text.txt?"), ("dir", "dir"),
                ("no*.txt", "'no*.txt'"), ("empty.txt", "empty.txt"),
                ("one.txt", "1 characters"), ("utf16.txt", "--encoding utf-16"),
                ("latin1.txt", "--encoding cp1252"),
                ("text.txt/x", "text.txt/x"), ("/dev/zero", "/dev/zero"),
                (LONG, "File name too"), (ESCAPE, r"'a\x1b[31mb'"), (NEWLINE, r"a\u000ab")],
    "--dataset": [("tinyshakespear", "invalid choice: 'tinyshakespear'")],
    "--separator": [("\n", OK), ("nowhere", OK), (BYTES, OK), (ESCAPE, OK), ("", "--separator")],
    "--encoding": [("latin-1", OK), ("utf-16", "--encoding utf-8"), ("", "encoding ''"),
                   ("uft-8", "'uft-8'; did you mean utf-8?"), ("zip", "'zip'"),
                   (BYTES, r"'caf\udce9'"), (LONG, "'xxx")],
    "--tokenizer": [("char", OK), ("word", OK), ("bpe", OK), ("bpee", f"did you mean bpe?: give {NO_TOKENIZER}"),
                    ("", NO_TOKENIZER), ("text.txt", "not a tokenizer file"),
                    ("empty.txt", "not a tokenizer file"), ("nowhere.json", "nowhere.json"), (ESCAPE, NO_TOKENIZER),
                    ("gpt2", "--tokenizer-files"), (LONG, "xxx")],
    "--tokenizer-files": [("dir", "dir/vocab.bpe is missing"), ("nowhere", "nowhere/vocab.bpe is missing"),
                          ("text.txt", "text.txt/vocab.bpe is missing"), (NEWLINE, r"a\u000ab/vocab.bpe is missing")],
    "--vocab-size": [(256, OK), (10**12, OK), (255, "vocab_size must be an integer of at least 256"),
                     (1, "at least 256"), (0, "--vocab-size must be at least 1, got 0"), (-1, "got -1")],
    "--min-freq": [(1, OK), (10**12, OK), (0, "--min-freq must be at least 1, got 0"), (-1, "got -1")],
    "--lowercase": [(None, OK)],
    "--clean": [("alnum", OK), ("alnumm", "invalid choice: 'alnumm'")],
    "--split": [("position", OK), ("document", "--split position"), ("x", "invalid choice")],
    "--val-fraction": [(0.5, OK), (0, f"{BETWEEN}0"), (1, f"{BETWEEN}1"), (-1, f"{BETWEEN}-1"),
                       ("1.0000001", f"{BETWEEN}1.0000001"), (10**12, f"{BETWEEN}1000000000000"),
                       ("1e-310", "--val-fraction"), ("0.9999999", "--val-fraction")],
    "--context": [(1, OK), (171, OK), (172, "172 needs 173 tokens"), (0, "--context must be at least 1, got 0"),
                  (-1, "got -1"), (10**12, "1000000000000 needs 1,000,000,000,001 tokens")],
    "--workers": [(1, OK), (0, "--workers must be at least 1, got 0"), (-1, "got -1")],
    "--out": [("new", OK), ("dir", OK), ("new/below/it", OK), (ESCAPE, OK), (NEWLINE, OK), (BYTES, OK),
              ("text.txt", "text.txt is a file"), ("folder", "another --out"),
              ("text.txt/x", "Not a directory: text.txt/x"), ("/proc/x", "/proc/x"), (LONG, "File name too long: x"),
              (".", "another --out"), ("/dev/null", "/dev/null is a file")],
    "--force": [(None, OK)],
    "--inspect": [("data", OK), ("nowhere", "nowhere"), ("text.txt", "text.txt is a file"),
                  ("dir", "meta.json"), (NEWLINE, r"a\u000ab")],
    "--text": [("To be", "--inspect DIR")],
}  # fmt: skip
BPE = ["--tokenizer", "bpe"]
BESIDE = {"--vocab-size": BPE, "--min-freq": BPE, "--tokenizer-files": ["--tokenizer", "gpt2"]}


@pytest.fixture
def folder(tmp_path):
    """Some texts; nothing that was made before."""
    for name, content in {"text": TEXT, "empty": "", "one": "T", "folder/below": TEXT}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.txt").write_text(content, encoding="utf-8", newline="")
    (tmp_path / "utf16.txt").write_bytes(TEXT.encode("utf-16"))
    (tmp_path / "latin1.txt").write_bytes(f"Tür. {TEXT}".encode("latin-1"))
    (tmp_path / "dir").mkdir()
    return tmp_path


def words(flag, value):
    """A whole command line with the value in it."""
    told = [flag] if value is None else given(flag, value)
    if flag in ("--inspect", "--dataset"):
        return told
    if flag == "--text":
        return [*told, "--out", "new"]
    standard = {"--input": "text.txt", "--context": "4", "--out": "out"}
    return [*told, *BESIDE.get(flag, []), *(word for name, usual in standard.items() if name != flag
                                            for word in (name, usual))]  # fmt: skip


def test_every_flag_has_its_edges():
    assert set(TABLE) == set(actions(PARSER))


@pytest.mark.parametrize(("flag", "value", "sentence"), list(kind_cases(PARSER)))
def test_what_a_flags_type_refuses(flag, value, sentence, capsys):
    refused_by_parser(PARSER, capsys, flag, value, sentence)


@pytest.mark.parametrize(("flag", "value", "sentence"), table(TABLE))
def test_values(folder, flag, value, sentence):
    if flag == "--inspect":
        assert script("datagen.py", "--input", "text.txt", "--context", 4, "--out", "data", cwd=folder).returncode == 0
    judged("datagen.py", words(flag, value), sentence, cwd=folder, text=TEXT)
    assert not list(folder.rglob("*.new")) and not list(folder.rglob("*.old"))


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("flag", ["--input", "--tokenizer", "--tokenizer-files", "--encoding", "--inspect"])
def test_odd_names_are_shown_without_doing_harm(folder, flag, name):
    judged("datagen.py", words(flag, name), " ", cwd=folder)


def test_what_cannot_go_together_is_said(folder):
    base = ["--input", "text.txt", "--out", "out"]
    for arguments, sentence in [
        ([*base, "--dataset", "pydoc"], "not allowed with argument --input"),
        ([*base, "--input"], "--input"), (["--separator", "x"], "--input"),
        (["--encoding", "latin-1"], "--encoding needs --input"), (["--tokeniser", "bpe"], "did you mean --tokenizer?"),
        ([*base, "--input", "-", "-"], "standard input"), (["text.txt"], "unknown argument text.txt"),
        ([*base, "--vocab-size", 300], "vocab"), ([*base, "--min-freq", 3], "min"),
    ]:  # fmt: skip
        judged("datagen.py", arguments, sentence, cwd=folder)


def test_the_output_is_never_the_input(folder):
    """A data folder holds only its own files, so that no text can be written over."""
    judged("datagen.py", ["--input", "folder", "--context", 4, "--out", "folder"], "another --out", cwd=folder)
    script("datagen.py", "--input", "text.txt", "--context", 4, "--out", "data", cwd=folder)
    judged("datagen.py", ["--input", "data/meta.json", "--context", 4, "--out", "data"], "holds other data", cwd=folder)


@pytest.mark.parametrize("kind", ["char", "word", "bpe"])
def test_the_same_text_gives_the_same_folder_from_wherever_it_is_called(folder, kind):
    common = ["--tokenizer", kind, "--context", 4]
    for place, (text, out) in {".": ("text.txt", "a"), "dir": ("../text.txt", "../b")}.items():
        assert script("datagen.py", "--input", text, "--out", out, *common, cwd=folder / place).returncode == 0
    a, b = ({path.name: data for path, data in files(folder / name).items()} for name in "ab")
    assert a == b and set(a) == {"meta.json", "tokenizer.json", "train.bin", "val.bin"}


def test_other_encodings_give_the_same_tokens(folder):
    for name, encoding in (("text", "utf-8"), ("utf16", "utf-16"), ("text", "cp1252")):
        script("datagen.py", "--input", f"{name}.txt", "--encoding", encoding, "--context", 4, "--out", encoding,
               cwd=folder)  # fmt: skip
    ids = [(folder / name / "train.bin").read_bytes() for name in ("utf-8", "cp1252")]
    assert ids[0] == ids[1]
    tokens = [(folder / name / "tokenizer.json").read_bytes() for name in ("utf-8", "utf-16")]
    assert tokens[0] == tokens[1]


def test_the_scripts_folder_gets_nothing(folder):
    before = sorted(path.name for path in ROOT.iterdir())
    judged("datagen.py", ["--input", "text.txt", "--context", 4, "--out", "out"], OK, cwd=folder)
    assert sorted(path.name for path in ROOT.iterdir()) == before
