"""./plot.py explore: the file that it writes, read by a parser as a browser would, and what it says of mistakes."""

import base64
import hashlib
import json
import re
import tomllib
from fnmatch import fnmatch
from html.parser import HTMLParser
from pathlib import Path

import matplotlib
import numpy as np
import pytest

import plot
from numpygpt import GPT
from numpygpt.inspection import probe
from numpygpt.plots import explore
from numpygpt.tokenizer import BPETokenizer, CharTokenizer
from numpygpt.training.checkpoint import save_checkpoint
from numpygpt.utils.colour import signs

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = "</script><script>alert(1)</script><!--<img src=x onerror='alert(2)'>\"&lt;&amp;\u2028\u2029\u200f😀你\n]]>\\"


def save_run(folder, tokenizer, **changes):
    """A run folder with an untrained model, as train.py would leave it."""
    sizes = {"vocab_size": tokenizer.vocab_size, "max_len": 128, "d_model": 8, "n_heads": 2, "n_layers": 2}
    model = GPT(**(sizes | changes), seed=3)
    rng = np.random.default_rng(5)
    for param in model.params().values():
        param += 0.3 * rng.standard_normal(param.shape).astype(param.dtype)
    folder.mkdir(parents=True)
    header = {"step": 7, "last": {"step": 7, "val_loss": 2.5}, "best": None, "config": {},
              "model": model.config.to_dict(),
              "tokenizer": tokenizer.to_dict(), "data": {"corpus": "<i>verse"}}  # fmt: skip
    save_checkpoint(folder / "best.npz", header, {f"model/{name}": param for name, param in model.params().items()})
    return model


