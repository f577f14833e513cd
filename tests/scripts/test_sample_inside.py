"""./sample.py --explain and --score as they are typed."""

import re

import numpy as np
import pytest
from running import process, script

from numpygpt.inspection.score import score
from numpygpt.tokenizer import CharTokenizer
from numpygpt.training.checkpoint import save_checkpoint
from numpygpt.training.restore import restore

TEXT = "To be, or not to be:\nthat is the question.\n"


@pytest.fixture
def run(tmp_path, make_gpt):
    """A run folder with a model whose predictions are far from even."""
    tokenizer = CharTokenizer().train(TEXT)
    model = make_gpt(vocab_size=tokenizer.vocab_size, max_len=8, dtype="float32")
    header = {"model": model.config.to_dict(), "tokenizer": tokenizer.to_dict(), "step": 7,
              "data": {"corpus": "hamlet"},
              "last": {"step": 7, "val_loss": 1.5}, "best": {}, "config": {}}
    save_checkpoint(tmp_path / "ckpt.npz", header, {f"model/{name}": p for name, p in model.params().items()})
    return tmp_path


def sample(run, *arguments, **options):
    return script("sample.py", run, *arguments, **options)


def refused(done, *words):
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("sample.py: error: ") and done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr


def texts(explained):
    """What --explain says the text was, of each sample."""
    return [part.split("\n--- sample")[0] for part in re.split(r"\n--- the text\n", explained)[1:]]


@pytest.mark.parametrize("arguments", [
    ["--max-new-tokens", 40],  # five times the context
    ["--max-new-tokens", 20, "--slide", 4, "--prompt", "To be, or not to be"],
    ["--max-new-tokens", 12, "--temperature", 0, "--prompt", "that"],
    ["--max-new-tokens", 12, "--temperature", 1.4, "--top-k", 5, "--top-p", 0.8, "--seed", 3],
    ["--max-new-tokens", 60, "--stop", "e", "--seed", 2],
    ["--max-new-tokens", 0, "--prompt", "To"],
])
def test_explaining_draws_the_same_text(run, arguments):
    plain, explained = sample(run, *arguments), sample(run, *arguments, "--explain")
    assert explained.returncode == plain.returncode == 0, explained.stderr
    assert texts(explained.stdout) == [plain.stdout]
    assert explained.stderr == plain.stderr and "\x1b" not in explained.stdout


def test_several_samples_are_explained_one_by_one(run):
    arguments = ["--max-new-tokens", 10, "--num-samples", 3, "--prompt", "b"]
    plain, explained = sample(run, *arguments).stdout, sample(run, *arguments, "--explain").stdout
    expected = re.split(r"\n?--- sample \d\n", plain)[1:]
    assert [text.removesuffix("\n") for text in texts(explained)] == [text.removesuffix("\n") for text in expected]
    assert len(set(expected)) == 3
    assert re.findall(r"^--- sample \d$", explained, re.MULTILINE) == [f"--- sample {n}" for n in (1, 2, 3)]
    assert explained.count("rank") == 3 * 10 + 1  # a block each, and the legend, once


def test_an_explained_sample_is_short_unless_asked_otherwise(run, tmp_path):
    (tmp_path / "prompt.txt").write_text("be:\n", encoding="utf-8")
    done = sample(run, "--explain", "--prompt-file", tmp_path / "prompt.txt")
    assert len(texts(done.stdout)[0]) == len("be:\n") + 30 + 1
    assert "30 tokens, average surprise" in done.stdout
    assert len(sample(run).stdout) == 500 + 1


def test_each_block_names_the_token_that_the_text_has(run):
    done = sample(run, "--explain", "--max-new-tokens", 25, "--prompt", "T", "--top-p", 0.6)
    drawn = re.findall(r"^ +\d+  (\S+) .*\[(\S+)\]", done.stdout, re.MULTILINE)
    assert [left for left, _ in drawn] == [marked for _, marked in drawn] and len(drawn) == 25
    signs = {"·": " ", "⏎": "\n"}
    assert "T" + "".join(signs.get(left, left) for left, _ in drawn) + "\n" == texts(done.stdout)[0]
    assert "top-p" in done.stdout and max(map(len, done.stdout.splitlines())) <= 90


def test_colours_where_they_are_wanted(run, tmp_path):
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    for arguments in (["--explain", "--max-new-tokens", 3], ["--score", tmp_path / "text.txt"]):
        assert "\x1b" not in sample(run, *arguments).stdout
        assert "\x1b[48;5;" in sample(run, *arguments, FORCE_COLOR="1").stdout


def test_a_file_or_standard_input_is_scored(run, tmp_path):
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8", newline="")
    by_file = sample(run, "--score", tmp_path / "text.txt")
    by_pipe = process("sample.py", run, "--score", "-", text=TEXT)
    assert by_file.returncode == 0, by_file.stderr
    assert by_file.stdout == by_pipe.stdout and "ckpt.npz: step 7" in by_file.stderr
    model, tokenizer, _ = restore(run)
    loss = float(score(model, np.array(tokenizer.encode(TEXT))).mean(dtype=np.float64))
    assert f"{len(TEXT) - 1} predicted" in by_file.stdout
    bits = loss / np.log(2)
    for number in (f"{loss:.4f} nats", f"{np.exp(loss):.4g}", f"{bits:.4f} bits per token, {bits:.4f} bits per byte"):
        assert number in by_file.stdout
    assert "To·be,·or·not·to·be:⏎\n" in by_file.stdout and by_file.stdout.count("\n") > 20


@pytest.mark.parametrize(("content", "words"), [
    (b"", ["a text of 0 tokens", "longer text"]), (b"T", ["a text of 1 token cannot"]),
    (b"be\xff", ["text.txt is not UTF-8: byte 0xff at offset 2"]), ("é".encode(), ["'é'", "no character of"]),
])
def test_a_text_that_cannot_be_scored_is_one_line(run, tmp_path, content, words):
    (tmp_path / "text.txt").write_bytes(content)
    refused(sample(run, "--score", tmp_path / "text.txt"), *words)


def test_a_folder_and_a_file_that_is_not_there_are_one_line(run, tmp_path):
    refused(sample(run, "--score", tmp_path / "gone.txt"), "gone.txt")
    refused(sample(run, "--score", tmp_path), tmp_path.name)


@pytest.mark.parametrize("arguments", [
    ["--explain"], ["--prompt", "b"], ["--prompt-file", "x"], ["--temperature", 0], ["--top-k", 3], ["--top-p", 0.5],
    ["--stop", "x"], ["--num-samples", 2], ["--seed", 1], ["--slide", 2], ["--max-new-tokens", 500],
])
def test_scoring_takes_no_flag_of_sampling(run, arguments):
    refused(sample(run, "--score", "-", *arguments, text=TEXT), f"--score draws no tokens: leave {arguments[0]} out")


def test_a_model_without_capitals_says_so(run, tmp_path, make_gpt):
    tokenizer = CharTokenizer(lowercase=True).train(TEXT)
    model = make_gpt(vocab_size=tokenizer.vocab_size, max_len=8, dtype="float32")
    header = {"model": model.config.to_dict(), "tokenizer": tokenizer.to_dict(), "step": 7, "data": {"corpus": "x"},
              "last": {},
              "best": {}, "config": {}}
    save_checkpoint(tmp_path / "small.npz", header, {f"model/{name}": p for name, p in model.params().items()})
    done = sample(tmp_path / "small.npz", "--score", "-", text=TEXT)
    assert "note: " in done.stderr and "lower case" in done.stderr
    assert "to·be,·or" in done.stdout and "To" not in done.stdout.split("\n\n")[1]
