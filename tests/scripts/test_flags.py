"""What somebody types who knows another program, and whether what a script advises can be run."""

import os
import re
import shlex
import subprocess
import sys

import pytest
from edges import actions, parser_of
from running import process, script
from tiny import TINY, make_data

from numpygpt import __version__
from numpygpt.training.runs import run_suggestion
from numpygpt.utils import hints
from numpygpt.utils.paths import ROOT, command, display_path

SCRIPTS = ("datagen.py", "train.py", "sample.py", "plot.py", "test.py")


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_has_a_version(name):
    done = script(name, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"NumpyGPT {__version__}\n", "")


@pytest.mark.parametrize(("name", "typed", "meant"), [
    ("train.py", "--learning-rate", "--lr"), ("train.py", "--learning_rate", "--lr"), ("train.py", "-lr", "--lr"),
    ("train.py", "--n_embd", "--d-model"), ("train.py", "--n-embd", "--d-model"), ("train.py", "--LR", "--lr"),
    ("train.py", "--block_size", "--context"), ("train.py", "--max_iters", "--steps"),
    ("train.py", "--out_dir", "--out"), ("train.py", "--n_layer", "--n-layers"), ("train.py", "--n_head", "--n-heads"),
    ("train.py", "--batch_size", "--batch-size"), ("train.py", "--wd", "--weight-decay"),
    ("train.py", "--weight_decay", "--weight-decay"), ("train.py", "--dropout-rate", "--dropout"),
    ("train.py", "--eval_interval", "--eval-every"), ("train.py", "--seq-len", "--context"),
    ("train.py", "--hidden-size", "--d-model"), ("train.py", "--warmup_iters", "--warmup"),
    ("train.py", "--grad_clip", "--clip"), ("train.py", "--gradient_accumulation_steps", "--accumulate"),
    ("train.py", "--dataset", "--data"), ("train.py", "--init_from", "--init-from"), ("train.py", "--wandb", "--log"),
    ("train.py", "--num-workers", "--workers"), ("train.py", "--bs", "--batch-size"),
    ("sample.py", "--start", "--prompt"), ("sample.py", "--num_samples", "--num-samples"),
    ("sample.py", "--top_k", "--top-k"), ("sample.py", "--max_length", "--max-new-tokens"),
    ("sample.py", "--max_new_tokens", "--max-new-tokens"), ("sample.py", "--temp", "--temperature"),
    ("datagen.py", "--data", "--input"), ("datagen.py", "--vocab_size", "--vocab-size"),
    ("datagen.py", "--val-split", "--val-fraction"), ("plot.py", "--smoothing", "--smooth"),
])  # fmt: skip
def test_another_programs_flag_gets_the_name_of_ours(name, typed, meant):
    for words in ([typed, "1"], [f"{typed}=1"]):
        done = script(name, *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{typed}; did you mean {meant}?" in done.stderr


@pytest.mark.parametrize(("name", "typed", "words"), [
    ("train.py", "--epochs", "--steps"), ("train.py", "--gpu", "--device"), ("train.py", "--compile", "leave it"),
    ("train.py", "--decay_lr", "--warmup"), ("plot.py", "--device", "CPU"), ("train.py", "--fp16", "--precision"),
    ("sample.py", "--greedy", "--temperature 0"), ("sample.py", "--out_dir", "sample.py RUN"),
    ("train.py", "--config", "train.py PRESET"), ("plot.py", "--run", " RUN"),
])  # fmt: skip
def test_what_no_flag_does_gets_a_way(name, typed, words):
    done = script(name, f"{typed}=x")
    assert done.returncode == 2 and typed in done.stderr and words in done.stderr


def test_all_unknown_flags_are_answered_at_once():
    done = script("train.py", "--n_embd=64", "--n_layer", 2, "--bias=False")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "--bias or --no-bias" in done.stderr  # argparse ends at a value that it cannot take
    done = script("train.py", "--n_embd=64", "--n_layer", 2)
    assert "--d-model" in done.stderr and "--n-layers" in done.stderr


def test_the_command_of_plot_is_named(tmp_path):
    done = script("plot.py", "compare", "r", "--run=x", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("plot.py: error: ") and "plot.py compare RUN" in done.stderr


def test_a_hint_names_a_flag_of_the_script():
    """Every row of the table, for every script."""
    parsers = [*map(parser_of, SCRIPTS), parser_of("plot.py", "attention"), parser_of("plot.py", "tokens")]
    seen = set()
    for parser in parsers:
        flags = set(parser._option_string_actions)
        for names in [*hints.OTHERS.values(), *hints.ABSENT, *hints.WITHOUT_A_FLAG.values()]:
            for other in names.split():
                found = hints.hint(f"--{other}", parser, "./x.py")
                assert set(re.findall(r"--[a-z][a-z0-9-]*", found)) <= flags, (parser.prog, other, found)
                seen.update(re.findall(r"--[a-z][a-z0-9-]*", found))
    assert set(hints.OTHERS) - seen <= {"--eval-tokens"}  # each row is of use to a script
    everything = {flag for parser in parsers for flag in actions(parser)}
    for name, others in hints.OTHERS.items():
        assert f"--{name}" not in others.split() and name in everything | {"--eval-tokens"}


# -- advice that can be followed


ODD = ["-dash", "--out", "two words", "it's", 'a "quote"', "new\nline", "caf\udce9", "é", "$HOME", "*", "compare"]


@pytest.mark.skipif(sys.platform != "linux" or not os.path.exists("/bin/bash"), reason="names of bytes, and bash")
@pytest.mark.parametrize("name", ODD)
def test_a_printed_command_runs_whatever_the_folders_name_is(name, tmp_path, monkeypatch):
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    line = command("sample.py", display_path(name), "--top-k", "0")
    assert line.isascii() or name == "é"
    done = subprocess.run(["/bin/bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True)
    words = done.stdout.split(b"\0")[:-1]
    assert os.path.samefile(words[0], ROOT / "sample.py") and not words[1].startswith(b"-")
    assert os.path.samefile(words[1], tmp_path / name) and words[2:] == [b"--top-k", b"0"]


def test_the_next_commands_of_a_run_with_an_odd_name_run(tmp_path):
    data = make_data(tmp_path / "data")
    for out in ("-dash", "compare"):
        done = process("train.py", *TINY, "--data", data, f"--out={out}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        commands = done.stdout.splitlines()[-1].removeprefix("next: ").split("   and   ")
        assert len(commands) == 2
        for line in commands:
            done = subprocess.run([sys.executable, *shlex.split(line)], cwd=tmp_path, capture_output=True)
            assert done.returncode == 0, done.stderr
        assert (tmp_path / out / "curves.png").exists()


def test_a_run_that_is_not_there_gets_those_that_are(tmp_path, monkeypatch):
    monkeypatch.setattr("numpygpt.utils.paths.ROOT", tmp_path / "project")
    monkeypatch.chdir(tmp_path)
    assert run_suggestion("runs/nope").endswith(f"first: {command('train.py', 'quick')}")
    for number, run in enumerate(["runs/abc", "runs/xyz", "project/runs/far"]):
        (tmp_path / run).mkdir(parents=True)
        (tmp_path / run / "metrics.jsonl").touch()
        os.utime(tmp_path / run / "metrics.jsonl", (number, number))
    assert run_suggestion("far") == "; did you mean project/runs/far?"
    assert run_suggestion("runs/abd") == "; did you mean runs/abc?"
    assert run_suggestion("runs/q").endswith(" project/runs/far, runs/xyz, runs/abc")
    for number in range(9):
        (tmp_path / f"runs/{number}{number}").mkdir()
        (tmp_path / f"runs/{number}{number}/metrics.jsonl").touch()
    assert run_suggestion("runs/q").endswith(" and 7 more")


@pytest.mark.skipif(sys.platform != "linux", reason="a locale that is not UTF-8")
def test_a_text_arrives_as_it_was_typed_in_every_locale(tmp_path):
    data, run = make_data(tmp_path / "data", "bpe"), tmp_path / "run"
    assert script("train.py", *TINY, "--data", data, "--out", run).returncode == 0
    found = [process("sample.py", run, "--prompt", "é", "--stop", "ß", "--max-new-tokens", 3, **variables)
             for variables in ({}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})]
    assert [done.returncode for done in found] == [0, 0], found[1].stderr
    assert found[0].stdout == found[1].stdout and found[0].stdout.startswith("é")
    for flag in ("--prompt", "--stop"):  # bytes that are no text
        done = process("sample.py", run, flag, "caf\udce9")
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and "dce9" in done.stderr.lower()


def test_what_plot_advises_runs(tmp_path):
    """Each printed command is run as it is printed."""
    for name, tokenizer in (("a", "char"), ("b", "bpe")):
        data = make_data(tmp_path / f"data {name}", tokenizer)
        assert script("train.py", *TINY, "--data", data, "--out", tmp_path / f"run {name}").returncode == 0
    for words, line in ((["run a", "run b"], -2), (["run a", "compare", "run b"], -1), (["run a", "attention"], -1)):
        done = script("plot.py", *words, cwd=tmp_path)
        advice = (done.stdout + done.stderr).splitlines()[line]
        command = shlex.split(advice[advice.index(str(ROOT / "plot.py")) :].rstrip(")"))
        assert command[1] in ("compare", "attention") and "run a" in command
        more = ["--prompt", "To"] if command[1] == "attention" else []
        done = script("plot.py", *command[1:], *more, cwd=tmp_path)
        assert done.returncode == 0, done.stderr


def test_a_folder_without_a_checkpoint_is_not_to_be_resumed(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text("{}\n")
    done = script("train.py", "--data", make_data(tmp_path / "data"), "--out", tmp_path / "run")
    assert done.returncode == 2 and "--out" in done.stderr and "--resume" not in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="names of bytes")
@pytest.mark.parametrize("name", ["é", "caf\udce9"])
def test_a_runs_name_of_any_bytes_is_drawn_and_read_in_every_locale(name, tmp_path):
    assert script("train.py", *TINY, "--data", make_data(tmp_path / "data"), "--out", tmp_path / "run").returncode == 0
    (tmp_path / "run").rename(tmp_path / name)
    for variables in ({}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}):
        for words in ([name], ["compare", name]):
            done = process("plot.py", *words, "--out", "a.svg", cwd=tmp_path, **variables)
            assert (done.returncode, done.stderr) == (0, "")
            assert ("é" if name == "é" else "udce9") in done.stdout
        (tmp_path / "é.txt").write_text("To be, or not to be")
        done = process("datagen.py", "--input", "é.txt", "nowhere", cwd=tmp_path, **variables)
        assert done.returncode == 2 and "nowhere" in done.stderr  # the first is found
