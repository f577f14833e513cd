"""Runs of train.py on a tiny model, and what makes two of them the same."""

import importlib.util
import json

import numpy as np

from numpygpt.data import Corpus, prepare
from numpygpt.training.checkpoint import load_checkpoint
from numpygpt.training.metrics import read_rows
from numpygpt.utils.paths import ROOT

TINY = ["--n-layers", "1", "--n-heads", "2", "--d-model", "8", "--context", "8", "--batch-size", "4", "--steps", "30",
        "--warmup", "5", "--eval-every", "10", "--sample-tokens", "12", "--lr", "1e-2", "--workers", "2",
        "--accumulate", "2", "--dropout", "0.2"]
TIMES = ("seconds", "step_seconds")
TEXT = "To be, or not to be: that is the question.\nWhether 'tis nobler in the mind to suffer, or to end them.\n" * 30


def make_data(folder, tokenizer="char"):
    prepare(Corpus.of("hamlet", TEXT, "a test"), folder, tokenizer=tokenizer, context=8,
            **({"vocab_size": 280} if tokenizer == "bpe" else {}))
    return folder


def train_module():
    """train.py as a module: its `main` runs in this process."""
    spec = importlib.util.spec_from_file_location("script_train", ROOT / "train.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows(out):
    """metrics.jsonl without the times."""
    return [{name: value for name, value in row.items() if name not in TIMES}
            for _, row in read_rows(out / "metrics.jsonl")]


def assert_same_run(out, expected):
    """Parameters, optimiser, generators, the data's position, metrics and samples, to the last bit."""
    for name in ("ckpt.npz", "best.npz"):
        found, wanted = load_checkpoint(out / name), load_checkpoint(expected / name)
        assert header(found) == header(wanted), name
        assert found.arrays.keys() == wanted.arrays.keys()
        for key, array in wanted.arrays.items():
            assert array.dtype == found.arrays[key].dtype and np.array_equal(array, found.arrays[key]), (name, key)
    assert rows(out) == rows(expected)
    assert (out / "samples.txt").read_bytes() == (expected / "samples.txt").read_bytes()


def header(checkpoint):
    values = json.loads(json.dumps(checkpoint.header))
    for where in ("data", "out"):
        values["config"].pop(where)
    values.pop("seconds")
    return {name: value for name, value in values.items() if name not in ("checksums", "sha256")}
