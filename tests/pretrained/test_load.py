"""Reading model folders: each number in its place, and one sentence for everything that does not fit."""

import json
import struct
import sys
import tracemalloc

import numpy as np
import pytest

pytest.importorskip("safetensors")
pytest.importorskip("ml_dtypes")

from model_files import GPT2, LLAMA, QWEN2, arrays_of, bfloat16, safetensors, write_folder

from numpygpt import GPT
from numpygpt.models.pretrained import config_of, is_model_folder, load

FAMILIES = {"gpt2": GPT2, "llama": LLAMA, "qwen2": QWEN2}


def expected(values, arrays):
    """Our parameters, put together by hand."""
    if values["model_type"] == "gpt2":
        names = {"wte": "wte", "wpe": "wpe", "ln_f": "norm_f", "ln_1": "norm1", "ln_2": "norm2", "c_attn": "attn.qkv",
                 "mlp.c_fc": "ffn.fc", "mlp.c_proj": "ffn.proj", "attn.c_proj": "attn.proj"}  # fmt: skip
        found = {}
        for name, array in arrays.items():
            _, *parts, own = name.split(".")
            block = f"blocks.{parts[1]}." if parts[0] == "h" else ""
            module = ".".join(parts[2:] if block else parts)
            module = names.get(module) or names[module.split(".")[-1]]
            weight, bias = ("gamma", "beta") if "norm" in module else ("W", "b")
            found[f"{block}{module}.{weight if own == 'weight' else bias}"] = array
        return found
    found = {"wte.W": arrays["model.embed_tokens.weight"], "norm_f.gamma": arrays["model.norm.weight"]}
    if "lm_head.weight" in arrays:
        found["head.embedding.W"] = arrays["lm_head.weight"]
    for i in range(values["num_hidden_layers"]):
        def part(name, i=i):
            return arrays[f"model.layers.{i}.{name}"]

        ours, three = f"blocks.{i}", [f"self_attn.{x}_proj" for x in "qkv"]
        found[f"{ours}.norm1.gamma"] = part("input_layernorm.weight")
        found[f"{ours}.norm2.gamma"] = part("post_attention_layernorm.weight")
        found[f"{ours}.attn.qkv.W"] = np.concatenate([part(f"{x}.weight").T for x in three], axis=1)
        if values["model_type"] == "qwen2":
            found[f"{ours}.attn.qkv.b"] = np.concatenate([part(f"{x}.bias") for x in three])
        found[f"{ours}.attn.proj.W"] = part("self_attn.o_proj.weight").T
        found[f"{ours}.ffn.fc.W"] = np.hstack([part("mlp.gate_proj.weight").T, part("mlp.up_proj.weight").T])
        found[f"{ours}.ffn.proj.W"] = part("mlp.down_proj.weight").T
    return found


def assert_holds(model, wanted):
    params = model.params()
    assert params.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(params[name], array, err_msg=name)


@pytest.mark.parametrize("values", FAMILIES.values(), ids=FAMILIES)
def test_every_number_is_in_its_place(values, tmp_path):
    arrays = arrays_of(values)
    model = load(write_folder(tmp_path, values, arrays))
    assert_holds(model, expected(values, arrays))
    assert not model.training and model.config == config_of(tmp_path) and is_model_folder(tmp_path)
    assert all(param.dtype == np.float32 for param in model.params().values())
    logits, _ = model(np.array([[1, 2, 3]]))
    assert logits.shape == (1, 3, 11)
    again = GPT.from_pretrained(tmp_path, dtype="float64")
    assert_holds(again, expected(values, arrays))
    assert again.config.dtype == "float64" and again.params()["wte.W"].dtype == np.float64


@pytest.mark.parametrize("values", FAMILIES.values(), ids=FAMILIES)
def test_prefix_may_be_missing_and_buffers_are_ignored(values, tmp_path):
    arrays = arrays_of(values)
    more = {"h.0.attn.bias": np.ones((1, 1, 16, 16), np.uint8), "h.1.attn.masked_bias": np.zeros((), np.float32)}
    if values is not GPT2:
        more = {"model.layers.1.self_attn.rotary_emb.inv_freq": np.ones(3, np.float32)}
    if values is QWEN2:  # a tied model may hold its table twice
        more["lm_head.weight"] = arrays["model.embed_tokens.weight"]
    bare = {name.removeprefix("transformer.").removeprefix("model."): array for name, array in arrays.items()}
    write_folder(tmp_path, values, bare | more)
    assert_holds(load(tmp_path), expected(values, arrays))


