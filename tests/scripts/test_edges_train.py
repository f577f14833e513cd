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
MEMORY = "memory"
HUGE = (10**12, MEMORY), (2**62, "4611686018427387904")


def at_least(least, *more):
    below = least - 1
    return [(least, OK), *((value, f"got {value}") for value in (below, -5)), *more]


def share(name):
    return [(0, OK), (0.999, OK), ("1e-310", OK), (1, f"{name} must be at least 0 and below 1, got 1"),
            (-1, "-1"), (10**12, "1000000000000")]  # fmt: skip


def choice(name, *known):
    return [*((word, OK) for word in known), ("", f"{name} must be"), (known[0].upper(), known[0].upper())]


TABLE = {
    "preset": [("quick", OK), ("qick", "no preset 'qick'; did you mean quick?"), ("text.toml", "text.toml"),
               ("nowhere.toml", "nowhere.toml"), ("dir", "'dir'"), (LONG, "xxx"),
               (ESCAPE, r"'a\x1b[31mb'")],
    "--resume": [("run", OK), ("run/ckpt.npz", OK), ("run/best.npz", "best.npz"), ("dir", "dir"),
                 ("nowhere", "nowhere"), ("text.txt", "text.txt"),
                 (NEWLINE, r"\u000ab")],
    "--init-from": [("run", OK), ("run/best.npz", OK), ("nowhere.npz", "nowhere"), ("run/nowhere", "nowhere"),
                    ("dir", "dir"), ("text.txt", "text.txt"), (LONG, "xxx")],
    # A run from scratch has no model to freeze, and then the other settings of LoRA change nothing: what they do is in
    # test_fine_tuning.py.
    "--lora-rank": [(0, OK), (1, "--init-from"), (-1, "got -1")],
    "--lora-alpha": [(0, "--lora-rank"), (16.5, "--lora-rank"), (-1, "got -1")],
    "--lora-targets": [("attn.qkv", "--lora-rank"), ("", "--lora-targets")],
    "--lora-dropout": [(0, "--lora-rank"), (0.5, "--lora-rank"), (1, "lora_dropout"), (-0.1, "-0.1")],
    "--recompute": [(None, OK), ("1", "--no-recompute")],
    "--trace": [(None, OK)], "--dry-run": [(None, OK)],
    "--processes": [(1, OK), (0, "got 0"), (-1, "got -1"), (10**12, "got 1000000000000")],  # more: tests/mpi
    "--data": [("data", OK), ("nowhere", "nowhere"), ("text.txt", "text.txt"),
               ("dir", "meta.json"), (LONG, "xxx")],
    "--out": [("new", OK), ("run", OK), (".", OK)],  # those that cannot be written to: below
    "--n-layers": at_least(1, (10**12, "n_layers")),
    "--n-heads": at_least(1, (3, "d_model"), (10**12, "is not divisible")),
    "--n-kv-heads": at_least(0, (1, OK), (2, "n_kv_heads 2")), "--norm": choice("norm", "layernorm", "rmsnorm"),
    "--norm-eps": [("1e-6", OK), (0, OK), (-1, "-1")], "--ffn": choice("ffn", "mlp", "gated"),
    "--rope-theta": [(10_000, OK), (1, "rope_theta"), (-1, "-1")],
    "--rope-scaling": [("linear:2", OK), ("yarn:2", "'yarn:2'"), ("linear:0.5", "'linear:0.5'")],
    "--qkv-bias": [(None, OK), ("1", "--no-qkv-bias")], "--attn-dropout": share("attn_dropout"),
    "--d-model": at_least(1, *HUGE), "--d-ff": at_least(0, *HUGE),
    "--d-k": at_least(0, *HUGE), "--d-v": at_least(0, *HUGE),
    "--context": at_least(1, (171, OK), (172, "172"),
                          (10**12, "1,000,000,000,000")),
    "--activation": choice("activation", "gelu", "relu", "silu", "leaky_relu"),
    "--positions": choice("positions", "learned", "sinusoidal", "rope"),
    "--tie-weights": [(None, OK), ("1", "--no-tie-weights")],
    "--bias": [(None, OK), ("", "--no-bias")], "--dropout": share("dropout"),
    "--dtype": choice("dtype", "float32", "float64"), "--steps": at_least(1, (2**63 - 1, OK)),
    "--batch-size": at_least(1, (10**9, MEMORY)), "--batches": choice("batches", "random", "sequential"),
    "--accumulate": at_least(1, (65_536, OK), (65_537, "65537")),
    "--optimizer": choice("optimizer", "adamw", "adam", "sgd"),
    "--lr": [(10, OK), (0, "min_lr"), (-1, "min_lr"), ("1e-310", OK), (20, "weight_decay"),
             (10**12, "weight_decay")],
    "--min-lr": [(0, OK), (0.003, OK), (-1, "min_lr"), (1, "min_lr")],
    "--warmup": at_least(0, (3, "warmup 3")),
    "--beta1": share("beta1"), "--beta2": share("beta2"), "--momentum": share("momentum"),
    "--weight-decay": at_least(0, (10**12, "weight_decay")),
    "--clip": at_least(0, ("1e-310", OK)),
    "--sync-every": [(0, OK), (2, OK), (3, "must be a multiple of sync_every 3"), (-1, "-1")],
    "--skip-spikes": [(0, OK), (1.5, OK), (10**12, OK), (1, "skip_spikes"), (-1, "-1")],
    "--eval-every": at_least(1, (2**63 - 1, OK)),
    "--eval-tokens": at_least(-1, (0, OK), (2**63 - 1, OK)),
    "--sample-tokens": at_least(0, (2**63 - 1, OK)),
    "--trace-every": at_least(0, (2**63 - 1, OK)),
    "--log": [("none", OK), ("", "log must be one of"), ("tensorbord", "log must be one of")],
    "--workers": at_least(0, (256, OK), (257, "257")),
    "--device": [("cpu", OK), ("gpu", "gpu"), ("cuda:x", "cuda:x"), ("cpu:1", "cpu:1"), ("", "device")],
    "--precision": [("float32", OK), ("half", "half"), ("", "precision")],
    "--seed": at_least(0, (2**63 - 1, OK)),
}  # fmt: skip
OUT = [("text.txt", "--out"), ("text.txt/x", "Not a directory: text.txt"),
       ("run", "run"), ("/proc/x", "/proc/x"), (LONG, "File name too long"), (ESCAPE, "a"),
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
    assert set(actions(TEST_PARSER)) == {"--gradients", "--mutants", "--slow", "pytest"}


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
        (["quick", "--resume", "run"], "--init-from"),
        (["--resume", "run", "--d-model", 16], "d_model"),
        (["--resume", "run", "--steps", 1], "2"),
        (["--resume", "run", "--out", "new"], "--out"),
        (["--init-from", "run", "--data", "data", "--n-layers", 2], "--init-from"),
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
