"""The scripts as a user calls them, on a tiny model."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from running import process, script

from numpygpt.training.checkpoint import load_checkpoint, save_checkpoint
from numpygpt.training.metrics import read_metrics
from numpygpt.utils.paths import ROOT

TINY = ["--n-layers", "2", "--n-heads", "2", "--d-model", "16", "--context", "16", "--batch-size", "4", "--steps", "30",
        "--warmup", "5", "--eval-every", "10", "--sample-tokens", "20", "--lr", "1e-2", "--workers", "2"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scripts")
    text = folder / "text.txt"
    text.write_text("To be, or not to be: that is the question.\n" * 60, encoding="utf-8", newline="")
    done = script("datagen.py", "--input", text, "--out", folder / "data", "--context", 16)
    assert done.returncode == 0, done.stderr
    return folder / "data"


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "tiny"
    done = process("train.py", *TINY, "--data", data, "--out", out)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def one_line(done, *words):
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr


def test_training_says_what_it_does_and_learns(run):
    out, text = run
    for word in ("parameters", "bits/byte", "ms per step", "30 steps", "sample.py", "plot.py", str(out)):
        assert word in text
    metrics = read_metrics(out / "metrics.jsonl")
    assert metrics.train["step"].tolist() == list(range(1, 31))
    assert metrics.eval["step"].tolist() == [0, 10, 20, 30]
    assert metrics.eval["val_loss"][-1] < metrics.eval["val_loss"][0] - 0.5
    assert metrics.train["lr"][4] == pytest.approx(1e-2) == metrics.train["lr"].max()
    samples = (out / "samples.txt").read_text(encoding="utf-8")
    assert [line for line in samples.splitlines() if line.startswith("---")] == [
        "--- step 0", "--- step 10", "--- step 20", "--- step 30"]
    assert sorted(p.name for p in out.iterdir()) == ["best.npz", "ckpt.npz", "config.toml", "metrics.jsonl",
                                                     "samples.txt"]


def test_a_run_is_never_overwritten(run, data):
    out, _ = run
    before = (out / "metrics.jsonl").read_bytes()
    one_line(script("train.py", *TINY, "--data", data, "--out", out), "--resume")
    assert (out / "metrics.jsonl").read_bytes() == before


def test_a_run_that_was_interrupted_goes_on_as_if_it_had_not_been(data, run, tmp_path):
    out = tmp_path / "cut"
    long = ["--steps", "4000", "--eval-every", "4000"]
    process = subprocess.Popen([sys.executable, ROOT / "train.py", *TINY, *long, "--data", data, "--out", out],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8")
    for line in process.stdout:
        if "ms per step" in line:
            break
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "stopped after step" in rest and f"--resume {out}" in rest
    step = load_checkpoint(out / "ckpt.npz").header["step"]
    assert 20 <= step < 4000
    steps = step + 25
    resumed = script("train.py", "--resume", out, "--steps", steps, "--warmup", 5)
    assert resumed.returncode == 0, resumed.stderr
    metrics = read_metrics(out / "metrics.jsonl")
    assert metrics.train["step"].tolist() == list(range(1, steps + 1))
    assert f"done: {steps} steps" in resumed.stdout


def test_a_run_that_was_stopped_before_its_first_step_goes_on(data, tmp_path):
    out = tmp_path / "early"
    done = script("train.py", *TINY, "--data", data, "--out", out, "--steps", 10)
    assert done.returncode == 0, done.stderr
    header = dict(load_checkpoint(out / "ckpt.npz").header)
    kept = load_checkpoint(out / "ckpt.npz").arrays
    again = tmp_path / "again"
    again.mkdir()
    (again / "metrics.jsonl").write_bytes(b"")  # what a kill before the first save leaves
    assert script("train.py", *TINY, "--data", data, "--out", again, "--steps", 10).returncode == 0
    rows = (out / "metrics.jsonl").read_text().splitlines()
    (out / "metrics.jsonl").write_text(rows[0] + "\n")  # stopped after the evaluation at step 0
    counts = {"step": 0, "tokens": 0, "last": {"step": 0, "val_loss": 2.9}, "best": {"step": 0, "val_loss": 2.9}}
    counts |= {"loader": {"epoch": 0, "position": 0}, "optimizer": {"name": "adamw", "steps": 0}}
    save_checkpoint(out / "ckpt.npz", header | counts, kept)
    resumed = script("train.py", "--resume", out)
    assert resumed.returncode == 0, resumed.stderr
    assert read_metrics(out / "metrics.jsonl").eval["step"].tolist() == [0, 10]


def test_the_warning_against_overfitting_remembers_the_sessions_before(run):
    out, _ = run
    spec = importlib.util.spec_from_file_location("script_train", ROOT / "train.py")
    train = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(train)
    remembering = train.RunLoop.__new__(train.RunLoop)
    remembering.out, remembering.history, remembering.losses = out, [], []
    remembering.trainer = SimpleNamespace(last={"step": 30})
    remembering.remember()
    metrics = read_metrics(out / "metrics.jsonl")
    assert [step for step, _, _ in remembering.history] == [0, 10, 20, 30]
    assert [val for _, val, _ in remembering.history] == metrics.eval["val_loss"].tolist()
    assert remembering.history[2][2] == pytest.approx(metrics.train["loss"][10:20].mean())
    assert remembering.losses == []


def test_a_space_after_the_prompt_is_kept_by_a_word_model(tmp_path):
    (tmp_path / "text.txt").write_text("the cat sat on the mat and the dog sat on the rug . " * 40, encoding="utf-8")
    folder, out = tmp_path / "words", tmp_path / "run"
    assert script("datagen.py", "--input", tmp_path / "text.txt", "--tokenizer", "word", "--out", folder,
                  "--context", 16).returncode == 0
    assert script("train.py", *TINY, "--data", folder, "--out", out).returncode == 0
    text = script("sample.py", out, "--prompt", "the cat", "--max-new-tokens", 5, "--temperature", 0).stdout
    assert text.startswith("the cat ") and "cats" not in text


def test_a_dry_run_makes_no_data(tmp_path):
    shutil.copytree(ROOT / "numpygpt", tmp_path / "numpygpt")
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    shutil.copy(ROOT / "train.py", tmp_path)
    done = process("train.py", "--dry-run", root=tmp_path)
    one_line(done, "datagen.py")
    assert not (tmp_path / "data").exists()


def test_resuming_keeps_the_model_and_the_data(run, tmp_path):
    out, _ = run
    one_line(script("train.py", "--resume", out, "--out", tmp_path), "--out")
    one_line(script("train.py", "--resume", out, "--steps", 20, "--warmup", 5), "30")
    one_line(script("train.py", "--resume", out, "--d-model", 32), "d_model", "16")
    one_line(script("train.py", "quick", "--resume", out), "--init-from")
    one_line(script("train.py", "--resume", out / "nothing"), "nothing")


def test_a_run_can_begin_with_the_parameters_of_another(run, data, tmp_path):
    out, _ = run
    done = script("train.py", "--init-from", out, "--data", data, "--out", tmp_path / "next", "--steps", 5,
                  "--warmup", 0, "--eval-every", 5, "--sample-tokens", 0, "--batch-size", 4)
    assert done.returncode == 0, done.stderr
    first = read_metrics(tmp_path / "next" / "metrics.jsonl").eval["val_loss"][0]
    assert first == pytest.approx(load_checkpoint(out / "best.npz").header["last"]["val_loss"], rel=1e-5)


@pytest.mark.parametrize(("arguments", "words"), [
    (["qick"], ["'qick'", "did you mean quick?"]),
    (["--d-modle", "3"], ["unknown argument --d-modle", "did you mean --d-model?"]),
    (["--batch-size", "x"], ["--batch-size", "'x'"]),
    (["--steps", "100", "--warmup", "800"], ["800", "100"]),
    (["--data", "nowhere", "--out", "new"], ["nowhere", "datagen.py"]),
    (["--init-from", "nowhere"], ["nowhere"]),
])
def test_bad_input_is_one_line_and_status_two(arguments, words, tmp_path):
    one_line(script("train.py", *arguments, cwd=tmp_path), *words)
    assert os.listdir(tmp_path) == []


def test_a_context_longer_than_the_data_is_refused_with_the_numbers(data, tmp_path):
    done = script("train.py", "quick", "--data", data, "--context", 5000, "--out", tmp_path / "x")
    one_line(done, "5,000", "smaller")


def test_a_dry_run_writes_nothing(data, tmp_path):
    done = script("train.py", *TINY, "--data", data, "--out", tmp_path / "x", "--dry-run")
    assert done.returncode == 0 and "parameters" in done.stdout
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("flags", "words"), [(["--context", 17], ["--context", "16", "17"]),
                                              (["--d-model", 32], ["--init-from", "d_model", "16"]),
                                              (["--lora-rank", 17], ["rank", "17"]),
                                              (["--lora-rank", 1, "--lora-targets", "attention"],
                                               ["'attention'", "attn.qkv"])])
def test_a_model_of_another_shape_is_not_begun_with(flags, words, run, data, tmp_path):
    one_line(script("train.py", "--init-from", run[0], "--data", data, "--out", tmp_path / "x", *flags), *words)
    assert not (tmp_path / "x").exists()


def test_a_loss_that_is_not_finite_names_the_layer_and_the_last_checkpoint(data, tmp_path):
    done = script("train.py", *TINY, "--data", data, "--out", tmp_path / "x", "--lr", "1e30", "--clip", "0",
                  "--optimizer", "sgd", "--warmup", "0")
    assert done.returncode == 2 and "Warning" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert "is not finite" in last and "layer" in last and "ckpt.npz" in last and "3e-03" in last
    assert load_checkpoint(tmp_path / "x" / "ckpt.npz").header["step"] == 0


def test_sampling_says_what_it_loaded_and_repeats_with_its_seed(run):
    out, _ = run
    first = script("sample.py", out, "--prompt", "To be", "--max-new-tokens", 40)
    assert first.returncode == 0
    assert first.stdout.startswith("To be") and len(first.stdout) == 5 + 40 + 1
    assert "best.npz: step" in first.stderr and "validation loss" in first.stderr and "char tokenizer" in first.stderr
    assert script("sample.py", out, "--prompt", "To be", "--max-new-tokens", 40).stdout == first.stdout
    other = script("sample.py", out, "--prompt", "To be", "--max-new-tokens", 40, "--seed", 1)
    assert other.stdout != first.stdout
    several = script("sample.py", out, "--prompt", "To be", "--max-new-tokens", 40, "--num-samples", 2)
    assert several.stdout == f"--- sample 1\n{first.stdout}--- sample 2\n{other.stdout}"


def test_an_empty_prompt_a_file_and_standard_input_work(run, tmp_path):
    out, _ = run
    assert len(script("sample.py", out, "--max-new-tokens", 10).stdout) == 11
    (tmp_path / "p.txt").write_text("be,", encoding="utf-8")
    by_file = script("sample.py", out, "--prompt-file", tmp_path / "p.txt", "--max-new-tokens", 10)
    by_pipe = script("sample.py", out, "--prompt-file", "-", "--max-new-tokens", 10, text="be,")
    assert by_file.stdout == by_pipe.stdout and by_file.stdout.startswith("be,")


def test_a_sample_ends_before_the_stop_text(run):
    out, _ = run
    whole = script("sample.py", out, "--prompt", "T", "--max-new-tokens", 60, "--temperature", 0).stdout
    stop = whole[20:23]
    cut = script("sample.py", out, "--prompt", "T", "--max-new-tokens", 60, "--temperature", 0, "--stop", stop).stdout
    assert cut == whole[: whole.index(stop, 1)] + "\n"


@pytest.mark.parametrize(("arguments", "word"), [
    (["--prompt", "é"], "'é'"), (["--top-k", "0"], "top_k"), (["--top-p", "2"], "top_p"),
    (["--temperature", "-1"], "temperature"), (["--num-samples", "0"], "--num-samples"), (["--seed", "-1"], "--seed"),
    (["--max-new-tokens", "-1"], "max_new_tokens"), (["--slide", "99"], "slide"), (["--prompt-file", "no"], "no"),
])
def test_sampling_refuses_bad_input_in_one_line(run, arguments, word, tmp_path):
    one_line(script("sample.py", run[0], *arguments, cwd=tmp_path), word)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    (tmp_path / "ckpt.npz").write_bytes(b"PK nonsense")
    one_line(script("sample.py", tmp_path), "damaged")


def test_the_configuration_of_a_run_is_written_whole(run):
    import tomllib
    values = tomllib.loads((run[0] / "config.toml").read_text(encoding="utf-8"))
    assert values["d_model"] == 16 and values["seed"] == 1337
    header = load_checkpoint(run[0] / "ckpt.npz").header
    assert json.loads(json.dumps(values)) == header["config"]


def test_a_resumed_run_says_what_it_changes(run, tmp_path):
    copied = tmp_path / "copy"
    shutil.copytree(run[0], copied)
    done = script("train.py", "--resume", copied, "--steps", 31, "--lr", "2e-2")
    assert done.returncode == 0, done.stderr
    assert all(word in done.stdout for word in ("step 30 of 31", "steps 30 -> 31", "lr 0.01 -> 0.02"))


def test_a_model_beyond_the_memory_is_one_line(data):
    done = script("train.py", "--data", data, "--context", 16, "--d-model", 2**40, "--dry-run")
    one_line(done, "memory")
