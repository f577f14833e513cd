"""Every command that datagen.py advises is one that works: each is taken from what it prints, and run."""

import json
import random
import re
import shlex

import pytest
from running import script

from numpygpt.data import TokenDataset
from numpygpt.tokenizer import BPETokenizer

rng = random.Random(1)
CHINESE = "".join(chr(0x4E00 + int(rng.expovariate(1 / 300)) % 3000) for _ in range(20_000))
WORDS = " ".join(f"word{int(rng.expovariate(1 / 200))}" for _ in range(9000))
SHORT = "to be, or not to be: that is the question\n" * 30
WARNED = {  # the text, and flags that lead to a warning with a command in it
    "chinese char": (CHINESE, ["--lowercase", "--val-fraction", "0.2"]),
    "chinese word": (re.sub("(.{9})", "\\1\n", CHINESE), ["--tokenizer", "word"]),
    "word": (WORDS, ["--tokenizer", "word", "--min-freq", "2"]),
    "word, few": (WORDS[:9000], ["--tokenizer", "word", "--context", "8"]),
    "bpe": (CHINESE, ["--tokenizer", "bpe", "--vocab-size", "3000"]),
    "bpe, few": (SHORT, ["--tokenizer", "bpe", "--min-freq", "1", "--context", "8"]),
    "given": (CHINESE, ["--tokenizer", "mine.json"]),
    "given, few": (SHORT, ["--tokenizer", "mine.json", "--context", "8"]),
}


def datagen(folder, *words):
    return script("datagen.py", *words, cwd=folder)


def advised(line):
    """The words behind the script's name, of the command at the end of a line."""
    return shlex.split(re.search(r"(?:datagen|train)\.py(?: .*)?$", line)[0])[1:]


@pytest.mark.parametrize("case", WARNED)
def test_the_command_in_a_warning_works_and_makes_a_smaller_vocabulary(case, tmp_path):
    text, flags = WARNED[case]
    (tmp_path / "my text.txt").write_text(text, encoding="utf-8")
    BPETokenizer().train(CHINESE, 1200).save(tmp_path / "mine.json")
    first = datagen(tmp_path, "--input", "my text.txt", "--out", "out", *flags)
    (warning,) = (line for line in first.stdout.splitlines() if line.startswith("warning: "))
    before = TokenDataset.load(tmp_path / "out").vocab_size
    second = datagen(tmp_path, *advised(warning))
    assert second.returncode == 0, second.stderr
    after = TokenDataset.load(tmp_path / "out")
    assert after.vocab_size < before
    assert after.meta["settings"]["lowercase"] is ("--lowercase" in flags)


def test_a_char_vocabulary_that_no_other_betters_gets_no_command(tmp_path):
    (tmp_path / "t.txt").write_text("".join(map(chr, range(300, 700))) * 2, encoding="utf-8")
    done = datagen(tmp_path, "--input", "t.txt", "--out", "out", "--context", "8")
    (warning,) = (line for line in done.stdout.splitlines() if line.startswith("warning: "))
    assert "--" not in warning and ".py" not in warning


def test_a_command_never_replaces_a_folder_of_another_name(tmp_path):
    (tmp_path / "t.txt").write_text(WORDS[:9000], encoding="utf-8")
    words = ["--input", "t.txt", "--tokenizer", "word", "--context", "8"]
    found = {}
    for out in ([], ["--out", "out"]):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("numpygpt.utils.paths.ROOT", tmp_path)
            done = datagen(tmp_path, *words, *out)
        (warning,) = (line for line in done.stdout.splitlines() if line.startswith("warning: "))
        found[bool(out)] = advised(warning)
    assert "--force" in found[True] and "--force" not in found[False]


@pytest.mark.parametrize("context", [8, 128])
def test_the_next_command_works(context, tmp_path):
    (tmp_path / "t.txt").write_text(SHORT if context == 8 else SHORT * 4, encoding="utf-8")
    done = datagen(tmp_path, "--input", "t.txt", "--out", "out", "--context", context)
    trained = script("train.py", *advised(done.stdout.splitlines()[-1]), "--dry-run", cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr


def test_force_and_another_folder_do_what_the_refusal_says(tmp_path):
    (tmp_path / "t.txt").write_text(SHORT, encoding="utf-8")
    words = ["--input", "t.txt", "--context", "8", "--out"]
    assert datagen(tmp_path, *words, "out").returncode == 0
    refused = datagen(tmp_path, *words, "out", "--lowercase")
    assert refused.returncode == 2 and "--force" in refused.stderr and "--out" in refused.stderr
    assert datagen(tmp_path, *words, "other", "--lowercase").returncode == 0
    assert datagen(tmp_path, *words, "out", "--lowercase", "--force").returncode == 0
    (tmp_path / "out" / "meta.json").write_text(json.dumps({}), encoding="utf-8")
    refused = datagen(tmp_path, *words, "out")
    assert refused.returncode == 2 and "--force" in refused.stderr
    assert datagen(tmp_path, *words, "out", "--force").returncode == 0
