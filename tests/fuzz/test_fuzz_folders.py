"""Damaged configurations, metrics files and meta.json give one line of error or valid values."""

import json
import math
import tomllib

import numpy as np
import pytest

pytest.importorskip("hypothesis")

from damage import cases, changed, spoiled, to_json
from hypothesis import given
from hypothesis import strategies as st

from numpygpt.data import TokenDataset
from numpygpt.data.folder import id_dtype, write_rest, write_tokens
from numpygpt.tokenizer import CharTokenizer
from numpygpt.training.config import Config
from numpygpt.training.metrics import read_metrics
from numpygpt.training.presets import read_preset

TOML = "# A preset.\n" + Config.of(d_model=64, n_heads=2, lr=1e-3).to_toml()
VALUES = ["0", "-1", "1", "2", "1.5", "nan", "-inf", "inf", "1e999", "1e-999", "9" * 400, "9" * 5000, "0x" + "f" * 9000,
          "true", '""', '"a"', '"\\u0000"', '"\\n"', '"../../x"', '"""a\nb"""', "'\\'", "[]", "{}", "{a = 1}", "1_000",
          "1979-05-27", "07:32:00", "[" * 900 + "]" * 900, "[" * 4000, "[" * 30_000, "{a=" * 900,
          '"' + "x" * 3000 + '"', '"' + "x" * 9000 + '"', "", "=", "1 2"]  # fmt: skip
LINES = ["[table]", "[[tables]]", "a.b.c = 1", ".".join("a" * 1500) + " = 1", ".".join("a" * 9000) + " = 1",
         '"" = 1', '"\\n" = 1', "lr = 1\nlr = 2", "lr.x = 1", "\0", "\x1b[31m", "\ufeff", "x" * 70_000 + " = 1",
         "é = 1", "steps = 10 # \ud7ff", "\r"]  # fmt: skip
ROWS = [{"kind": "train", "step": 1, "tokens": 10, "seconds": 0.5, "loss": 3.5, "lr": 0.1, "grad_norm": None},
        {"kind": "trace", "step": 1, "tokens": 10, "seconds": 0.5, "grad/wte.W": 0.1, "weight/wte.W": 1.0},
        {"kind": "eval", "step": 1, "tokens": 10, "seconds": 0.7, "val_loss": 3.25},
        {"kind": "train", "step": 2, "tokens": 20, "seconds": 1.5, "loss": 3.0, "extra": 1}]  # fmt: skip
META = {"corpus": "rhyme", "source": "rhyme.txt", "sha256": "0" * 64, "tokenizer": {"kind": "char"}, "documents": 1,
        "settings": {"vocab_size": None, "min_freq": None, "lowercase": False, "clean": None},
        "split": {"by": "position", "val_fraction": 0.25, "at_byte": 12},
        "train": {"characters": 12, "bytes": 12}, "val": {"characters": 4, "bytes": 5}}  # fmt: skip


def preset(place, content):
    path = place.folder / "in" / "side" / "p.toml"
    path.write_bytes(content)
    config = place.tried(lambda: read_preset(str(path)), "p.toml")
    if config is not None:  # a valid configuration can be written and read again
        assert Config().changed(tomllib.loads(config.to_toml()), "again") == config


@cases(4)
@given(st.data())
def test_bytes_of_a_configuration(place, data):
    preset(place, data.draw(spoiled(TOML.encode())))


@cases(6)
@given(st.data())
def test_values_of_a_configuration(place, data):
    lines = TOML.splitlines()
    for _ in range(data.draw(st.integers(1, 2))):
        at = data.draw(st.integers(0, len(lines) - 1))
        if data.draw(st.booleans()):
            lines[at] = f"{lines[at].split(' ')[0]} = {data.draw(st.sampled_from(VALUES))}"
        else:
            lines.insert(at, data.draw(st.sampled_from(LINES)))
    preset(place, "\n".join(lines).encode())


def metrics(place, content):
    path = place.folder / "in" / "side" / "metrics.jsonl"
    path.write_bytes(content)
    found = place.tried(lambda: read_metrics(path), "metrics.jsonl")
    if found is not None:
        for table in (found.train, found.eval, found.trace):
            steps = table["step"]
            assert all(len(column) == len(steps) for column in table.values())
            assert (np.diff(steps) > 0).all() and (steps >= 0).all()
            assert not any(np.isinf(column).any() for column in table.values())


@cases(4)
@given(st.data())
def test_bytes_of_metrics(place, data):
    metrics(place, data.draw(spoiled("".join(json.dumps(row) + "\n" for row in ROWS).encode())))


@cases(4)
@given(st.data())
def test_rows_of_metrics(place, data):
    rows = [*ROWS]
    for _ in range(data.draw(st.integers(1, 2))):
        rows[data.draw(st.integers(0, len(rows) - 1))] = data.draw(changed(data.draw(st.sampled_from(ROWS))))
    end = data.draw(st.sampled_from([b"\n", b"", b"\r\n", b"\n\n"]))
    metrics(place, b"\n".join(map(to_json, rows)) + end)


@pytest.fixture
def folder(place):
    path = place.folder / "in" / "side" / "rhyme_char"
    path.mkdir()
    ids = {"train": [np.arange(12) % 5], "val": [np.array([0, 1, 2, 4])]}
    tokens = {part: write_tokens(path / f"{part}.bin", arrays, id_dtype(5))[0] for part, arrays in ids.items()}
    write_rest(path, CharTokenizer().train("abcdé"), tokens, META)
    return path


def dataset(place, folder, name, content):
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(content)
    try:
        found = place.tried(lambda: TokenDataset.load(folder), "rhyme_char")
    finally:
        (folder / name).write_bytes(whole)
    if found is not None:
        assert found.train.tolist() == [*range(5), *range(5), 0, 1] and found.val.tolist() == [0, 1, 2, 4]
        assert found.vocab_size == 5 and math.isfinite(found.val_bytes)


@cases(3)
@given(st.data())
def test_bytes_of_a_data_folder(place, folder, data):
    """Changed tokens and tokenizers are never read: meta.json holds their checksums."""
    name = data.draw(st.sampled_from(["meta.json", "train.bin", "val.bin", "tokenizer.json"]))
    dataset(place, folder, name, data.draw(spoiled((folder / name).read_bytes())))


@cases(5)
@given(st.data())
def test_fields_of_meta(place, folder, data):
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    dataset(place, folder, "meta.json", to_json(data.draw(changed(meta))))
