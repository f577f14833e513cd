"""Model folders with weights in 8 bits: written, read, converted while they are read, and refused if damaged."""

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("safetensors")
pytest.importorskip("ml_dtypes")

import safetensors.numpy as safetensors_numpy
from llama import save_llama
from model_files import GPT2, LLAMA, QWEN2, arrays_of, write_folder

from numpygpt import GPT
from numpygpt.models.pretrained import load
from numpygpt.nn import apply_lora, to_int8
from numpygpt.nn.modules import int8
from numpygpt.nn.modules.int8 import int8_layers
from numpygpt.training.base import Base, adopted
from numpygpt.training.config import Config
from numpygpt.training.restore import restore

X = np.array([[1, 2, 3, 1], [4, 0, 2, 2]])


@pytest.fixture(autouse=True)
def every_matrix(monkeypatch):
    monkeypatch.setattr(int8, "LEAST_ENTRIES", 0)


@pytest.fixture(params=[GPT2, LLAMA, QWEN2], ids=["gpt2", "llama", "qwen2"])
def folder(request, tmp_path):
    return write_folder(tmp_path / "float", request.param, arrays_of(request.param))


def test_a_folder_in_8_bits_holds_the_converted_model(folder, tmp_path):
    expected = to_int8(load(folder))(X)[0]
    np.testing.assert_array_equal(GPT.from_pretrained(folder, int8=True)(X)[0], expected)
    load(folder).save_pretrained(tmp_path / "a", dtype="int8")
    small = load(tmp_path / "a")
    np.testing.assert_array_equal(small(X)[0], expected)
    small.save_pretrained(tmp_path / "b", dtype="int8")
    assert (tmp_path / "b" / "model.safetensors").read_bytes() == (tmp_path / "a" / "model.safetensors").read_bytes()
    np.testing.assert_allclose(expected, load(folder)(X)[0], atol=0.1 * np.abs(expected).max())
    stored = safetensors_numpy.load_file(tmp_path / "a" / "model.safetensors")
    matrices = {name for name, array in stored.items() if array.dtype == np.int8}
    assert len(matrices) > 4 and all(stored[f"{name}_scale"].dtype == np.float32 for name in matrices)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_model_in_8_bits_is_not_saved_as_something_else(dtype, folder, tmp_path):
    with pytest.raises(ValueError, match="int8"):
        load(folder, int8=True).save_pretrained(tmp_path / "a", dtype=dtype)
    assert not (tmp_path / "a").exists()


def test_a_matrix_takes_a_quarter_of_the_file(tmp_path):
    model = GPT(vocab_size=500, max_len=8, d_model=128, n_heads=2, n_layers=1)
    for dtype in ("float32", "int8"):
        model.save_pretrained(tmp_path / dtype, dtype=dtype)
    sizes = [(tmp_path / dtype / "model.safetensors").stat().st_size for dtype in ("float32", "int8")]
    assert sizes[1] < 0.27 * sizes[0]


def test_a_model_without_a_large_matrix_is_not_converted(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(int8, "LEAST_ENTRIES", 10**6)
    with pytest.raises(ValueError, match="8 bits"):
        load(folder).save_pretrained(tmp_path / "a", dtype="int8")
    with pytest.raises(ValueError, match="8 bits"):
        load(folder, int8=True)
    assert not (tmp_path / "a").exists()


def test_a_run_and_a_pretrained_model_are_restored_in_8_bits(tmp_path):
    model, _ = save_llama(tmp_path / "llama")
    found, _, source = restore(pretrained=tmp_path / "llama", int8=True)
    assert len(int8_layers(found)) == 3 * 4 + 1 and f"{model.n_params():,}" in source.about
    np.testing.assert_allclose(found(X)[0], model(X)[0], atol=0.1 * np.abs(model(X)[0]).max())


def test_weights_in_8_bits_cannot_be_trained_further(tmp_path):
    model, tokenizer = save_llama(tmp_path / "llama")
    model.save_pretrained(tmp_path / "small", tokenizer, dtype="int8")
    with pytest.raises(ValueError, match="8 bits"):
        adopted(Config(), Base.find(str(tmp_path / "small")), {})
    with pytest.raises(ValueError, match="8 bits"):
        apply_lora(load(tmp_path / "small"), rank=2)


def rewritten(folder, change):
    """The folder with other tensors."""
    path = folder / "model.safetensors"
    tensors = safetensors_numpy.load_file(path)
    change(tensors)
    safetensors_numpy.save_file(tensors, path)


def first(tensors):
    return next(name for name in sorted(tensors) if name.endswith("_scale"))


def without(tensors):
    del tensors[first(tensors)]


def shorter(tensors):
    tensors[first(tensors)] = tensors[first(tensors)][1:]


def not_finite(tensors):
    tensors[first(tensors)][0] = np.nan


def half(tensors):
    tensors[first(tensors)] = tensors[first(tensors)].astype(np.float16)


def beyond(tensors):
    tensors[first(tensors).removesuffix("_scale")].flat[0] = -128


def a_norm(tensors):
    name = next(name for name in tensors if "norm" in name or "ln_" in name)
    tensors[name] = tensors[name].astype(np.int8)


def foreign(tensors):
    tensors["other_scale"] = np.ones(3, np.float32)


@pytest.mark.parametrize("change", [without, shorter, not_finite, half, beyond, a_norm, foreign])
def test_damage_is_named(change, folder, tmp_path):
    load(folder).save_pretrained(tmp_path / "small", dtype="int8")
    rewritten(tmp_path / "small", change)
    with pytest.raises(ValueError, match="small"):
        load(tmp_path / "small")


def test_the_quantisation_of_others_is_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "other")
    values = json.loads((folder / "config.json").read_text()) | {"quantization_config": {"quant_method": "gptq"}}
    (tmp_path / "other" / "config.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match="quantization_config"):
        load(tmp_path / "other")
