"""Every flag of train.py at its edges and beyond, and those of test.py."""

import json

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

PARSER, TEST_PARSER = parser_of("train.py"), parser_of("test.py")
MEMORY = "this does not fit into memory"
HUGE = (10**12, MEMORY), (2**62, MEMORY)


def at_least(least, name, *more):
    below = least - 1
    return [(least, OK), (below, f"{name} must be at least {least}, got {below}"), (-5, f"{name} must be at least"),
            *more]  # fmt: skip


def share(name):
    return [(0, OK), (0.999, OK), ("1e-310", OK), (1, f"{name} must be at least 0 and below 1, got 1"),
            (-1, "got -1"), (10**12, "got 1000000000000")]  # fmt: skip


def choice(name, *known):
    return [*((word, OK) for word in known), ("", f"{name} must be one of"), (known[0].upper(), "must be one of")]


TABLE = {
    "preset": [("quick", OK), ("qick", "no preset 'qick'; did you mean quick?"), ("text.toml", "text.toml"),
               ("nowhere.toml", "there is no preset file nowhere.toml"), ("dir", "no preset 'dir'"), (LONG, "xxx"),
               (ESCAPE, r"no preset 'a\x1b[31mb'")],
    "--resume": [("run", OK), ("run/ckpt.npz", OK), ("run/best.npz", "best.npz"), ("dir", "dir holds no checkpoint"),
                 ("nowhere", "there is no checkpoint nowhere"), ("text.txt", "is damaged or no checkpoint"),
                 (NEWLINE, r"there is no checkpoint a\u000ab")],
    "--init-from": [("run", OK), ("run/best.npz", OK), ("nowhere", "there is no checkpoint nowhere"),
                    ("dir", "dir holds no checkpoint"), ("text.txt", "is damaged or no checkpoint"), (LONG, "xxx")],
    "--trace": [(None, OK)], "--dry-run": [(None, OK)],
    "--data": [("data", OK), ("nowhere", "there is no data folder nowhere"), ("text.txt", "text.txt is a file"),
               ("dir", "meta.json"), (LONG, "xxx")],
    "--out": [("new", OK), ("run", OK), (".", OK)],  # those that cannot be written to: below
    "--n-layers": at_least(1, "n_layers", (10**12, "n_layers must be at most 10,000, got 1000000000000")),
    "--n-heads": at_least(1, "n_heads", (3, "d_model 8 is not divisible by n_heads 3"), (10**12, "is not divisible")),
    "--d-model": at_least(1, "d_model", *HUGE), "--d-ff": at_least(0, "d_ff", *HUGE),
    "--d-k": at_least(0, "d_k", *HUGE), "--d-v": at_least(0, "d_v", *HUGE),
    "--context": at_least(1, "context", (171, OK), (172, "a context of 172 needs more than 172 tokens in each part"),
                          (10**12, "a context of 1,000,000,000,000 needs more")),
    "--activation": choice("activation", "gelu", "relu"), "--positions": choice("positions", "learned", "sinusoidal"),
    "--tie-weights": [(None, OK), ("1", "--no-tie-weights")],
    "--bias": [(None, OK), ("", "--no-bias")], "--dropout": share("dropout"),
    "--dtype": choice("dtype", "float32", "float64"), "--steps": at_least(1, "steps", (2**63 - 1, OK)),
    "--batch-size": at_least(1, "batch_size", (10**9, MEMORY)), "--batches": choice("batches", "random", "sequential"),
    "--accumulate": at_least(1, "accumulate", (65_536, OK), (65_537, "accumulate must be at most 65,536, got 65537")),
    "--optimizer": choice("optimizer", "adamw", "adam", "sgd"),
    "--lr": [(10, OK), (0, "at least min_lr 3e-05"), (-1, "at least min_lr"), ("1e-310", OK), (20, "weight_decay 0.1"),
             (10**12, "lr 1e+12 times weight_decay 0.1 is 1e+11")],
    "--min-lr": [(0, OK), (0.003, OK), (-1, "min_lr must be at least 0, got -1"), (1, "at least min_lr 1")],
    "--warmup": at_least(0, "warmup", (3, "warmup 3 is more than the run's 2 steps: give a smaller --warmup")),
    "--beta1": share("beta1"), "--beta2": share("beta2"), "--momentum": share("momentum"),
    "--weight-decay": at_least(0, "weight_decay", (10**12, "weight_decay 1e+12")),
    "--clip": at_least(0, "clip", ("1e-310", OK)),
    "--skip-spikes": [(0, OK), (1.5, OK), (10**12, OK), (1, "skip_spikes must be above 1, or 0"), (-1, "got -1")],
    "--eval-every": at_least(1, "eval_every", (2**63 - 1, OK)),
    "--eval-tokens": at_least(-1, "eval_tokens", (0, OK), (2**63 - 1, OK)),
    "--sample-tokens": at_least(0, "sample_tokens", (2**63 - 1, OK)),
    "--trace-every": at_least(0, "trace_every", (2**63 - 1, OK)),
    "--log": [("none", OK), ("", "log must be one of"), ("tensorbord", "log must be one of")],
    "--workers": at_least(0, "workers", (256, OK), (257, "workers must be at most 256, got 257")),
    "--seed": at_least(0, "seed", (2**63 - 1, OK)),
}  # fmt: skip
OUT = [("text.txt", "text.txt is a file; give a folder with --out"), ("text.txt/x", "Not a directory: text.txt"),
       ("run", "run already holds a run"), ("/proc/x", "/proc/x"), (LONG, "File name too long"), (ESCAPE, "a"),
       (NEWLINE, "a"), (BYTES, "caf")]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of two steps, its data, and files that are none of them."""
    folder = tmp_path_factory.mktemp("edges")
    (folder / "text.txt").write_text(TEXT, encoding="utf-8", newline="")
    (folder / "text.toml").write_text(TEXT, encoding="utf-8")
    (folder / "dir").mkdir()
    for arguments in (["datagen.py", "--input", "text.txt", "--context", 8, "--out", "data"],
                      ["train.py", *TINY, "--data", "data", "--out", "run"]):
        assert script(*arguments, cwd=folder).returncode == 0
    return folder


def words(flag, value):
    """A whole command line with the value in it, which would write nothing."""
    told = [flag] if value is None else given(flag, value)
    if flag == "--resume":
        return [*told, "--dry-run"]
    standard = [*TINY, "--data", "data", "--out", "out", "--dry-run"]
    return [*standard, *told]  # the last of two is taken


def test_every_flag_has_its_edges():
    assert set(TABLE) == set(actions(PARSER))
    assert set(actions(TEST_PARSER)) == {"--gradients", "--mutants", "pytest"}  # of which one has a value, below


@pytest.mark.parametrize(("flag", "value", "sentence"), list(kind_cases(PARSER)))
def test_what_a_flags_type_refuses(flag, value, sentence, capsys):
    refused_by_parser(PARSER, capsys, flag, value, sentence)


@pytest.mark.parametrize(("flag", "value", "sentence"), table(TABLE))
def test_values(folder, flag, value, sentence):
    judged("train.py", words(flag, value), sentence, cwd=folder)


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("flag", ["preset", "--resume", "--init-from", "--data"])
def test_odd_names_are_shown_without_doing_harm(folder, flag, name):
    judged("train.py", words(flag, name), " ", cwd=folder)


@pytest.mark.parametrize(("out", "sentence"), OUT)
def test_a_run_folder_that_cannot_be_written_to(folder, out, sentence):
    judged("train.py", [*TINY, "--data", "data", f"--out={out}"], sentence, cwd=folder)


def test_a_batch_larger_than_the_memory_is_one_sentence(folder, tmp_path):
    done = script("train.py", *TINY, "--data", folder / "data", "--batch-size", 10**12, "--out", tmp_path / "run",
                  cwd=folder)  # fmt: skip
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and done.stderr.startswith("train.py: error: ")


def test_what_cannot_go_together_is_said(folder):
    for arguments, sentence in [
        (["quick", "--resume", "run"], "give neither a preset nor --init-from with it"),
        (["--resume", "run", "--d-model", 16], "a resumed run keeps its d_model of 8"),
        (["--resume", "run", "--steps", 1], "the run has done 2 steps already"),
        (["--resume", "run", "--out", "new"], "give no --out with --resume"),
        (["--init-from", "run", "--data", "data", "--n-layers", 2], "--init-from keeps the checkpoint's n_layers of 1"),
        (["--d-modle", 3], "did you mean --d-model?"), (["--batch", 3], "unknown argument --batch"),
        (["quick", "more"], "unknown argument more"), (["--steps"], "expected one argument"),
    ]:  # fmt: skip
        judged("train.py", [*arguments, "--dry-run"], sentence, cwd=folder)
    judged("test.py", ["--gradient"], "unknown argument --gradient; did you mean --gradients?", cwd=folder)
    judged("test.py", ["--mutants", ESCAPE], r"there is no layer or module 'a\x1b[31mb'", cwd=folder)


def test_the_same_seed_gives_the_same_curve(folder, tmp_path):
    curves = {}
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        done = script("train.py", *TINY, "--data", folder / "data", "--seed", seed, "--out", tmp_path / name)
        assert done.returncode == 0
        rows = map(json.loads, (tmp_path / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
        curves[name] = [{key: value for key, value in row.items() if "seconds" not in key} for row in rows]
    assert curves["a"] == curves["b"] != curves["c"] and len(curves["a"]) >= 4
    assert (tmp_path / "a" / "samples.txt").read_bytes() == (tmp_path / "b" / "samples.txt").read_bytes()
