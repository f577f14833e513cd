"""A model folder from a GGUF file: the numbers in float32, under the names and in the order of Hugging Face's files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from numpygpt.models.config import ModelConfig
from numpygpt.models.gpt import GPT
from numpygpt.models.pretrained.families import FAMILIES, Family, Part
from numpygpt.models.pretrained.gguf_files import GGUFFile, Quantised
from numpygpt.models.pretrained.safetensors_files import SINGLE, write_file
from numpygpt.models.pretrained.tokenizers import write_tokenizer
from numpygpt.nn.skeleton import skeleton
from numpygpt.utils.files import write_whole
from numpygpt.utils.paths import display_path
from numpygpt.utils.text import shorten

NAMES = {  # the family's name of a module -> GGUF's
    "llama": {"embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output", "input_layernorm": "attn_norm",
              "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
              "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
              "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"},
    "gpt2": {"wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm", "lm_head": "output",
             "ln_1": "attn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "ln_2": "ffn_norm",
             "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"},
}  # fmt: skip
KEYS = {  # config.json's name -> GGUF's, below the name of the architecture
    "llama": {"max_position_embeddings": "context_length", "hidden_size": "embedding_length",
              "num_hidden_layers": "block_count", "intermediate_size": "feed_forward_length",
              "num_attention_heads": "attention.head_count", "num_key_value_heads": "attention.head_count_kv",
              "rms_norm_eps": "attention.layer_norm_rms_epsilon", "head_dim": "attention.key_length",
              "rope_theta": "rope.freq_base"},
    "gpt2": {"n_positions": "context_length", "n_embd": "embedding_length", "n_layer": "block_count",
             "n_inner": "feed_forward_length", "n_head": "attention.head_count",
             "layer_norm_epsilon": "attention.layer_norm_epsilon"},
}  # fmt: skip
UNSUPPORTED = ("expert_count", "attention.sliding_window", "attention.scale", "attention.clamp_kqv", "logit_scale",
               "residual_scale", "embedding_scale")  # they change the function
OPTIONAL = ("num_key_value_heads", "head_dim", "rope_theta")

Progress = Callable[[str, int, int], None]


def convert(path: Path, folder: Path, progress: Progress | None = None, label: str = "converting") -> None:
    """Write config.json, model.safetensors and the tokenizer of a GGUF file into an empty folder.

    FileNotFoundError, or ValueError that names an architecture, a value or a tensor that is not supported.
    """
    file = GGUFFile(path)
    try:
        family, config, values = described(file)
        with skeleton():
            model = GPT(config)
        shapes = {name: param.shape for name, param in model.named_parameters()}
        sources = matched(file, family, config, list(family.parts(config, shapes)))
        special = write_tokenizer(file.fields, folder, config)
    except (ValueError, MemoryError) as error:
        name = display_path(path)
        raise error if name in str(error) else ValueError(f"{name} cannot be used: {error}") from error
    total, done = 4 * model.n_params(), 0

    def wrote(size: int) -> None:
        nonlocal done
        done += size
        if progress:
            progress(label, done, total)

    try:
        write_file(folder / SINGLE, {part.name: ("float32", part.shape) for part, _ in sources},
                   (laid_out(source, part, family, config) for part, source in sources), wrote)
    except ValueError as error:
        raise ValueError(f"{display_path(path)} cannot be used: {error}") from error
    described_by = {**values, **special, "torch_dtype": "float32", "dtype": "float32"}
    write_whole(folder / "config.json", json.dumps(described_by, indent=2) + "\n")


def described(file: GGUFFile) -> tuple[Family, ModelConfig, dict[str, Any]]:
    """The family, the configuration, and the config.json of a GGUF file."""
    kind, fields, tensors = file.fields.get("general.architecture"), file.fields, file.tensors
    if not isinstance(kind, str) or kind not in NAMES:
        raise ValueError(f"its architecture is {shorten(kind)}, and only {', '.join(NAMES)} are supported in GGUF")
    family, values = FAMILIES[kind], dict[str, Any](model_type=kind)
    for name, key in KEYS[kind].items():
        if (found := fields.get(f"{kind}.{key}")) is not None:
            values[name] = shortest(found) if isinstance(found, float) else found
        elif name not in OPTIONAL:
            raise ValueError(f"it has no {kind}.{key}")
    if "token_embd.weight" not in tensors or len(tensors["token_embd.weight"].shape) != 2:
        raise ValueError("it has no table token_embd.weight")
    values["vocab_size"] = len(tensors["token_embd.weight"].data)
    values["tie_word_embeddings"] = is_tied(tensors)
    if more := next((name for name in UNSUPPORTED if fields.get(f"{kind}.{name}")), ""):
        raise ValueError(f"{kind}.{more} is {shorten(fields[f'{kind}.{more}'])}, which is not supported")
    if family.rotary:
        values |= rotary(kind, fields)
        values |= {"attention_bias": "blk.0.attn_q.bias" in tensors, "mlp_bias": "blk.0.ffn_up.bias" in tensors}
    config = family.config(values)
    if family.rotary:
        for key in ("rope.dimension_count", "attention.value_length"):
            if fields.get(f"{kind}.{key}", config.d_k) != config.d_k:
                raise ValueError(f"{kind}.{key} is {shorten(fields[f'{kind}.{key}'])}, and only the size of a head, "
                                 f"{config.d_k}, is supported")
    if config.n_layers > len(tensors):  # layers are made one by one
        raise ValueError(f"it has {config.n_layers:,} layers, and {len(tensors)} tensors")
    return family, config, family.values(config)


def shortest(value: float) -> float:
    """The number with the fewest digits that is this one in float32: 1e-5 for 0.000009999999747378752."""
    with np.errstate(over="ignore"):
        return float(str(np.float32(value)))


def is_tied(tensors: Mapping[str, Quantised]) -> bool:
    """Whether the head is the table of token vectors: some writers leave it out, others write it twice."""
    table, head = tensors["token_embd.weight"], tensors.get("output.weight")
    return head is None or (head.kind == table.kind and np.array_equal(head.data, table.data))


def rotary(kind: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The scaling of rotary positions as config.json has it. As in llama.cpp, a factor without a type means linear, 0
    means no scaling, and old files have the factor under another name."""
    factor = fields.get(f"{kind}.rope.scaling.factor", fields.get(f"{kind}.rope.scale_linear", 0))
    scaling = fields.get(f"{kind}.rope.scaling.type", "linear")
    if scaling == "none" or (scaling == "linear" and factor == 0):
        return {}
    return {"rope_scaling": {"rope_type": scaling, "factor": factor}}


