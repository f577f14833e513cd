"""./train.py --trace and --trace-every: they show what the run does, and change nothing of it."""

import importlib.util
import json
import os
import re
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from numpygpt.data import Corpus, prepare
from numpygpt.training.checkpoint import load_checkpoint
from numpygpt.training.metrics import read_metrics
from numpygpt.utils.paths import ROOT

TINY = ["--n-layers", "2", "--n-heads", "2", "--d-model", "16", "--context", "16", "--batch-size", "4", "--steps", "12",
        "--warmup", "3", "--eval-every", "5", "--sample-tokens", "20", "--lr", "1e-2", "--workers", "2",
        "--accumulate", "2", "--dropout", "0.2"]
TIMES = ("seconds", "step_seconds")


@pytest.fixture(scope="module")
def train():
    spec = importlib.util.spec_from_file_location("script_train_trace", ROOT / "train.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    text = "To be, or not to be: that is the question.\n" * 60
    folder = tmp_path_factory.mktemp("traced") / "data"
    prepare(Corpus.of("hamlet", text, "a test"), folder, context=16)
    return folder


@pytest.fixture(scope="module")
def plain(train, data, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "plain"
    assert train.main([*TINY, "--data", str(data), "--out", str(out)]) == 0
    return out


def rows(out, *kinds):
    """The rows of metrics.jsonl of some kinds, without what a clock says."""
    found = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    return [{name: value for name, value in row.items() if name not in TIMES} for row in found if row["kind"] in kinds]


def same_run(a, b):
    """Equal to the last bit but for times, folders and whether it was looked at."""
    for name in ("ckpt.npz", "best.npz"):
        mine, other = load_checkpoint(a / name), load_checkpoint(b / name)
        assert mine.arrays.keys() == other.arrays.keys()
        for key, array in mine.arrays.items():
            assert array.tobytes() == other.arrays[key].tobytes(), key
        headers = [json.loads(json.dumps(checkpoint.header)) for checkpoint in (mine, other)]
        for header in headers:
            del header["seconds"], header["config"]["out"], header["config"]["trace_every"]
        assert headers[0] == headers[1]
    assert rows(a, "train", "eval") == rows(b, "train", "eval")
    assert (a / "samples.txt").read_bytes() == (b / "samples.txt").read_bytes()


def test_a_traced_run_is_the_run_to_the_last_bit(train, data, plain, tmp_path, capsys):
    out = tmp_path / "traced"
    assert train.main([*TINY, "--data", str(data), "--out", str(out), "--trace", "--trace-every", "4"]) == 0
    same_run(out, plain)
    assert rows(plain, "trace") == []
    said = capsys.readouterr().out
    first, trace = rows(out, "train")[0], rows(out, "trace")
    assert [row["step"] for row in trace] == [1, 4, 8, 12]
    assert [row["tokens"] for row in trace] == [128, 512, 1024, 1536]
    assert re.search(r"^loss +([\d.]+)  mean", said, re.M)[1] == f"{first['loss']:.6f}"
    assert said.index("Step 1 of 12") < said.index("step      0  train")  # before the run begins
    for name in ("wte.W", "blocks.1.ffn.proj.W", "blocks.0.norm1.gamma"):
        owner, kind = name.rsplit(".", 1)
        weight, step, ratio = re.search(rf"^{owner} +{kind} +(\S+) +(\S+) +(\S+)", said, re.M).groups()
        assert float(ratio) == pytest.approx(trace[0][f"update/{name}"], rel=6e-3)
        assert float(weight) == pytest.approx(trace[0][f"weight/{name}"], rel=6e-3)
        assert float(step) == pytest.approx(trace[0][f"update/{name}"] * trace[0][f"weight/{name}"], rel=1e-2)
    for row in trace:
        grads = [value for name, value in row.items() if name.startswith("grad/")]
        norm = next(r["grad_norm"] for r in rows(out, "train") if r["step"] == row["step"])
        assert np.linalg.norm(grads) == pytest.approx(norm, rel=1e-5)
    table = read_metrics(out / "metrics.jsonl").trace
    assert np.isnan(table["update/norm_f.beta"][0]) and table["update/norm_f.beta"][1] > 0  # 0 before its first step
    assert np.isfinite(table["dout_norm/blocks.1.attn"]).all()


def test_a_resumed_run_has_every_trace_once(train, data, plain, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    flags = [*TINY, "--data", str(data), "--trace-every", "3"]
    assert train.main([*flags, "--out", str(whole)]) == 0
    shutil.copytree(whole, cut)
    five = tmp_path / "five"
    assert train.main([*flags, "--out", str(five), "--steps", "5"]) == 0  # its checkpoint is of step 5
    lines = (whole / "metrics.jsonl").read_text().splitlines(keepends=True)
    for at_kill in (5, 6, 7, 9):  # a kill after the checkpoint left rows that will be made again
        kept = [line for line in lines if json.loads(line)["step"] <= at_kill]
        (cut / "metrics.jsonl").write_text("".join(kept))
        shutil.copy(five / "ckpt.npz", cut / "ckpt.npz")
        assert train.main(["--resume", str(cut), "--steps", "12", "--trace"]) == 0
        assert [row["step"] for row in rows(cut, "trace")] == [1, 3, 6, 9, 12]
        assert [row["step"] for row in rows(cut, "train")] == list(range(1, 13))
    assert rows(five, "trace") == rows(whole, "trace")[:2]


def test_a_resumed_run_shows_its_coming_step(train, plain, tmp_path, capsys):
    copied, again = tmp_path / "copied", tmp_path / "again"
    shutil.copytree(plain, copied)
    shutil.copytree(plain, again)
    assert train.main(["--resume", str(copied), "--steps", "14", "--trace"]) == 0
    said = capsys.readouterr().out
    assert train.main(["--resume", str(again), "--steps", "14"]) == 0
    same_run(copied, again)
    assert "Step 13 of 14 with its numbers" in said
    assert re.search(r"^loss +([\d.]+)  mean", said, re.M)[1] == f"{rows(copied, 'train')[12]['loss']:.6f}"


def test_a_dry_run_walks_and_writes_nothing(train, data, plain, tmp_path, capsys):
    out = tmp_path / "dry"
    assert train.main([*TINY, "--data", str(data), "--out", str(out), "--trace", "--dry-run"]) == 0
    text = capsys.readouterr().out
    for word in ("Forward:", "blocks.0.attn.proj", "head 0", "Back:", "dlogits", "Update:", "step/norm"):
        assert word in text
    assert "\x1b" not in text
    before = {path.name: path.read_bytes() for path in plain.iterdir()}
    assert train.main(["--resume", str(plain), "--steps", "13", "--trace", "--dry-run"]) == 0
    assert "Step 13 of 13 with its numbers" in capsys.readouterr().out
    assert train.main([*TINY, "--data", str(data), "--init-from", str(plain), "--trace", "--dry-run"]) == 0
    loss = float(re.search(r"^loss +([\d.]+)  mean", capsys.readouterr().out, re.M)[1])
    assert loss < rows(plain, "train")[0]["loss"] - 0.3  # it begins with what that run has learned
    assert {path.name: path.read_bytes() for path in plain.iterdir()} == before and list(tmp_path.iterdir()) == []


def test_rows_carry_the_seconds_of_a_step(plain):
    table = read_metrics(plain / "metrics.jsonl").train
    assert len(table["step_seconds"]) == 12 and (table["step_seconds"] > 0).all()
    assert table["step_seconds"].sum() < table["seconds"][-1]


@pytest.mark.parametrize(("flags", "said"), [
    (["--trace-every", "-1"], "trace_every must be at least 0, got -1"),
    (["--trace", "--context", "5000"], "a context of 5,000 needs more than 5,000 tokens"),
])
def test_wrong_use_is_said_before_anything_is_written(train, data, tmp_path, flags, said):
    with pytest.raises(ValueError, match=said):
        train.main([*TINY, "--data", str(data), "--out", str(tmp_path / "no"), *flags])
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_a_coming_step_says_so(train, plain):
    with pytest.raises(ValueError, match="12"):
        train.main(["--resume", str(plain), "--trace"])


class Kept:
    """A logger that keeps what it is told."""

    where = "kept"

    def __init__(self):
        self.rows, self.samples, self.pictures, self.closed = [], [], [], False

    def metrics(self, kind, step, values):
        self.rows.append((kind, step, dict(values)))

    def sample(self, step, text):
        self.samples.append((step, text))

    def picture(self, name, step, path):
        self.pictures.append((name, step, Path(path).name, Path(path).read_bytes()[:8]))

    def close(self):
        self.closed = True


def test_loggers_get_what_the_run_folder_gets(train, data, tmp_path, monkeypatch):
    kept, out, seen = Kept(), tmp_path / "logged", []

    @contextmanager
    def open_loggers(config, folder, step):
        seen.append((folder, step, os.listdir(folder)))
        yield [kept]
        kept.close()

    monkeypatch.setattr(train, "open_loggers", open_loggers)
    assert train.main([*TINY, "--data", str(data), "--out", str(out), "--trace-every", "6"]) == 0
    assert seen == [(out, 0, [".lock"])]  # they are opened before anything is written
    written = []
    for line in (out / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        written.append((row.pop("kind"), row.pop("step"), row))
    logged = [(kind, step, {name: value if np.isfinite(value) else None for name, value in values.items()})
              for kind, step, values in kept.rows]
    assert logged == written
    assert {kind for kind, _, _ in logged} == {"train", "eval", "trace"}
    texts = (out / "samples.txt").read_text(encoding="utf-8")
    assert texts == "".join(f"--- step {step}\n{text}\n" for step, text in kept.samples)
    assert kept.pictures == [("curves", 12, "curves.png", b"\x89PNG\r\n\x1a\n")]
    assert kept.closed
    assert train.main(["--resume", str(out)]) == 0  # nothing is trained: the picture stays
    assert len(kept.pictures) == 1


def test_a_logger_that_cannot_be_opened_leaves_no_trace_of_the_run(train, data, tmp_path, monkeypatch):
    @contextmanager
    def open_loggers(config, folder, step):
        raise RuntimeError("not installed")
        yield

    monkeypatch.setattr(train, "open_loggers", open_loggers)
    with pytest.raises(RuntimeError):
        train.main([*TINY, "--data", str(data), "--out", str(tmp_path / "no")])
    assert list(tmp_path.iterdir()) == []


def test_without_loggers_no_picture_is_drawn(plain):
    assert not (plain / "curves.png").exists()