def test_half_precision(tmp_path):
    arrays = {name: (array.view(np.uint32) & 0xFFFF0000).view(np.float32) for name, array in arrays_of(LLAMA).items()}
    halves = {name: bfloat16(array) for name, array in arrays.items()}
    write_folder(tmp_path / "bf16", LLAMA, content=safetensors(halves, dict.fromkeys(arrays, "BF16")))
    assert_holds(load(tmp_path / "bf16"), expected(LLAMA, arrays))
    halves = {name: array.astype(np.float16) for name, array in arrays.items()}
    write_folder(tmp_path / "f16", LLAMA, halves)
    assert_holds(load(tmp_path / "f16"), expected(LLAMA, halves))


def test_a_large_matrix_is_transposed_whole(tmp_path):
    """Larger than the blocks in which it is copied."""
    values = LLAMA | {"hidden_size": 136, "intermediate_size": 300, "num_hidden_layers": 1}
    arrays = arrays_of(values)
    assert_holds(load(write_folder(tmp_path, values, arrays)), expected(values, arrays))


def shard(folder, values, places=None):
    arrays = arrays_of(values)
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(values))
    names = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(arrays)}
    for file in set(names.values()):
        (folder / file).write_bytes(safetensors({name: arrays[name] for name in arrays if names[name] == file}))
    index = {"metadata": {"total_size": 1}, "weight_map": names | (places or {})}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return arrays


def test_shards(tmp_path):
    arrays = shard(tmp_path, LLAMA)
    assert is_model_folder(tmp_path)
    assert_holds(load(tmp_path), expected(LLAMA, arrays))


@pytest.mark.parametrize("file", ["../model.safetensors", "/etc/passwd", "a/b.safetensors", "a\\b.safetensors", "x.bin",
                                  3, None])  # fmt: skip
def test_an_index_names_plain_files_only(file, tmp_path):
    shard(tmp_path, LLAMA, {"model.norm.weight": file})
    with pytest.raises(ValueError) as caught:
        load(tmp_path)
    assert str(file)[:10] in str(caught.value).replace("\\\\", "\\")


@pytest.mark.parametrize("file", ["\ud800.safetensors", "a\n.safetensors", "a\0.safetensors",
                                  "a" * 300 + ".safetensors"])  # fmt: skip
def test_an_index_names_files_that_can_exist(file, tmp_path):
    shard(tmp_path, LLAMA, {"model.norm.weight": file})
    with pytest.raises(ValueError, match=r"index\.json") as caught:
        load(tmp_path)
    assert type(caught.value) is ValueError and "\n" not in str(caught.value)


def test_names_in_a_file_cannot_steer_a_terminal(tmp_path):
    arrays = arrays_of(LLAMA) | {"model.a\n\x1b[31m": np.zeros(2, np.float32)}
    with pytest.raises(ValueError, match=r"model\.a") as caught:
        load(write_folder(tmp_path, LLAMA, arrays))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("size", [(16 << 20) + 1, (1 << 64) - 1])
def test_a_header_that_would_fill_the_memory(size, tmp_path):
    write_folder(tmp_path, LLAMA, content=struct.pack("<Q", size) + b"{}" + bytes(100))
    with pytest.raises(ValueError, match=rf"model\.safetensors.*{size:,}"):
        load(tmp_path)


def test_an_index_that_does_not_fit_its_shards(tmp_path):
    shard(tmp_path, LLAMA, {"another": "model-00001-of-00002.safetensors"})
    with pytest.raises(ValueError, match="another"):
        load(tmp_path)
    shard(tmp_path, LLAMA, {"model.norm.weight": "model-00003-of-00003.safetensors"})
    with pytest.raises(FileNotFoundError, match="00003"):
        load(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="it has no limit on open files")
