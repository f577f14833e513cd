"""Every flag of sample.py at its edges and beyond."""

import pytest
from edges import (
    BYTES,
    ESCAPE,
    LONG,
    NEWLINE,
    ODD_NAMES,
    OK,
    TEXT,
    TINY,
    actions,
    given,
    judged,
    kind_cases,
    parser_of,
    refused_by_parser,
    table,
)
from running import script

from numpygpt.training.checkpoint import load_checkpoint, save_checkpoint

PARSER = parser_of("sample.py")
TABLE = {
    "run": [("run", OK), ("run/best.npz", OK), ("nowhere", "nowhere"),
            ("dir", "best.npz"), ("text.txt", "text.txt"),
            ("empty.txt", "empty.txt"), ("text.txt/x", "text.txt"),
            ("run/config.toml", "run/config.toml"), ("/dev/null", "/dev/null"),
            (ESCAPE, r"\u001b[31mb"), (NEWLINE, r"\u000ab")],
    "--pretrained": [("nowhere", "--pretrained nowhere"), (ESCAPE, "two models")],  # besides the run
    "--chat": [("To", "--chat")],  # of a run
    "--prompt": [("", OK), ("To", OK), ("To be" * 500, OK), ("Tü", OK), (ESCAPE, OK),
                 ("üß", "'ß'"),
                 (BYTES, "DCE9")],
    "--prompt-file": [("one.txt", OK), ("empty.txt", OK), ("-", OK), ("text.txt", OK), ("dir", "Is a directory: dir"),
                      ("nowhere", "No such file or directory: nowhere"), ("text.txt/x", "Not a directory: text.txt/x"),
                      ("utf16.txt", "iconv -f utf-16 -t utf-8 utf16.txt"), ("unknown.txt", OK), (LONG, "too long"),
                      (NEWLINE, r"No such file or directory: a\u000ab"), (ESCAPE, r"a\u001b[31mb")],
    "--max-new-tokens": [(0, OK), (1, OK), (-1, "max_new_tokens")],
    "--temperature": [(0, OK), (1, OK), ("1e-310", OK), (10**12, OK), ("-0.0", OK),
                      (-1, "-1")],
    "--top-k": [(1, OK), (10**12, OK), (0, "top_k"), (-1, "-1")],
    "--top-p": [(1, OK), ("1e-310", OK), (0.5, OK), (0, "top_p"),
                (-1, "-1"), (1.5, "1.5"), (10**12, "1000000000000")],
    "--stop": [("", "--stop"), ("e", OK), ("\n", OK), ("be, or", OK), (ESCAPE, r"'\x1b'"),
               (BYTES, r"'\udce9'"), (LONG, "'x'"), ("to: é", "'é'"),
               (r"\n", r"'\n'")],
    "--num-samples": [(1, OK), (3, OK), (0, "--num-samples"), (-1, "-1")],
    "--seed": [(0, OK), (2**63 - 1, OK), (-1, "--seed")],
    "--slide": [(1, OK), (8, OK), (0, "0"), (-1, "-1"),
                (9, "9"), (10**12, "1000000000000")],
    "--explain": [(None, OK)],
    "--device": [("cpu", OK), ("auto", OK), ("gpu", "gpu"), ("cuda:x", "cuda:x"), ("cpu:1", "cpu:1"), ("", "device")],
    "--int8": [(None, "8 bits")],  # no matrix of this model is large
    "--score": [("text.txt", OK), ("-", OK), ("empty.txt", "0"),
                ("one.txt", "1"), ("dir", "Is a directory: dir"),
                ("nowhere", "No such file or directory: nowhere"), ("utf16.txt", "iconv -f utf-16 -t utf-8 utf16.txt"),
                ("unknown.txt", "1"), (LONG, "File name too long")],
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A trained run and some texts."""
    folder = tmp_path_factory.mktemp("edges")
    for name, content in {"text": TEXT, "empty": "", "one": "T", "unknown": "Tü"}.items():
        (folder / f"{name}.txt").write_text(content, encoding="utf-8", newline="")
    (folder / "utf16.txt").write_bytes(TEXT.encode("utf-16"))
    (folder / "dir").mkdir()
    for arguments in (["datagen.py", "--input", "text.txt", "--context", 8, "--out", "data"],
                      ["train.py", *TINY, "--data", "data", "--out", "run"]):
        assert script(*arguments, cwd=folder).returncode == 0
    return folder


def test_every_flag_has_its_edges():
    assert set(TABLE) == set(actions(PARSER))


@pytest.mark.parametrize(("flag", "value", "sentence"), list(kind_cases(PARSER)))
def test_what_a_flags_type_refuses(flag, value, sentence, capsys):
    refused_by_parser(PARSER, capsys, flag, value, sentence)


@pytest.mark.parametrize(("flag", "value", "sentence"), table(TABLE))
def test_values(folder, flag, value, sentence):
    run = [] if flag == "run" else ["run"]
    few = [] if flag in ("--max-new-tokens", "--score") else ["--max-new-tokens", 3]
    judged("sample.py", [*run, *few, *([flag] if value is None else given(flag, value))], sentence, cwd=folder,
           text="To be, or not")


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("flag", ["run", "--prompt-file", "--score"])
def test_odd_names_are_shown_without_doing_harm(folder, flag, name):
    judged("sample.py", [*([] if flag == "run" else ["run"]), *given(flag, name)], " ", cwd=folder)


def test_what_cannot_go_together_is_said(folder):
    for arguments, sentence in [
        (["--prompt", "a", "--prompt-file", "b"], "not allowed with argument --prompt"),
        (["--prompt", "a", "--chat", "b"], "not allowed with argument --prompt"),
        (["--score", "text.txt", "--top-k", 3, "--seed", 1], "--score"),
        (["run", "run2"], "unknown argument run2"), (["--promt", "a"], "did you mean --prompt?"),
        (["--to", 3], "unknown argument --to"), (["--top-k"], "expected one argument"),
    ]:  # fmt: skip
        judged("sample.py", arguments, sentence, cwd=folder)


def test_the_same_seed_gives_the_same_text(folder):
    def text(*more):
        return script("sample.py", "run", "--max-new-tokens", 40, *more, cwd=folder).stdout

    assert text("--seed", 3) == text("--seed", 3) != text("--seed", 4)
    both = text("--seed", 3, "--num-samples", 2)
    assert text("--seed", 3) in both and text("--seed", 4) in both  # each sample has a seed of its own


def test_the_corpus_of_a_strangers_checkpoint_cannot_rule_the_terminal(folder, tmp_path):
    found = load_checkpoint(folder / "run" / "best.npz")
    found.header["data"]["corpus"] = "evil\x1b[2J\nsample.py: fine"
    save_checkpoint(tmp_path / "best.npz", found.header, found.arrays)
    done = script("sample.py", tmp_path / "best.npz", "--max-new-tokens", 1, cwd=tmp_path)
    assert done.returncode == 0 and r"evil\u001b[2J\u000asample.py: fine" in done.stderr
    assert "\x1b" not in done.stderr and done.stderr.count("\n") == 2  # the second line names the device
