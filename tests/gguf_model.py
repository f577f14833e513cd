"""Small GGUF files, written by the package gguf in llama.cpp's layout."""

import json

import numpy as np
import pytest
from model_files import GPT2, LLAMA, arrays_of

gguf = pytest.importorskip("gguf")
K = gguf.GGMLQuantizationType
NAMES = {"embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output", "input_layernorm": "attn_norm",
         "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
         "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "wte": "token_embd", "wpe": "position_embd",
         "ln_f": "output_norm", "ln_1": "attn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output",
         "ln_2": "ffn_norm", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"}  # fmt: skip
WIDE = {"llama": LLAMA | {"vocab_size": 261, "hidden_size": 256, "intermediate_size": 256, "num_hidden_layers": 1,
                          "num_attention_heads": 8, "head_dim": 64, "rope_theta": 500.0},
        "gpt2": GPT2 | {"vocab_size": 261, "n_embd": 256, "n_inner": 256, "n_layer": 1}}  # fmt: skip
CHATML = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' "
          "+ '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")


def fields_of(values):
    """(name, method of the writer, value) of the metadata."""
    kind = values["model_type"]

    def of(llama, gpt2):
        return values[llama if kind == "llama" else gpt2]

    found = [("context_length", "uint32", of("max_position_embeddings", "n_positions")),
             ("embedding_length", "uint32", of("hidden_size", "n_embd")),
             ("block_count", "uint32", of("num_hidden_layers", "n_layer")),
             ("feed_forward_length", "uint32", of("intermediate_size", "n_inner")),
             ("attention.head_count", "uint32", of("num_attention_heads", "n_head"))]  # fmt: skip
    if kind == "llama":
        D = values["head_dim"]
        found += [("attention.head_count_kv", "uint32", values["num_key_value_heads"]),
                  ("attention.layer_norm_rms_epsilon", "float32", values["rms_norm_eps"]),
                  ("rope.freq_base", "float32", values.get("rope_theta", 10000.0)),
                  *((name, "uint32", D) for name in ("rope.dimension_count", "attention.key_length",
                                                     "attention.value_length"))]  # fmt: skip
    else:
        found += [("attention.layer_norm_epsilon", "float32", 1e-5)]
    return [(f"{kind}.{name}", how, value) for name, how, value in found]


def alphabet():
    """GPT-2's characters for the 256 bytes."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in visible]
    return [chr(byte) if byte in visible else chr(256 + others.index(byte)) for byte in range(256)]


def tokenizer_fields(size, pre="smollm"):
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokens = [*special, *alphabet(), "th", "the"][:size]
    merges = ["t h", "th e"][: max(size - 259, 0)]
    return [("tokenizer.ggml.model", "string", "gpt2"), ("tokenizer.ggml.pre", "string", pre),
            ("tokenizer.ggml.tokens", "array", tokens),
            ("tokenizer.ggml.token_type", "array", [3 if token in special else 1 for token in tokens]),
            ("tokenizer.ggml.merges", "array", merges), ("tokenizer.ggml.bos_token_id", "uint32", 1),
            ("tokenizer.ggml.eos_token_id", "uint32", 2), ("tokenizer.ggml.add_bos_token", "bool", False),
            ("tokenizer.chat_template", "string", CHATML)]  # fmt: skip


def stored(name, array, values):
    """(GGUF's name, the array in its order): rows of queries and keys as neighbours, matrices (out, in)."""
    bare = name.removeprefix("model.").removeprefix("transformer.")
    block, parts = "", bare.split(".")
    if parts[0] in ("layers", "h"):
        block, parts = f"blk.{parts[1]}.", parts[2:]
    module, own = ".".join(parts[:-1]), parts[-1]
    if values["model_type"] == "gpt2" and block and array.ndim == 2:
        array = array.T
    heads = {"self_attn.q_proj": "num_attention_heads", "self_attn.k_proj": "num_key_value_heads"}.get(module)
    if heads:
        H = values[heads]
        array = array.reshape(H, 2, len(array) // H // 2, -1).swapaxes(1, 2).reshape(array.shape)
    return f"{block}{NAMES[module]}.{own}", np.ascontiguousarray(array)


def tensors_of(values, seed=0):
    """Our names, arrays as Hugging Face has them, and arrays as GGUF has them."""
    arrays = arrays_of(values, seed)
    return arrays, dict(stored(name, array, values) for name, array in arrays.items())


def write(path, values, tensors, kinds=None, fields=None):
    """`kinds`: name -> type of a tensor, F32 by default; bytes of such a tensor are taken as they are."""
    writer = gguf.GGUFWriter(path, values["model_type"])
    for name, how, value in fields or [*fields_of(values), *tokenizer_fields(values["vocab_size"])]:
        getattr(writer, f"add_{how}")(name, value)
    for name, array in tensors.items():
        kind = (kinds or {}).get(name, K.F32)
        if array.dtype == np.uint8:
            writer.add_tensor(name, array, raw_dtype=kind)
        elif kind == K.F32:
            writer.add_tensor(name, array)
        else:
            writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def config(folder):
    return json.loads((folder / "config.json").read_text())
