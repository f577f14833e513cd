"""Writing model folders: what comes back, what cannot be expressed, and no half folder."""

import json
import os
import time

import numpy as np
import pytest

pytest.importorskip("safetensors")
pytest.importorskip("ml_dtypes")

from model_files import GPT2, LLAMA, QWEN2, arrays_of, write_folder

from numpygpt import GPT
from numpygpt.models.pretrained import load, saving
from numpygpt.nn.modules.lora import apply_lora, merge_lora
from numpygpt.tokenizer import BPETokenizer, CharTokenizer, load_tokenizer

LLAMA_SHAPE = {"norm": "rmsnorm", "ffn": "gated", "activation": "silu", "positions": "rope", "bias": False,
               "n_heads": 4, "n_kv_heads": 2, "d_ff": 12, "dtype": "float32"}  # fmt: skip


@pytest.fixture
def llama(make_gpt):
    return lambda **changes: make_gpt(**LLAMA_SHAPE | changes)


@pytest.mark.parametrize("values", [GPT2, LLAMA, QWEN2], ids=["gpt2", "llama", "qwen2"])
def test_what_was_read_is_written(values, tmp_path):
    arrays = arrays_of(values)
    model = load(write_folder(tmp_path / "a", values, arrays))
    model.save_pretrained(tmp_path / "b")
    written = pytest.importorskip("safetensors.numpy").load_file(tmp_path / "b" / "model.safetensors")
    assert written.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(written[name], array, err_msg=name)
    config = json.loads((tmp_path / "b" / "config.json").read_text())
    assert config["model_type"] == values["model_type"] and config["torch_dtype"] == config["dtype"] == "float32"
    assert {name: config[name] for name in values} == values
    assert load(tmp_path / "b").config == model.config


@pytest.mark.parametrize("fields", [
    {}, {"tie_weights": False}, {"qkv_bias": True}, {"bias": True}, {"rope_theta": 300.0, "rope_scaling": "linear:2"},
    {"rope_scaling": "llama3:8:1:4:32"}, {"d_k": 6, "d_v": 6}, {"activation": "gelu"}, {"n_kv_heads": None},
    {"d_ff": None}], ids=str)  # fmt: skip
def test_models_of_our_own(fields, tmp_path, llama, make_batch):
    model = llama(**fields)
    model.save_pretrained(tmp_path / "m")
    x, _ = make_batch()
    np.testing.assert_array_equal(GPT.from_pretrained(tmp_path / "m")(x)[0], model(x)[0])


@pytest.mark.parametrize("fields", [{}, {"bias": False}, {"positions": "sinusoidal"}, {"activation": "relu"},
                                    {"bias": False, "qkv_bias": True}], ids=str)  # fmt: skip
def test_models_as_gpt2(fields, tmp_path, make_gpt, make_batch):
    """Missing biases become zeros, and a table of sines a learned one: the function stays the same."""
    model = make_gpt(dtype="float32", **fields)
    model.save_pretrained(tmp_path / "m")
    x, _ = make_batch()
    np.testing.assert_array_equal(load(tmp_path / "m")(x)[0], model(x)[0])


@pytest.mark.parametrize("changes, named", [
    ({"norm": "layernorm"}, "norm"), ({"ffn": "mlp"}, "ffn"), ({"d_k": 6, "d_v": 4}, "d_v"),
    ({"positions": "learned"}, "rmsnorm"), ({"activation": "leaky_relu"}, "activation")], ids=str)  # fmt: skip