def test_many_tensors_and_shards_need_few_open_files(tmp_path):
    import resource

    values = LLAMA | {"num_hidden_layers": 30}
    arrays = arrays_of(values)
    write_folder(tmp_path / "one", values, arrays)
    write_folder(tmp_path / "many", values, {})
    (tmp_path / "many" / "model.safetensors").unlink()
    names = {name: f"model-{i}.safetensors" for i, name in enumerate(arrays)}
    for name, array in arrays.items():
        (tmp_path / "many" / names[name]).write_bytes(safetensors({name: array}))
    (tmp_path / "many" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, limits[1]))
    try:
        models = [load(tmp_path / name) for name in ("one", "many")]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    for model in models:
        assert_holds(model, expected(values, arrays))


def test_a_shorter_context(tmp_path):
    arrays = arrays_of(GPT2)
    write_folder(tmp_path / "gpt2", GPT2, arrays)
    wanted = expected(GPT2, arrays)
    wanted["wpe.W"] = wanted["wpe.W"][:5]
    model = load(tmp_path / "gpt2", max_len=5)
    assert_holds(model, wanted)
    assert model.max_len == model.config.max_len == 5
    write_folder(tmp_path / "llama", LLAMA)
    assert load(tmp_path / "llama", max_len=7).blocks[0].attn.rotary.max_len == 7
    for wrong in (0, 17, 2.5):
        with pytest.raises(ValueError, match=str(wrong)):
            load(tmp_path / "llama", max_len=wrong)