def matched(file: GGUFFile, family: Family, config: ModelConfig, parts: list[Part]) -> list[tuple[Part, Quantised]]:
    """The tensor of each part. ValueError for one that is missing, unexpected or misshapen."""
    found = []
    for part in parts:
        name = gguf_name(family, part.name)
        tensor = file.tensors.get(name)
        if tensor is None:
            raise ValueError(f"the tensor {name} is missing")
        shape = part.shape[::-1] if is_turned(family, part) else part.shape
        if tensor.shape != shape:
            raise ValueError(f"{name} has the shape {tensor.shape!s:.80}, and its metadata ask for {shape}")
        found.append((part, tensor))
    known = {gguf_name(family, part.name) for part in parts} | ({"output.weight"} if config.tie_weights else set())
    if unknown := sorted(set(file.tensors) - known):
        raise ValueError(f"the tensor {shorten(unknown[0])} is not a part of this {family.model_type} model"
                         + (": rotary scaling by a tensor is not supported" if "rope" in unknown[0] else ""))
    return found


def gguf_name(family: Family, name: str) -> str:
    """`model.layers.3.self_attn.q_proj.weight` -> `blk.3.attn_q.weight`."""
    bare = name.removeprefix(family.prefix)
    block = re.fullmatch(rf"{family.block}\.(\d+)\.(.+)\.(weight|bias)", bare)
    module, own = block.group(2, 3) if block else bare.rsplit(".", 1)
    theirs = NAMES[family.model_type][module]
    return f"blk.{block[1]}.{theirs}.{own}" if block else f"{theirs}.{own}"


def is_turned(family: Family, part: Part) -> bool:
    """Whether GGUF has the transpose: all its linear layers are (out, in), those of GPT-2's own files (in, out)."""
    return not family.transposed and len(part.shape) == 2 and part.name.startswith(f"{family.prefix}{family.block}.")


def laid_out(tensor: Quantised, part: Part, family: Family, config: ModelConfig) -> np.ndarray:
    """The numbers as Hugging Face's files have them.

    In GGUF the rows of Llama's queries and keys are in the order of neighbours (0, D/2, 1, D/2 + 1, ...): there rotary
    positions turn rows 2i and 2i + 1 of a head, here rows i and i + D/2.
    """
    array, turned = tensor.array(), {"q_proj": config.n_heads, "k_proj": config.n_kv_heads}
    if heads := turned.get(part.name.split(".")[-2]):
        halves = array.reshape(heads, len(array) // heads // 2, 2, *array.shape[1:])  # (heads, D/2, 2, C)
        array = halves.swapaxes(1, 2).reshape(array.shape)  # (heads D, C)
    return array.T if is_turned(family, part) else array
