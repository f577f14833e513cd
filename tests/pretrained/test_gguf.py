"""GGUF files become model folders: types of tensors, the order of rows, the tokenizer; others are refused by name."""

import json
import struct

import numpy as np
import pytest

pytest.importorskip("safetensors")
pytest.importorskip("ml_dtypes")
pytest.importorskip("gguf")

from gguf_model import CHATML, WIDE, K, config, fields_of, gguf, tensors_of, tokenizer_fields, write
from model_files import write_folder

from numpygpt.models.pretrained import find, gguf_files, load
from numpygpt.models.pretrained.gguf_files import GGUFFile
from numpygpt.tokenizer import load_tokenizer


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMPYGPT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("kind", WIDE)
def test_a_converted_model_is_that_of_the_folder(kind, tmp_path, cache):
    values = WIDE[kind]
    arrays, tensors = tensors_of(values)
    folder = find(write(tmp_path / "m.gguf", values, tensors))
    assert folder.parent == cache / "models" and not list((cache / "models").glob(".*"))
    found = load(folder)
    wanted = load(write_folder(tmp_path / "hf", values, arrays))
    assert found.config == wanted.config
    for name, param in found.params().items():
        np.testing.assert_array_equal(param, wanted.params()[name], err_msg=name)
    tokenizer = load_tokenizer(folder)
    assert tokenizer.decode(tokenizer.encode("the 12  x")) == "the 12  x"
    assert (tokenizer.bos_id, tokenizer.eos_id) == (1, 2) == (config(folder)["bos_token_id"],
                                                              config(folder)["eos_token_id"])
    assert json.loads((folder / "tokenizer_config.json").read_text())["chat_template"] == CHATML
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert find(tmp_path / "m.gguf") == folder and (folder / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize("type", ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q4_K", "Q6_K"])
def test_types_of_tensors(type, tmp_path):
    """The numbers are those of the package: of random blocks, where it cannot quantise."""
    values, kind = WIDE["llama"], K[type]
    _, tensors = tensors_of(values)
    matrices = [name for name, array in tensors.items() if array.ndim == 2]
    if type in ("Q4_K", "Q6_K"):
        block, size = gguf.GGML_QUANT_SIZES[kind]
        rng = np.random.default_rng(0)
        for name in matrices:
            rows, width = tensors[name].shape
            raw = rng.integers(0, 256, (rows, width // block, size), dtype=np.uint8)
            scales = np.float16(0.01 * rng.random((rows, width // block))).view(np.uint8).reshape(rows, -1, 2)
            for at in (0, 2) if type == "Q4_K" else (size - 2,):
                raw[..., at : at + 2] = scales
            tensors[name] = raw.reshape(rows, -1)
    path = write(tmp_path / "m.gguf", values, tensors, dict.fromkeys(matrices, kind))
    reader = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    for name, tensor in GGUFFile(path).tensors.items():
        other = reader[name]
        assert tensor.shape == tuple(map(int, other.shape[::-1])) and tensor.kind == other.tensor_type.name
        numbers = gguf.quants.dequantize(other.data, other.tensor_type).reshape(tensor.shape)
        np.testing.assert_array_equal(tensor.array(), numbers, err_msg=name)
    assert load(find(path)).params()["wte.W"].dtype == np.float32


def test_the_head_may_be_the_table(tmp_path):
    """Some writers leave the head out, others write the table twice."""
    values = WIDE["llama"]
    _, tensors = tensors_of(values)
    table = tensors["token_embd.weight"]
    for n, head in enumerate(({}, {"output.weight": table})):
        rest = {name: array for name, array in tensors.items() if name != "output.weight"}
        model = load(find(write(tmp_path / f"{n}.gguf", values, rest | head)))
        assert model.config.tie_weights
    assert not load(find(write(tmp_path / "2.gguf", values, tensors))).config.tie_weights


@pytest.mark.parametrize(("scaling", "found"), [
    ({"type": "linear", "factor": 4.0}, "linear:4"), ({"factor": 4.0}, "linear:4"), ({"type": "linear"}, ""),
    ({"type": "none", "factor": 4.0}, ""), ({"factor": 0.0}, ""),
])  # fmt: skip
def test_linear_scaling(scaling, found, tmp_path):
    """A factor without a type is linear, as in llama.cpp."""
    values = WIDE["llama"]
    fields = [(f"llama.rope.scaling.{name}", "string" if name == "type" else "float32", value)
              for name, value in scaling.items()]
    path = write(tmp_path / "m.gguf", values, tensors_of(values)[1],
                 fields=[*fields_of(values), *tokenizer_fields(261), *fields])
    assert load(find(path)).config.rope_scaling == found


def test_the_old_name_of_the_factor(tmp_path):
    values = WIDE["llama"]
    fields = [*fields_of(values), *tokenizer_fields(261), ("llama.rope.scale_linear", "float32", 2.0)]
    path = write(tmp_path / "m.gguf", values, tensors_of(values)[1], fields=fields)
    assert load(find(path)).config.rope_scaling == "linear:2"


def described(name):
    return struct.pack("<Q", len(name)) + name


@pytest.mark.parametrize("axes", [(0, 5), (5, 0), (0, 1 << 63, 1 << 63)])
def test_a_tensor_without_numbers(axes, tmp_path):
    """Its other axes could have any size."""
    header = b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + described(b"t")
    (tmp_path / "m.gguf").write_bytes(header + struct.pack(f"<I{len(axes)}QIQ", len(axes), *axes, 0, 0) + bytes(200))
    with pytest.raises(ValueError, match=r"m\.gguf.*'t'"):
        GGUFFile(tmp_path / "m.gguf")


def test_a_list_that_would_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(gguf_files, "MAX_ENTRIES", 1000)
    for n in (1000, 1001):
        header = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + described(b"k")
        (tmp_path / "m.gguf").write_bytes(header + struct.pack("<IIQ", 9, 0, n) + bytes(n))
        if n <= 1000:
            assert GGUFFile(tmp_path / "m.gguf").fields == {"k": [0] * n}
        else:
            with pytest.raises(ValueError, match=r"m\.gguf.*1,001"):
                GGUFFile(tmp_path / "m.gguf")


def changed(fields, name, value):
    return [(key, how, value if key == name else old) for key, how, old in fields if key != name or value is not None]


FIELDS = [*fields_of(WIDE["llama"]), *tokenizer_fields(261)]
REFUSED = {
    "no size": (changed(FIELDS, "llama.embedding_length", None), {}, "llama.embedding_length"),
    "partial rotation": (changed(FIELDS, "llama.rope.dimension_count", 32), {}, "rope.dimension_count"),
    "yarn": ([*FIELDS, ("llama.rope.scaling.type", "string", "yarn")], {}, "yarn"),
    "window": ([*FIELDS, ("llama.attention.sliding_window", "uint32", 64)], {}, "sliding_window"),
    "too large": ([*changed(FIELDS, "llama.rope.freq_base", None), ("llama.rope.freq_base", "float64", 1e300)], {},
                  "rope_theta"),
    "experts": ([*FIELDS, ("llama.expert_count", "uint32", 8)], {}, "expert_count"),
    "another context": (changed(FIELDS, "llama.feed_forward_length", 300), {}, "ffn_gate"),
    "tokenizer": (changed(FIELDS, "tokenizer.ggml.model", "t5"), {}, "t5"),
    "pattern": (changed(FIELDS, "tokenizer.ggml.pre", "falcon"), {}, "falcon"),
    "no tokens": (changed(FIELDS, "tokenizer.ggml.tokens", ["a"]), {}, "tokens"),
    "tokens that are numbers": (changed(FIELDS, "tokenizer.ggml.tokens", [1, 2]), {}, "tokens"),
    "scaling by a tensor": (FIELDS, {"rope_freqs.weight": np.ones(32, np.float32)}, "rope_freqs.weight"),
    "missing": (FIELDS, {"output_norm.weight": None}, "output_norm.weight"),
    "nan": (FIELDS, {"output_norm.weight": np.full(256, np.nan, np.float32)}, "norm.weight"),
}


@pytest.mark.parametrize("fields, change, named", REFUSED.values(), ids=REFUSED)
def test_what_we_do_not_have_is_refused_by_name(fields, change, named, tmp_path, cache):
    values = WIDE["llama"]
    tensors = {name: array for name, array in (tensors_of(values)[1] | change).items() if array is not None}
    path = write(tmp_path / "m.gguf", values, tensors, fields=fields)
    with pytest.raises(ValueError) as caught:
        find(path)
    assert named in str(caught.value) and "m.gguf" in str(caught.value) and "\n" not in str(caught.value)
    assert not list((cache / "models").iterdir())


def test_other_architectures_and_types(tmp_path):
    values = WIDE["llama"]
    tensors = tensors_of(values)[1]
    with pytest.raises(ValueError, match="gemma3"):
        find(write(tmp_path / "a.gguf", values | {"model_type": "gemma3"}, tensors, fields=FIELDS))
    path = write(tmp_path / "b.gguf", values, tensors, {"output.weight": K.Q5_0})
    with pytest.raises(ValueError, match=r"output\.weight.*Q5_0"):
        find(path)


def test_a_part_of_a_file(tmp_path):
    whole = write(tmp_path / "whole.gguf", WIDE["llama"], tensors_of(WIDE["llama"])[1]).read_bytes()
    part = tmp_path / "part.gguf"
    for size in [*range(0, 3000, 97), len(whole) // 2, len(whole) - 1]:
        part.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"part\.gguf"):
            find(part)
    with pytest.raises(FileNotFoundError, match=r"none\.gguf"):
        find(tmp_path / "none.gguf")
