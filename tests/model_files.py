"""Model folders for tests, written without the code under test: small models of each family with random numbers."""

import json
import struct

import numpy as np

LLAMA = {"model_type": "llama", "vocab_size": 11, "hidden_size": 8, "intermediate_size": 6, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6, "max_position_embeddings": 16,
         "rms_norm_eps": 1e-5, "tie_word_embeddings": False}  # fmt: skip
QWEN2 = LLAMA | {"model_type": "qwen2", "tie_word_embeddings": True}
GPT2 = {"model_type": "gpt2", "vocab_size": 11, "n_positions": 16, "n_embd": 8, "n_layer": 2, "n_head": 2,
        "n_inner": 6}  # fmt: skip
NAMES = {"f4": "F32", "f2": "F16", "f8": "F64", "i4": "I32", "u1": "U8"}


def arrays_of(values, seed=0):
    """name -> float32 array, as the family's files have them."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    if values["model_type"] == "gpt2":
        V, C, F = values["vocab_size"], values["n_embd"], values["n_inner"]
        found = {"wte.weight": normal(V, C), "wpe.weight": normal(values["n_positions"], C)}
        for i in range(values["n_layer"]):
            shapes = {"ln_1": (C,), "attn.c_attn": (C, 3 * C), "attn.c_proj": (C, C), "ln_2": (C,), "mlp.c_fc": (C, F),
                      "mlp.c_proj": (F, C)}  # fmt: skip
            for name, shape in shapes.items():
                found[f"h.{i}.{name}.weight"] = normal(*shape)
                found[f"h.{i}.{name}.bias"] = normal(shape[-1])
        found |= {"ln_f.weight": normal(C), "ln_f.bias": normal(C)}
        return {f"transformer.{name}": array for name, array in found.items()}
    V, C, F, D = (values[name] for name in ("vocab_size", "hidden_size", "intermediate_size", "head_dim"))
    q, kv = D * values["num_attention_heads"], D * values["num_key_value_heads"]
    found = {"model.embed_tokens.weight": normal(V, C), "model.norm.weight": normal(C)}
    for i in range(values["num_hidden_layers"]):
        shapes = {"input_layernorm": (C,), "self_attn.q_proj": (q, C), "self_attn.k_proj": (kv, C),
                  "self_attn.v_proj": (kv, C), "self_attn.o_proj": (C, q), "post_attention_layernorm": (C,),
                  "mlp.gate_proj": (F, C), "mlp.up_proj": (F, C), "mlp.down_proj": (C, F)}  # fmt: skip
        for name, shape in shapes.items():
            found[f"model.layers.{i}.{name}.weight"] = normal(*shape)
            if values["model_type"] == "qwen2" and name[-6:] in ("q_proj", "k_proj", "v_proj"):
                found[f"model.layers.{i}.{name}.bias"] = normal(shape[0])
    if not values["tie_word_embeddings"]:
        found["lm_head.weight"] = normal(V, C)
    return found


def safetensors(arrays, dtypes=None):
    """The bytes of a file. `dtypes`: name -> the dtype that the header says, if not the array's own."""
    header, body = {}, b""
    for name, array in arrays.items():
        data = np.ascontiguousarray(array).tobytes()
        kind = (dtypes or {}).get(name) or NAMES[array.dtype.str[1:]]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


def bfloat16(array):
    """The upper halves of float32 numbers, which are bfloat16 when the lower halves are 0."""
    return (array.view(np.uint32) >> 16).astype(np.uint16)


def write_folder(folder, values, arrays=None, content=None):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(values))
    arrays = arrays_of(values) if arrays is None else arrays
    (folder / "model.safetensors").write_bytes(safetensors(arrays) if content is None else content)
    return folder