def test_what_no_family_has_is_refused_by_name(changes, named, tmp_path, llama):
    with pytest.raises(ValueError, match=named):
        llama(**changes).save_pretrained(tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_head_sizes_that_gpt2_lacks(tmp_path, make_gpt):
    for changes, named in (({"d_k": 3, "d_v": 5}, "d_k"), ({"n_kv_heads": 1}, "n_kv_heads")):
        with pytest.raises(ValueError, match=named):
            make_gpt(**changes).save_pretrained(tmp_path / "m")


def test_a_model_with_lora_is_merged_first(tmp_path, llama, make_batch):
    model = llama()
    apply_lora(model, rank=2)
    for name, param in model.params().items():
        if name.endswith(".B"):
            param += 0.1
    with pytest.raises(ValueError, match="merge_lora"):
        model.save_pretrained(tmp_path / "m")
    merge_lora(model)
    model.save_pretrained(tmp_path / "m")
    x, _ = make_batch()
    np.testing.assert_array_equal(load(tmp_path / "m")(x)[0], model(x)[0])


@pytest.mark.parametrize("dtype, bits", [("float16", 10), ("bfloat16", 7), ("float64", 52)])
def test_numbers_are_rounded_to_the_nearest(dtype, bits, tmp_path, llama):
    model = llama(dtype="float64")
    model.save_pretrained(tmp_path / "m", dtype=dtype)
    again = load(tmp_path / "m", dtype="float64").params()
    for name, param in model.params().items():
        error = np.abs(again[name] - param)
        assert (error <= 2.0 ** (-bits - 1) * np.maximum(np.abs(param), 2.0**-14)).all()
        assert dtype == "float64" or error.any()
    with pytest.raises(ValueError, match="int4"):
        model.save_pretrained(tmp_path / "m", dtype="int4")


def test_a_model_that_is_not_finite_leaves_the_old_folder(tmp_path, llama):
    model = llama()
    model.save_pretrained(tmp_path / "m")
    before = {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()}
    model.params()["wte.W"][0, 0] = 1e30
    for dtype, value in (("float16", 1e30), ("float32", np.nan)):
        model.params()["wte.W"][0, 0] = value
        with pytest.raises(ValueError, match="embed_tokens"):
            model.save_pretrained(tmp_path / "m", dtype=dtype)
    assert {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_full_disk_leaves_nothing(tmp_path, llama, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving, "write_file", full)
    with pytest.raises(RuntimeError, match="No space left"):
        llama().save_pretrained(tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_what_a_kill_left_is_removed_a_day_later(tmp_path, llama):
    for name, age in ((".m.0123abcd.new", 2), (".m.4567cdef.old", 2), (".m.89abcdef.new", 0), (".m.mine.old", 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_text("x")
        os.utime(tmp_path / name, (time.time() - age * 24 * 3600 - 60,) * 2)
    llama().save_pretrained(tmp_path / "m")
    assert {path.name for path in tmp_path.iterdir()} == {"m", ".m.89abcdef.new", ".m.mine.old"}


def test_only_a_folder_of_ours_is_replaced(tmp_path, llama):
    (tmp_path / "m").mkdir()
    llama().save_pretrained(tmp_path / "m")  # it was empty
    llama(n_layers=1).save_pretrained(tmp_path / "m")
    assert load(tmp_path / "m").config.n_layers == 1
    (tmp_path / "m" / "thesis.txt").write_text("x")
    with pytest.raises(ValueError, match=r"thesis\.txt"):
        llama().save_pretrained(tmp_path / "m")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match="file"):
        llama().save_pretrained(tmp_path / "file")


def test_the_tokenizer_is_written_too(tmp_path, llama):
    tokenizer = BPETokenizer().train("the theme of the thesis " * 9, vocab_size=260, special_tokens=["<|endoftext|>"])
    llama(vocab_size=262).save_pretrained(tmp_path / "m", tokenizer)
    assert load_tokenizer(tmp_path / "m").encode("the thesis") == tokenizer.encode("the thesis")
    config = json.loads((tmp_path / "m" / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast" and config["model_max_length"] == 6
    with pytest.raises(ValueError, match="260"):
        llama(vocab_size=259).save_pretrained(tmp_path / "n", tokenizer)
    with pytest.raises(ValueError, match="char"):
        llama().save_pretrained(tmp_path / "n", CharTokenizer().train("abc"))
    assert not (tmp_path / "n").exists()