class Reader(HTMLParser):
    """The elements of a page, and the text of its title, styles and scripts."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.inside = [], {"title": [], "style": [], "script": []}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag in self.inside:
            self.inside[tag].append("")

    def handle_data(self, text):
        if self.inside.get(self.lasttag):
            self.inside[self.lasttag][-1] += text

    def handle_endtag(self, tag):
        self.lasttag = ""

    def one(self, **wanted):
        (found,) = [attributes for _, attributes in self.elements if wanted.items() <= attributes.items()]
        return found

    @property
    def data(self):
        return json.loads(self.inside["script"][0])


def made(capsys, *args):
    plot.main(["explore", *map(str, args)])
    return capsys.readouterr().out.splitlines()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / 'a <b>"run"&'
    return folder, save_run(folder, CharTokenizer().train(HOSTILE + "abcdefghijklm"))


def test_the_page_is_written_beside_the_checkpoint(run, capsys):
    folder, model = run
    lines = made(capsys, folder, "--prompt", "abcabc")
    page = (folder / "explore.html").read_text(encoding="utf-8")
    assert lines[1] == f"a page of 6 tokens, {len(page.encode()) / 1e6:.2f} MB; open it in a browser"
    assert all(words in lines[0] for words in ("step 7", "2.500", f"{model.n_params():,}"))
    assert lines[-1].endswith("explore.html") and lines[-1].startswith("wrote ")
    data = Reader(page).data
    assert [data["labels"][str(id)] for id in data["ids"]] == list("abcabc")
    norms = np.linalg.norm(probe.residual_stream(model, data["ids"]), axis=-1)
    np.testing.assert_allclose(data["stream"], norms, rtol=1e-5)


def test_a_file_and_a_target(run, capsys, tmp_path):
    folder, _ = run
    (tmp_path / "text").write_bytes(b"abc\n")
    made(capsys, folder, "--prompt-file", tmp_path / "text", "--target", "m", "--out", tmp_path / "x.html")
    data = Reader((tmp_path / "x.html").read_text(encoding="utf-8")).data
    assert "".join(data["labels"][str(id)] for id in data["ids"]) == "abc⏎"
    assert data["given"] and data["labels"][str(data["targets"][-1][0])] == "m"


def test_a_text_that_is_html_changes_nothing_but_the_data(run, capsys, tmp_path):
    folder, _ = run
    pages = []
    for text in (HOSTILE, "a" * len(HOSTILE)):
        made(capsys, folder, "--prompt", text, "--out", tmp_path / "x.html")
        pages.append((tmp_path / "x.html").read_text(encoding="utf-8"))
    read, plain = map(Reader, pages)
    assert read.elements == plain.elements
    assert len(read.inside["script"]) == 2
    assert read.inside["script"][1] == plain.inside["script"][1]
    data = read.data
    assert "".join(data["labels"][str(id)] for id in data["ids"]) == "".join(signs(HOSTILE))
    assert read.inside["script"][0].isascii()
    assert not set("<>&") & set(read.inside["script"][0])


def test_the_run_name_is_text_too(run, capsys):
    folder, _ = run
    made(capsys, folder, "--prompt", "abc")
    page = (folder / "explore.html").read_text(encoding="utf-8")
    assert "<b>" not in page and "<i>" not in page
    read = Reader(page)
    assert read.inside["title"] == ['Inside a <b>"run"&, step 7'] and read.data["title"] == read.inside["title"][0]
    assert any("<i>verse" in fact for fact in read.data["facts"])


def test_it_loads_nothing_and_runs_nothing_but_its_own(run, capsys):
    folder, _ = run
    made(capsys, folder, "--prompt", "abc")
    page = (folder / "explore.html").read_text(encoding="utf-8")
    read = Reader(page)
    assert not re.search(r"https?:|//\w+\.\w|@import|url\(", page)
    for tag, attributes in read.elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base", "form")
        assert not {"src", "href", "style", "srcdoc", "action"} & set(attributes)
        assert not any(name.startswith("on") for name in attributes)
    rules = read.one(**{"http-equiv": "Content-Security-Policy"})["content"].split("; ")
    policy = dict(rule.split(" ", 1) for rule in rules)
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    for kind, text in (("style-src", read.inside["style"][0]), ("script-src", read.inside["script"][1])):
        assert policy[kind] == f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
    assert set(policy) == {"default-src", "style-src", "script-src", "base-uri", "form-action"}


def test_text_only_ever_becomes_text_and_nothing_moves():
    script = "".join(map(explore.source, explore.SCRIPTS))
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "fetch(",
                 "XMLHttpRequest", "import(", "setTimeout", "requestAnimationFrame", "DOMParser"):
        assert word not in script, word
    assert not re.search("transition|animation|scroll-behavior", explore.source("page.css"))


def test_every_id_that_a_script_looks_for_is_in_the_page_and_every_name_is_used():
    page = Reader(explore.source("page.html"))
    there = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    script = "".join(map(explore.source, explore.SCRIPTS))
    assert len(there) == len(set(there))
    looked_for = set(re.findall(r'(?:find|getElementById)\("([\w-]+)"\)', script))
    labels = {of[name] for _, of in page.elements for name in ("aria-labelledby", "for") if name in of}
    sections = {"text", "overview", "attention", "predictions", "stream", "gradient", "backward"}  # of styles and tour
    assert looked_for | labels | sections == set(there)


def test_a_page_stays_below_five_megabytes_and_says_which_layers_it_takes_apart(capsys, tmp_path):
    letters = "".join(map(chr, range(33, 98)))
    save_run(tmp_path / "run", CharTokenizer().train(letters), n_layers=4, n_heads=4, d_model=448)
    made(capsys, tmp_path / "run", "--prompt", (2 * letters)[:128])
    page = (tmp_path / "run" / "explore.html").read_text(encoding="utf-8")
    assert 3_000_000 < len(page.encode()) < 5_000_000
    assert Reader(page).data["layers"] == [0, 1, 2, 3]
    assert Reader(page).data["backward"]["layers"] == [0, 2, 3]


def test_tokens_that_are_parts_of_characters(capsys, tmp_path):
    tokenizer = BPETokenizer().train("abc abd 你好 " * 9, 264)
    save_run(tmp_path / "run", tokenizer)
    made(capsys, tmp_path / "run", "--prompt", "ab 😀\\xe2")
    data = Reader((tmp_path / "run" / "explore.html").read_text(encoding="utf-8")).data
    labels = [data["labels"][str(id)] for id in data["ids"]]
    assert "\\xf0" in labels and "\\x9f" in labels  # bytes of the smiling face
    assert "".join(labels).endswith("\\\\xe2")  # and the text that looks like one
    assert any("part of a character" in line for line in data["signs"])


def test_a_text_that_the_tokenizer_changes_is_told(capsys, tmp_path):
    save_run(tmp_path / "run", CharTokenizer(lowercase=True).train("abc"))
    assert "note: to this model the text reads 'abc'" in made(capsys, tmp_path / "run", "--prompt", "AbC")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--prompt", ""], "--prompt is empty"),
        (["--prompt", "a" * 129], "129 .*128"),
        (["--prompt", "ZZ"], r"no character of --prompt .*'Z' \(2\)"),
        (["--prompt", "a", "--target", "ab"], "'ab'; .*: a b"),
        (["--prompt", "a", "--target", ""], "is ''"),
        (["--prompt", "a", "--out", "x.png"], r"x\.png.*\.html"),
        (["--prompt", "a", "--out", "nowhere/x.html"], "nowhere"),
    ],
)
def test_mistakes(run, args, said):
    with pytest.raises((ValueError, FileNotFoundError), match=said.replace("|", r"\|")):
        plot.main(["explore", str(run[0]), *args])


def test_a_prompt_must_be_given_and_a_run_be_there(run, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        plot.main(["explore", str(run[0])])
    assert "--prompt --prompt-file is required" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match="nothing"):
        plot.main(["explore", str(tmp_path / "nothing"), "--prompt", "a"])


def test_what_the_page_is_made_of_is_installed_with_the_package():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["numpygpt.plots.explore"]
    files = [path.name for path in explore.HERE.iterdir() if path.is_file() and path.suffix != ".py"]
    assert {"page.html", "page.css", *explore.SCRIPTS} == set(files)
    assert all(any(fnmatch(name, pattern) for pattern in patterns) for name in files)


def test_the_colours_are_cividis():
    found = re.findall(r'"#([0-9a-f]{6})"', explore.source("colour.js"))
    true = matplotlib.colormaps["cividis"](np.linspace(0, 1, len(found)), bytes=True)[:, :3]
    assert len(found) == 33
    assert abs(np.array([list(bytes.fromhex(hex)) for hex in found]) - true.astype(int)).max() <= 1
