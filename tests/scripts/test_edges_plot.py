"""Every flag of every command of plot.py at its edges and beyond."""

import runpy

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
from matplotlib.figure import Figure
from running import process, script

from numpygpt.utils.paths import ROOT

WHAT = runpy.run_path(str(ROOT / "plot.py"))["WHAT"]
PARSERS = {what: parser_of("plot.py", what) for what in WHAT}

MODEL = [("run", OK), ("run/ckpt.npz", OK), ("nowhere", "nowhere"),
         ("dir", "best.npz"), ("empty.txt", "empty.txt"),
         (ESCAPE, r"\u001b[31mb"), (LONG, "xxx")]
METRICS = [("run", OK), ("run/metrics.jsonl", OK), ("nowhere", "nowhere"),
           ("dir", "metrics.jsonl"), ("empty.txt", "empty.txt"), (LONG, "xxx"),
           (NEWLINE, r"\u000ab:")]
PICTURE = ".png, .svg, .pdf"
OUT = [("new.png", OK), ("new.svg", OK), ("x\x1b[31m.png", OK), (f"{BYTES}.png", OK), ("new", PICTURE),
       ("new.txt", PICTURE), (".png", PICTURE), (NEWLINE, PICTURE), ("nowhere/x.png", "nowhere"),
       ("text.txt/x.png", "text.txt"), ("/proc/x.png", "/proc/x.png"),
       ("folder.png", "folder.png"), (f"{LONG}.png", "File name too long")]
SHOW = [(None, "--show")]
SMOOTH = [(0, OK), (1, OK), (10**12, OK), ("1e300", OK), (-1, "'-1'"),
          (0.5, "0.5"),
          ("nan", "'nan'"), ("inf", "'inf'"), ("", "''"),
          (10**400, "--smooth"), ("1e-400", "'1e-400'")]
TITLE = [("", OK), ("$\\frac{", OK), (LONG, OK)]
FILE = [("text.txt", OK), ("-", OK), ("nowhere", "No such file or directory: nowhere"),
        ("text.txt/x", "Not a directory: text.txt/x"), ("utf16.txt", "iconv -f utf-16 -t utf-8 utf16.txt"),
        (NEWLINE, r"a\u000ab"), (LONG, "File name too long")]
