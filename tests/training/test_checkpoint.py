"""Checkpoints are whole or absent, and read without pickle."""

import json
import os

import numpy as np
import pytest

from numpygpt.tokenizer import CharTokenizer
from numpygpt.training import checkpoint as module
from numpygpt.training.checkpoint import find_checkpoint, load_checkpoint, save_checkpoint
from numpygpt.training.restore import restore

ARRAYS = {"model/a.W": np.arange(6, dtype=np.float32).reshape(2, 3), "optimizer/m/a.W": np.ones(2)}


def test_a_checkpoint_comes_back_bit_by_bit(tmp_path):
    save_checkpoint(tmp_path / "c.npz", {"step": 7, "name": "é"}, ARRAYS)
    found = load_checkpoint(tmp_path / "c.npz")
    assert found.header["step"] == 7 and found.header["name"] == "é"
    assert found.arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert np.array_equal(found.arrays[name], array) and found.arrays[name].dtype == array.dtype
    assert found.group("model").keys() == {"a.W"}
    assert load_checkpoint(tmp_path / "c.npz", only="model/").arrays.keys() == {"model/a.W"}
    assert os.listdir(tmp_path) == ["c.npz"]


OLD_KEYS = ("vocab_size", "max_len", "d_model", "n_heads", "n_layers", "d_ff", "d_k", "d_v", "dropout", "activation",
            "positions", "tie_weights", "bias", "dtype")


@pytest.mark.parametrize("version", [1, 2])
def test_a_model_of_an_older_version_is_restored(version, tmp_path, monkeypatch, make_gpt):
    """Its layers of normalisation had other names, and its header had the model's seed and 15 keys in all."""
    model, tokenizer = make_gpt(n_kv_heads=None), CharTokenizer().train("abcdefghijk")
    old = {"norm1": "ln1", "norm2": "ln2", "norm_f": "ln_f"}
    names = {name: ".".join(old.get(part, part) for part in name.split(".")) for name in model.params()}
    assert sum(name != was for name, was in names.items()) == 10
    arrays = {f"{where}/{names[name]}": array for where in ("model", "optimizer/m", "optimizer/v")
              for name, array in model.params().items()}
    header = {"format": module.FORMAT, "version": version, "step": 3, "last": {"step": 3, "val_loss": 2.5}, "best": {},
              "config": {}, "model": {name: getattr(model.config, name) for name in OLD_KEYS} | {"seed": 3},
              "tokenizer": tokenizer.to_dict(), "data": None}
    monkeypatch.setattr(module, "VERSION", 2)
    if version == 2:
        save_checkpoint(tmp_path / "c.npz", header, arrays)
    else:
        np.savez(tmp_path / "c.npz", header=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)
    monkeypatch.undo()
    found, _, source = restore(tmp_path / "c.npz")
    checkpoint = source.checkpoint
    assert found.config == model.config
    for name, param in model.params().items():
        np.testing.assert_array_equal(found.params()[name], param)
    whole = load_checkpoint(tmp_path / "c.npz")
    assert whole.group("optimizer/m").keys() == whole.group("optimizer/v").keys() == model.params().keys()
    save_checkpoint(tmp_path / "new.npz", checkpoint.header, checkpoint.arrays)
    assert restore(tmp_path / "new.npz")[2].checkpoint.header["version"] == module.VERSION


@pytest.mark.parametrize(("version", "name"), [(1, "b"), (2, "b"), (3, "a"), (4, "c")])
def test_the_renamings_of_all_later_versions_are_applied_in_order(version, name, monkeypatch):
    monkeypatch.setattr(module, "RENAMED", {2: {"a": "z"}, 3: {"b": "a"}, 5: {"a": "c"}})
    monkeypatch.setattr(module, "VERSION", 5)
    found = module.renamed(f"optimizer/m/ab.{name}.W", version)
    assert found == "optimizer/m/ab.c.W"


def test_a_run_that_is_given_by_its_bare_name_is_pointed_to(tmp_path, monkeypatch):
    (tmp_path / "runs" / "try").mkdir(parents=True)
    monkeypatch.setattr("numpygpt.utils.paths.ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError):
        load_checkpoint("try")
    with pytest.raises(FileNotFoundError, match=r"there is no checkpoint other; .* quick$"):
        load_checkpoint("other")


def test_a_save_that_fails_leaves_the_old_checkpoint_and_nothing_else(tmp_path, monkeypatch):
    save_checkpoint(tmp_path / "c.npz", {"step": 1}, ARRAYS)

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(tmp_path / "c.npz", {"step": 2}, ARRAYS)
    monkeypatch.undo()
    assert load_checkpoint(tmp_path / "c.npz").header["step"] == 1
    assert os.listdir(tmp_path) == ["c.npz"]


@pytest.mark.parametrize("keep", [0, 10, 200, 0.5, 0.99])
def test_a_file_that_was_cut_off_is_refused(tmp_path, keep):
    save_checkpoint(tmp_path / "c.npz", {"step": 1}, ARRAYS)
    data = (tmp_path / "c.npz").read_bytes()
    (tmp_path / "c.npz").write_bytes(data[: keep if isinstance(keep, int) else int(len(data) * keep)])
    with pytest.raises(ValueError):
        load_checkpoint(tmp_path / "c.npz")


def test_pickled_objects_other_formats_and_versions_are_refused(tmp_path):
    np.savez(tmp_path / "pickle.npz", header=np.array([{"step": 1}], dtype=object))
    np.savez(tmp_path / "plain.npz", a=np.zeros(3))
    with pytest.raises(ValueError):
        load_checkpoint(tmp_path / "pickle.npz")
    with pytest.raises(ValueError):
        load_checkpoint(tmp_path / "plain.npz")
    newer = json.dumps({"format": "numpygpt-checkpoint", "version": 99}).encode()
    np.savez(tmp_path / "newer.npz", header=np.frombuffer(newer, np.uint8))
    with pytest.raises(ValueError, match="99.*3"):
        load_checkpoint(tmp_path / "newer.npz")


def test_a_run_folder_means_its_best_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError):
        find_checkpoint(tmp_path)
    save_checkpoint(tmp_path / "ckpt.npz", {}, {})
    assert find_checkpoint(tmp_path).name == "ckpt.npz"
    save_checkpoint(tmp_path / "best.npz", {}, {})
    assert find_checkpoint(tmp_path).name == "best.npz"
    assert find_checkpoint(tmp_path, prefer=("ckpt.npz",)).name == "ckpt.npz"
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "none.npz")
