"""Names of files and folders that are not UTF-8: they work, or are refused with a true sentence."""

import json
import os
import shlex
import subprocess
import tomllib

import pytest
from edges import TEXT, TINY
from running import script

from numpygpt.data import TokenDataset
from numpygpt.utils.paths import quoted

NAME, SHOWN = "caf\udce9", r"caf\udce9"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A text, a data folder and a run with such names."""
    folder = tmp_path_factory.mktemp("names")
    try:
        (folder / f"{NAME}.txt").write_text(TEXT, encoding="utf-8", newline="")
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    (folder / NAME).mkdir()
    (folder / NAME / f"{NAME}.txt").write_text(TEXT, encoding="utf-8", newline="")
    for words in (["datagen.py", "--input", f"{NAME}.txt", "--context", 8, "--out", f"{NAME}_data"],
                  ["datagen.py", "--input", f"{NAME}.txt", "--context", 8, "--out", "data"],
                  ["train.py", *TINY, "--data", "data", "--out", "run"]):
        done = script(*words, cwd=folder)
        assert done.returncode == 0, done.stderr
    os.rename(folder / "run", folder / f"{NAME}_run")
    return folder


@pytest.mark.parametrize("given", [f"{NAME}.txt", NAME, f"{NAME}/*.txt", "caf?.txt"])
def test_an_input(folder, tmp_path, given):
    done = script("datagen.py", "--input", given, "--context", 8, "--out", tmp_path / "data", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert SHOWN in json.loads((tmp_path / "data" / "meta.json").read_text(encoding="utf-8"))["source"]
    assert TokenDataset.load(tmp_path / "data").meta["train"]["characters"] > 0
    assert script("datagen.py", "--inspect", tmp_path / "data", cwd=folder).returncode == 0


def test_a_data_folder_and_its_tokenizer(folder, tmp_path):
    assert script("datagen.py", "--inspect", f"{NAME}_data", cwd=folder).returncode == 0
    done = script("datagen.py", "--input", f"{NAME}.txt", "--context", 8, "--out", tmp_path / "data", "--tokenizer",
                  f"{NAME}_data/tokenizer.json", cwd=folder)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"{SHOWN}_data/tokenizer.json" in done.stdout


@pytest.mark.parametrize(("flag", "other"), [("--data", ["--out", "new"]), ("--out", ["--data", "data"])])
def test_training_keeps_names_in_a_text_and_says_so(folder, flag, other):
    done = script("train.py", *TINY, *other, flag, f"{NAME}_new", cwd=folder)
    assert done.returncode == 2 and SHOWN in done.stderr and "config.toml" in done.stderr and "UTF-8" in done.stderr
    assert not (folder / f"{NAME}_new").exists()


def test_no_command_is_printed_that_training_would_refuse(folder, tmp_path):
    done = script("datagen.py", "--input", f"{NAME}.txt", "--context", 8, "--out", tmp_path / NAME, cwd=folder)
    assert done.returncode == 0 and "train.py --data" not in done.stdout and "rename" in done.stdout


@pytest.mark.parametrize("words", [
    ["sample.py", f"{NAME}_run", "--max-new-tokens", 3], ["sample.py", f"{NAME}_run", "--score", f"{NAME}.txt"],
    ["sample.py", f"{NAME}_run", "--max-new-tokens", 3, "--prompt-file", f"{NAME}.txt"],
    ["plot.py", "curves", f"{NAME}_run", "--out", f"{NAME}.png"], ["plot.py", "compare", f"{NAME}_run"],
    ["plot.py", "tokens", f"{NAME}.txt", f"{NAME}_run"], ["plot.py", "architecture", f"{NAME}_run"]])
def test_a_run_and_the_files_that_are_given_with_it(folder, words):
    done = script(*words, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "codec" not in done.stderr


def test_what_is_not_there_is_named(folder):
    for words in (["datagen.py", "--input", f"{NAME}_no"], ["sample.py", f"{NAME}_no"], ["plot.py", f"{NAME}_no"],
                  ["datagen.py", "--tokenizer", f"{NAME}_no", "--input", f"{NAME}.txt"]):
        done = script(*words, cwd=folder)
        assert done.returncode == 2 and f"{SHOWN}_no" in done.stderr and "codec" not in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell is called")
@pytest.mark.parametrize("name", ["a.txt", "a b.txt", "it's", f"{NAME}'\\ $x", "a\nb\x1b", "\u202etxt", "é"])
def test_a_name_in_a_command_is_the_same_name(name):
    word = quoted(name)
    assert word.isprintable()
    done = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True)
    assert os.fsdecode(done.stdout) == name
    assert word == shlex.quote(name) or not name.isprintable()


def test_a_runs_configuration_is_still_text(folder):
    assert tomllib.loads((folder / f"{NAME}_run" / "config.toml").read_text(encoding="utf-8"))["steps"] == 2
