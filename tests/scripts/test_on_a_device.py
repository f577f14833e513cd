"""train.py and sample.py on a device, and what they say about it."""

import importlib.util

import numpy as np
import pytest
import strict
import tiny

from numpygpt.nn import backend
from numpygpt.utils.paths import ROOT

TINY = ["--n-layers", "1", "--n-heads", "2", "--d-model", "8", "--context", "8", "--batch-size", "4", "--steps", "20",
        "--warmup", "5", "--eval-every", "10", "--sample-tokens", "12", "--lr", "1e-2", "--dropout", "0", "--seed", "3"]


def script(name):
    spec = importlib.util.spec_from_file_location(f"script_{name}", ROOT / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def device(monkeypatch):
    monkeypatch.setitem(backend.DEVICES, "strict", lambda index: strict.DEVICE)

    def missing(index):
        raise RuntimeError("no driver")

    monkeypatch.setitem(backend.DEVICES, "cuda", missing)


@pytest.fixture
def data(tmp_path):
    return str(tiny.make_data(tmp_path / "data"))


def test_a_run_on_a_device_resumed_on_the_cpu_and_a_sample(data, tmp_path, capsys):
    train, losses = script("train"), {}
    for name in ("strict", "cpu"):
        out = tmp_path / name
        train.main([*TINY, "--data", data, "--out", str(out), "--device", name, "--workers", "1"])
        train.main(["--resume", str(out), "--steps", "30", "--device", "cpu"])
        losses[name] = [row["loss"] for row in tiny.rows(out) if row["kind"] == "train"]
    assert len(losses["cpu"]) == 30
    np.testing.assert_allclose(losses["strict"], losses["cpu"], rtol=1e-4)
    assert "strict" in capsys.readouterr().out
    sample, texts = script("sample"), []
    for name in ("strict", "cpu"):
        sample.main([str(tmp_path / "cpu"), "--prompt", "To be", "--max-new-tokens", "20", "--device", name])
        printed = capsys.readouterr()
        texts.append(printed.out)
        assert name in printed.err
    assert texts[0] == texts[1] and len(texts[0]) > 20


def test_auto_says_why_it_is_the_cpu(data, tmp_path, capsys):
    script("train").main([*TINY, "--data", data, "--out", str(tmp_path / "run"), "--dry-run"])
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("device"))
    assert "cpu" in line and "no driver" in line


@pytest.mark.parametrize(("flags", "error", "words"), [
    (["--device", "cuda"], RuntimeError, "no driver"), (["--device", "gpu"], ValueError, "gpu"),
    (["--device", "cuda:x"], ValueError, "cuda:x"), (["--precision", "float16"], ValueError, "float16"),
    (["--device", "strict", "--workers", "2"], ValueError, "workers")], ids=str)
def test_what_cannot_be_is_refused_before_anything_is_written(flags, error, words, data, tmp_path):
    with pytest.raises(error, match=words):
        script("train").main([*TINY, "--data", data, "--out", str(tmp_path / "run"), *flags])
    assert not (tmp_path / "run").exists()


def test_sampling_on_a_missing_device(data, tmp_path):
    with pytest.raises(RuntimeError, match="no driver"):
        train = script("train")
        train.main([*TINY, "--data", data, "--out", str(tmp_path / "run"), "--device", "cpu"])
        script("sample").main([str(tmp_path / "run"), "--device", "cuda"])