REFUSED = [
    (LLAMA, {"model_type": "mamba"}, "mamba"),
    (LLAMA, {"model_type": None}, "model_type"),
    (LLAMA, {"hidden_act": "swiglu_oai"}, "swiglu_oai"),
    (LLAMA, {"hidden_act": "gelu"}, "hidden_act"),  # that of erf
    (LLAMA, {"rope_scaling": {"type": "yarn", "factor": 2.0}}, "yarn"),
    (LLAMA, {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}, "dynamic"),
    (LLAMA, {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
    (LLAMA, {"partial_rotary_factor": 0.25}, "partial_rotary_factor"),
    (LLAMA, {"rope_scaling": {"rope_type": "linear"}}, "factor"),
    (LLAMA, {"rope_scaling": {"rope_type": "linear", "factor": "2"}}, "factor"),
    (LLAMA, {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "low_freq_factor"),
    (LLAMA, {"rope_scaling": "linear"}, "rope_scaling"),
    (LLAMA, {"rope_scaling": {"rope_type": ["linear"]}}, "rope_type"),
    (LLAMA, {"rope_theta": "10000"}, "rope_theta"),
    (LLAMA, {"attention_bias": True}, "mlp_bias"),
    (LLAMA, {"quantization_config": {"bits": 4}}, "quantization_config"),
    (LLAMA, {"head_dim": 7}, "7"),
    (LLAMA, {"num_key_value_heads": 3}, "n_kv_heads"),
    (LLAMA, {"hidden_size": "8"}, "'8'"),
    (QWEN2, {"use_sliding_window": True}, "use_sliding_window"),
    (QWEN2, {"layer_types": ["full_attention", "sliding_attention"]}, "layer_types"),
    (GPT2, {"scale_attn_weights": False}, "scale_attn_weights"),
    (GPT2, {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
    (GPT2, {"add_cross_attention": True}, "add_cross_attention"),
    (GPT2, {"activation_function": "gelu"}, "activation_function"),
    (GPT2, {"pruned_heads": {"1": [0]}}, "pruned_heads"),
]


@pytest.mark.parametrize("values, change, named", REFUSED, ids=[f"{a['model_type']} {b}" for a, b, _ in REFUSED])
def test_a_configuration_that_we_do_not_have_is_refused_by_name(values, change, named, tmp_path):
    write_folder(tmp_path, values | change, arrays_of(values))
    for read in (load, config_of):
        with pytest.raises(ValueError) as caught:
            read(tmp_path)
        assert named in str(caught.value) and "config.json" in str(caught.value) and "\n" not in str(caught.value)


SAME = [
    (LLAMA, {"rope_theta": 500.0}, {"rope_theta": 500.0}),
    (LLAMA, {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}, {"rope_theta": 500.0}),
    (LLAMA, {"rope_theta": 500.0, "rope_scaling": {"type": "linear", "factor": 4}}, {"rope_scaling": "linear:4"}),
    (LLAMA, {"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4,
                              "original_max_position_embeddings": 8192}}, {"rope_scaling": "llama3:8:1:4:8192"}),
    (LLAMA, {"sliding_window": None, "pretraining_tp": 2, "attn_implementation": "x"}, {}),
    (QWEN2, {"sliding_window": 32768, "use_sliding_window": False, "max_window_layers": 1}, {"qkv_bias": True}),
    (GPT2, {"reorder_and_upcast_attn": True, "n_ctx": 16}, {}),
    (GPT2, {"activation_function": "gelu_pytorch_tanh"}, {"activation": "gelu"}),
]  # fmt: skip


@pytest.mark.parametrize("values, change, fields", SAME, ids=[f"{a['model_type']} {b}" for a, b, _ in SAME])
def test_a_configuration_that_we_have(values, change, fields, tmp_path):
    model = load(write_folder(tmp_path, values | change, arrays_of(values)))
    assert model.config.to_dict() | fields == model.config.to_dict()


def without(arrays, name):
    return {key: array for key, array in arrays.items() if key != name}


def with_nan(array):
    array = array.copy()
    array.flat[3] = np.nan
    return array


NORM = "model.norm.weight"
WEIGHTS = {
    "missing": (lambda a: without(a, NORM), NORM),
    "unexpected": (lambda a: a | {"model.layers.2.x": a[NORM]}, "model.layers.2.x"),
    "unexpected bias": (lambda a: a | {"model.layers.1.self_attn.q_proj.bias": a[NORM]}, "q_proj.bias"),
    "shape": (lambda a: a | {NORM: np.ones(7, np.float32)}, NORM),
    "transposed": (lambda a: a | {"model.layers.0.mlp.up_proj.weight": np.ones((8, 6), np.float32)}, "up_proj"),
    "dtype": (lambda a: a | {NORM: np.ones(8, np.int32)}, NORM),
    "nan": (lambda a: a | {NORM: with_nan(a[NORM])}, NORM),
    "infinite in float32": (lambda a: a | {NORM: np.full(8, 1e300)}, NORM),
    "twice": (lambda a: a | {"norm.weight": a[NORM]}, "norm.weight"),
}


@pytest.mark.parametrize("change, named", WEIGHTS.values(), ids=WEIGHTS)
def test_weights_that_do_not_fit(change, named, tmp_path):
    write_folder(tmp_path, LLAMA, change(arrays_of(LLAMA)))
    with pytest.raises(ValueError) as caught:
        load(tmp_path)
    assert named in str(caught.value) and str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_tied_model_with_another_head(tmp_path):
    arrays = arrays_of(QWEN2)
    write_folder(tmp_path, QWEN2, arrays | {"lm_head.weight": arrays["model.embed_tokens.weight"] + 1})
    with pytest.raises(ValueError, match="lm_head"):
        load(tmp_path)


def test_a_part_of_a_file(tmp_path):
    whole = safetensors(arrays_of(GPT2))
    for size in [*range(0, 40), len(whole) // 2, len(whole) - 1]:
        write_folder(tmp_path, GPT2, content=whole[:size])
        with pytest.raises(ValueError, match=r"model\.safetensors"):
            load(tmp_path)
    write_folder(tmp_path, GPT2, content=whole + b"\0")
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        load(tmp_path)


def test_sizes_that_only_the_configuration_claims_take_no_memory(tmp_path):
    for change in ({"hidden_size": 1 << 30}, {"num_hidden_layers": 9000}, {"vocab_size": 1 << 39}):
        write_folder(tmp_path, LLAMA | change, arrays_of(LLAMA))
        tracemalloc.start()
        with pytest.raises(ValueError):
            load(tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8 << 20


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(GPT2))
    assert not is_model_folder(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        load(tmp_path)


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    write_folder(tmp_path, GPT2)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(RuntimeError, match=r"safetensors.*\[models\]"):
        load(tmp_path)
