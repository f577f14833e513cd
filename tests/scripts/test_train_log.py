"""`train.py --log`: the run is the same run, and the tool that was named has all that it measured, wrote and drew."""

import json
import math
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from numpygpt.data import Corpus, prepare
from numpygpt.training.checkpoint import load_checkpoint
from numpygpt.utils.paths import ROOT

TINY = ["--n-layers", "1", "--n-heads", "2", "--d-model", "16", "--context", "16", "--batch-size", "4", "--warmup", "5",
        "--sample-tokens", "20", "--lr", "1e-2", "--workers", "2", "--trace-every", "6"]
FAKE = """
import json, os

class Error(Exception):
    pass

class Settings:
    mode = "online"
    def __init__(self, **settings):
        self.settings = self

setup = Html = Image = lambda value, **_: value
login = lambda prompt: True
url, offline, starting_step = "https://wandb.test/run", False, 0

def init(**how):
    return __import__("wandb")

def log(row, step):
    with open(os.environ["FAKE_ROWS"], "a") as file:
        file.write(json.dumps([step, row]) + "\\n")

def finish():
    log("finished", None)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    text = "To be, or not to be: that is the question.\n" * 60
    folder = tmp_path_factory.mktemp("data") / "hamlet"
    prepare(Corpus.of("hamlet", text, "a test"), folder, context=16)
    return folder


def train(*arguments, shadow=None, **variables):
    """train.py, with the modules in the folder `shadow` before all others."""
    paths = {"PYTHONPATH": str(shadow)} if shadow else {}
    return subprocess.run([sys.executable, ROOT / "train.py", *map(str, arguments)], capture_output=True, text=True,
                          encoding="utf-8", env=os.environ | paths | variables)


def interrupted(log, data, out, **variables):
    """A run that is stopped by Ctrl-C somewhere, and resumed for some steps more."""
    command = [sys.executable, ROOT / "train.py", *TINY, "--steps", "4000", "--eval-every", "1000", "--data", data,
               "--out", out, "--log", log]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
                               env=os.environ | variables, start_new_session=True)
    for line in process.stdout:
        if "ms per step" in line:
            break
    time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all that the run has started too
    rest, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "stopped after step" in rest and errors == ""
    step = load_checkpoint(out / "ckpt.npz").header["step"]
    assert 20 <= step < 4000
    resumed = train("--resume", out, "--steps", step + 15, "--eval-every", 4, **variables)
    assert resumed.returncode == 0 and resumed.stderr == "", resumed.stderr
    return step + 15


def logged(out):
    """{kind/name: [(step, value)]} of metrics.jsonl; null is nan."""
    found = {}
    for line in (out / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        kind, step = row.pop("kind"), row.pop("step")
        for name, value in row.items():
            found.setdefault(f"{kind}/{name}", []).append((step, math.nan if value is None else value))
    return found


def samples(out):
    """[(step, text)] of samples.txt."""
    parts = (out / "samples.txt").read_text(encoding="utf-8").split("--- step ")[1:]
    return [(int(part.split("\n", 1)[0]), part.split("\n", 1)[1][:-1]) for part in parts]


def same(got, expected):
    assert set(got) == set(expected)
    for tag, values in expected.items():
        assert [step for step, _ in got[tag]] == [step for step, _ in values], tag
        np.testing.assert_array_equal([value for _, value in got[tag]], [value for _, value in values], tag)


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_missing_package_is_one_line_and_no_run_folder(name, data, tmp_path):
    (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError(\"No module named '{name}'\")")
    out = tmp_path / "run"
    done = train(*TINY, "--steps", 6, "--data", data, "--out", out, "--log", name, shadow=tmp_path)
    assert done.returncode == 2 and not out.exists()
    assert done.stderr.count("\n") == 1 and f"--log {name}" in done.stderr
    assert f'pip install -e ".[{name}]"' in done.stderr


def test_a_run_is_the_same_with_a_logger_and_its_rows_are_those_of_the_metrics(data, tmp_path):
    (tmp_path / "wandb.py").write_text(FAKE)
    tiny = [*TINY, "--steps", 12, "--eval-every", 5, "--data", data, "--out"]
    assert train(*tiny, tmp_path / "plain").returncode == 0
    variables = {"FAKE_ROWS": str(tmp_path / "rows")}
    done = train(*tiny, tmp_path / "watched", "--log", "wandb", shadow=tmp_path, **variables)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert "https://wandb.test/run" in done.stdout
    plain, watched = (load_checkpoint(tmp_path / name / "ckpt.npz").arrays for name in ("plain", "watched"))
    assert plain.keys() == watched.keys() and all(np.array_equal(plain[name], watched[name]) for name in plain)
    assert samples(tmp_path / "plain") == samples(tmp_path / "watched") != []
    *rows, last = map(json.loads, (tmp_path / "rows").read_text().splitlines())
    assert last == [None, "finished"] and [step for step, _ in rows] == list(range(13))
    got = {}
    for step, row in rows:
        for tag, value in row.items():
            got.setdefault(tag, []).append((step, value))
    assert got.pop("curves") == [(12, str(tmp_path / "watched" / "curves.png"))]
    assert [step for step, _ in got.pop("sample")] == [0, 5, 10, 12]
    assert any(tag.startswith("trace/") for tag in got)
    same(got, logged(tmp_path / "watched"))


def test_tensorboard_has_all_of_a_run_that_was_stopped_and_resumed(data, tmp_path):
    processing = pytest.importorskip("tensorboard.backend.event_processing.plugin_event_accumulator")
    from tensorboard.util.tensor_util import make_ndarray

    out = tmp_path / "run"
    steps = interrupted("tensorboard", data, out)
    everything = {"scalars": 0, "text": 0, "images": 0}
    read = processing.EventAccumulator(str(out / "tensorboard"), tensor_size_guidance=everything).Reload()
    found = {kind: {tag: [(event.step, make_ndarray(event.tensor_proto).tolist()) for event in read.Tensors(tag)]
                    for tag in read.PluginTagToContent(kind)} for kind in everything}
    rows = logged(out)
    assert [step for step, _ in rows["train/loss"]] == list(range(1, steps + 1))
    same(found["scalars"], {tag: [(step, float(np.float32(value))) for step, value in row]
                            for tag, row in rows.items()})
    shown = [(step, "\n".join("    " + line for line in text.split("\n")).encode()) for step, text in samples(out)]
    assert found["text"] == {"sample": shown}
    assert found["images"]["curves"][-1] == (steps, [*found["images"]["curves"][-1][1][:2],
                                                     (out / "curves.png").read_bytes()])


def test_wandb_offline_has_all_of_a_run_that_was_stopped_and_resumed(data, tmp_path):
    pytest.importorskip("wandb")
    from tests.training.test_loggers import history

    out = tmp_path / "run"
    (tmp_path / "home").mkdir()
    steps = interrupted("wandb", data, out, WANDB_MODE="offline", HOME=str(tmp_path / "home"))
    rows, got = history(out), {}
    assert sorted({row["_step"] for row in rows}) == list(range(steps + 1))
    for row in rows:
        for tag, value in row.items():
            if tag.startswith(("train/", "eval/", "trace/")):
                got.setdefault(tag, {})[row["_step"]] = value  # the second session repeats the first
    same({tag: sorted(values.items()) for tag, values in got.items()}, logged(out))
    (path,) = out.glob(f"wandb/offline-run-*/files/{rows[-1]['curves.path']}")
    assert path.read_bytes() == (out / "curves.png").read_bytes()


@pytest.mark.parametrize("key", ["", "a" * 40])
def test_wandb_without_account_or_network_tells_the_way_offline(key, data, tmp_path):
    pytest.importorskip("wandb")
    out, home = tmp_path / "run", tmp_path / "home"
    home.mkdir()
    variables = {"HOME": str(home), "WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": key}
    done = train(*TINY, "--steps", 6, "--data", data, "--out", out, "--log", "wandb", **variables)
    assert done.returncode == 2 and not out.exists()
    assert done.stderr.count("\n") == 1 and "WANDB_MODE=offline" in done.stderr, done.stderr