PROMPT = [("To", OK), ("", "--prompt"), ("Tü", OK), ("üß", "--prompt"), (BYTES, "DCE9")]
PROMPT_FILE = [*FILE[1:], ("one.txt", OK), ("empty.txt", "empty.txt"), ("dir", "Is a directory: dir")]
PRETRAINED = [("nowhere", "two models"), (ESCAPE, "two models")]  # besides the run
COMMON = {"run": MODEL, "--pretrained": PRETRAINED, "--out": OUT, "--show": SHOW}
TABLES = {
    "curves": {"runs": METRICS, "--x": [("time", OK), ("step", "invalid choice: 'step'")], "--smooth": SMOOTH,
               "--title": TITLE, "--out": OUT, "--show": SHOW},
    "compare": {"runs": METRICS, "--smooth": SMOOTH, "--title": TITLE, "--out": OUT, "--show": SHOW},
    "attention": COMMON | {
        "--prompt": [*PROMPT, ("To be" * 20, OK)], "--prompt-file": PROMPT_FILE,
        "--layer": [(0, OK), (-1, "--layer -1"), (1, "--layer 1"), (10**12, "1000000000000")],
        "--head": [(0, OK), (-1, "--head -1"), (1, "--head 1"), (10**12, "--head 1000000000000")]},
    "gradients": COMMON | {
        "--text": [*FILE, ("empty.txt", "empty.txt"), ("one.txt", "a single token"),
                   ("dir", "Is a directory: dir")],
        "--batch-size": [(1, OK), (256, OK), (0, "--batch-size"), (-1, "-1"),
                         (257, "257"), (10**12, "1000000000000")],
        "--seed": [(0, OK), (2**63 - 1, OK), (-1, "--seed")]},
    "tokens": COMMON | {
        "file": [*FILE, ("empty.txt", "0"), ("one.txt", "1"), ("dir", "dir")],
        "--lines": [(1, OK), (200, OK), (0, "--lines"), (-1, "-1"),
                    (201, "201"), (10**12, "1000000000000")]},
    "embeddings": COMMON | {
        "--neighbours": [("a", OK), ("\\n", OK), (" ", OK), ("", "''"), ("zz", "'zz'"),
                         (ESCAPE, r"'a\u001b[31mb'"), (BYTES, r"'caf\udce9'")],
        "--nearest": [(1, OK), (20, OK), (0, "--nearest"), (-1, "-1"),
                      (21, "21"), (10**12, "1000000000000")],
        "--tokens": [(3, OK), (10**12, OK), (2, "--tokens"), (-1, "-1")]},
    "architecture": COMMON | {
        "--preset": [("quick", OK), ("qick", "'qick'; did you mean quick?"), ("text.toml", "text.toml"),
                     (ESCAPE, r"'a\x1b[31mb'"), ("nowhere.toml", "nowhere.toml")],
        "--vocab-size": [(1, OK), (0, "vocab_size"), (-1, "-1"),
                         (10**12, "memory"), (2**62, "4611686018427387904")],
        "--batch-size": [(1, OK), (10**12, OK), (0, "--batch-size"), (-1, "-1")]},
    "explore": {
        "run": MODEL, "--pretrained": PRETRAINED, "--prompt": [*PROMPT, ("To be" * 20, "8")],
        "--prompt-file": PROMPT_FILE, "--target": [("a", OK), ("", "''"), ("zz", "'zz'")],
        "--out": [("new.html", OK), ("new.png", ".html"), ("text.txt/x.html", "text.txt"),
                  ("/proc/x.html", "/proc/x.html"), ("folder.html", "folder.html")]},
}  # fmt: skip
NEEDS = {"attention": ["--prompt", "To"], "explore": ["--prompt", "To"], "tokens": ["one.txt"], "compare": ["run"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A trained run and some texts."""
    folder = tmp_path_factory.mktemp("edges")
    for name, content in {"text": TEXT, "empty": "", "one": "T", "two": "To", "unknown": "Tü"}.items():
        (folder / f"{name}.txt").write_text(content, encoding="utf-8", newline="")
    (folder / "utf16.txt").write_bytes(TEXT.encode("utf-16"))
    (folder / "text.toml").write_text(TEXT, encoding="utf-8")
    for name in ("dir", "folder.png", "folder.html"):
        (folder / name).mkdir()
    for arguments in (["datagen.py", "--input", "text.txt", "--context", 8, "--out", "data"],
                      ["train.py", *TINY, "--data", "data", "--out", "run"]):
        assert script(*arguments, cwd=folder).returncode == 0
    return folder


@pytest.fixture
def unpainted(monkeypatch):
    """A picture is drawn whole, and only its last step, into a file's points, is left out: an empty file is written."""
    monkeypatch.setattr(Figure, "savefig", lambda figure, file, **options: None)


def words(what, flag, value):
    """A whole command line with the value in it."""
    told = [flag] if value is None else given(flag, value)
    if what == "tokens":
        file, run = (told, ["run"]) if flag == "file" else (["two.txt"], told if flag == "run" else ["run"])
        return [what, *file, *run, *([] if flag in ("file", "run") else told)]
    if flag == "--preset" or (what == "architecture" and flag == "--vocab-size"):
        return [what, *told, *(["--preset", "quick"] if flag == "--vocab-size" else ["--vocab-size", 9])]
    run = [] if flag in ("run", "runs") else ["run"]
    prompt = NEEDS.get(what, []) if what in ("attention", "explore") and not flag.startswith("--prompt") else []
    return [what, *run, *prompt, *told]


@pytest.mark.parametrize("what", WHAT)
def test_every_flag_has_its_edges(what):
    assert set(TABLES[what]) == set(actions(PARSERS[what]))


@pytest.mark.parametrize(("what", "flag", "value", "sentence"), [(what, *case) for what, parser in PARSERS.items()
                                                                 for case in kind_cases(parser)])
def test_what_a_flags_type_refuses(what, flag, value, sentence, capsys):
    needed = [] if flag in ("file", "runs") or flag.startswith("--prompt") else NEEDS.get(what, [])
    refused_by_parser(PARSERS[what], capsys, flag, value, sentence, *needed)


@pytest.mark.parametrize(("what", "flag", "value", "sentence"), [(what, *case) for what, cases in TABLES.items()
                                                                 for case in table(cases)])
def test_values(folder, unpainted, what, flag, value, sentence):
    judged("plot.py", words(what, flag, value), sentence, cwd=folder, text="To be")


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("what", WHAT)
def test_odd_names_of_runs_are_shown_without_doing_harm(folder, what, name):
    flag = next(iter(set(TABLES[what]) & {"run", "runs"}))
    judged("plot.py", words(what, flag, name), " ", cwd=folder)


@pytest.mark.parametrize("title", [f"{ESCAPE}{BYTES}{NEWLINE}\U0001f642\u202e", "$\\nosuch$"])
def test_a_title_of_any_signs_is_drawn(folder, title):
    judged("plot.py", ["curves", "run", f"--title={title}", "--out", "title.png"], OK, cwd=folder)


def test_misspelt_words_get_suggestions(folder):
    for arguments, sentence in [
        (["curvs"], "did you mean curves?"), (["run", "--smoth", 3], "did you mean --smooth?"),
        (["attention", "run"], "one of the arguments --prompt --prompt-file is required"),
        (["attention", "run", "--prompt", "a", "--prompt-file", "b"], "not allowed with argument --prompt"),
        (["run", "compare"], "compare run"), (["architecture", "run", "--preset", "quick"], "not both"),
        (["architecture", "run", "--vocab-size", 9], "--vocab-size"),
        (["compare"], "the following arguments are required: RUN"),
    ]:  # fmt: skip
        judged("plot.py", arguments, sentence, cwd=folder)


@pytest.mark.parametrize("backend", ["foo", "module://matplotlib_inline.backend_inline", "module://", "tkagg", " "])
def test_a_file_needs_no_backend_and_a_window_says_that_it_has_none(folder, backend):
    """Jupyter and Colab set MPLBACKEND for their child processes."""
    done = process("plot.py", "run", "--out", "b.png", cwd=folder, MPLBACKEND=backend)
    assert (done.returncode, done.stderr) == (0, "") and "wrote b.png" in done.stdout
    done = process("plot.py", "run", "--out", "b.png", "--show", cwd=folder, MPLBACKEND=backend)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
    assert done.stderr.startswith("plot.py: error: --show: ")


def test_a_users_matplotlibrc_changes_no_picture(folder, tmp_path):
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfont.size: 40\nsavefig.bbox: tight\n")
    for name, variables in (("own.png", {}), ("theirs.png", {"MATPLOTLIBRC": tmp_path})):
        done = process("plot.py", "run", "--out", name, cwd=folder, **variables)
        assert done.returncode == 0, done.stderr
    assert (folder / "own.png").read_bytes() == (folder / "theirs.png").read_bytes()
    (tmp_path / "matplotlibrc").write_bytes(b"\xff")
    done = process("plot.py", "run", "--out", "b.png", cwd=folder, MATPLOTLIBRC=tmp_path)
    assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith("plot.py: error: matplotlib")


def test_the_same_run_gives_the_same_picture(folder):
    pictures = []
    for name in ("a.svg", "b.svg"):
        judged("plot.py", ["tokens", "two.txt", "run", "--out", name], OK, cwd=folder)
        pictures.append((folder / name).read_bytes())
    assert pictures[0] == pictures[1]
