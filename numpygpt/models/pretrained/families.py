"""The families of models whose files we read and write: one description each, used in both directions.

A family gives its names for our modules and for the fields of `ModelConfig`. Everything else follows: which tensors a
file must have, their shapes, and where their numbers go in our parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from numpygpt.models.config import ModelConfig
from numpygpt.models.pretrained import rope
from numpygpt.nn.modules.rotary import parse_scaling
from numpygpt.utils.text import shorten

Values = Mapping[str, Any]  # of config.json
ACTIVATIONS = {"gelu_new": "gelu", "gelu_pytorch_tanh": "gelu", "gelu_fast": "gelu", "silu": "silu", "swish": "silu",
               "relu": "relu"}  # the first name of each is the one we write
OWN = {"W": "weight", "b": "bias", "gamma": "weight", "beta": "bias"}
INT8 = {"quant_method": "numpygpt_int8"}  # the quantization_config of a folder with weights in 8 bits
TRAINING = ("dropout", "attn_dropout", "dtype")  # fields that do not change what a trained model computes


@dataclass(frozen=True)
class Part:
    """A tensor of a file, and its place: some columns of one of our parameters, transposed or not."""

    name: str
    shape: tuple[int, ...]
    param: str
    columns: slice
    transposed: bool

    def of(self, param: np.ndarray) -> np.ndarray:
        """The tensor as a view of our parameter."""
        part = param[..., self.columns]
        return part.T if self.transposed else part


@dataclass(frozen=True)
class Family:
    model_type: str
    architecture: str
    prefix: str  # of all names but the head's; files may leave it out
    block: str  # the name of block N is `block.N`
    modules: Mapping[str, tuple[str, ...]]  # ours -> theirs, side by side in our columns
    transposed: bool  # their linear layers are (out, in)
    ignored: str  # pattern of buffers that some files hold
    keys: Mapping[str, tuple[str, Any]]  # config.json's name -> our field, and the default
    fixed: Mapping[str, Any]  # our fields that every model of the family has
    only: Mapping[str, tuple[Any, ...]]  # config.json's name -> the supported values, the default first
    activation: str  # its name in config.json
    rotary: bool
    linear_bias: tuple[str, ...] = ()  # the names of switches for biases, which must agree

    def config(self, values: Values) -> ModelConfig:
        """The configuration in a config.json. ValueError that names a value that is not supported."""
        self.check(values)
        found = {ours: values.get(name, default) for name, (ours, default) in self.keys.items()}
        act = values.get(self.activation, next(iter(ACTIVATIONS)) if not self.rotary else "silu")
        if not isinstance(act, str) or act not in ACTIVATIONS:
            raise ValueError(f"{self.activation} is {shorten(act)}, expected one of {', '.join(ACTIVATIONS)}")
        if self.linear_bias:
            switches = {name: values.get(name, False) for name in self.linear_bias}
            if len(set(map(repr, switches.values()))) > 1:
                raise ValueError(f"{' and '.join(switches)} differ, and only equal ones are supported")
            found["bias"] = next(iter(switches.values()))
        if self.rotary:
            found |= rope.read(values)
        found["d_v"] = found.get("d_k")
        return normal(ModelConfig(**found, **self.fixed, activation=ACTIVATIONS[act]))

    def check(self, values: Values) -> None:
        """ValueError for a value of config.json that changes the function and is not supported."""
        for name, known in self.only.items():
            if values.get(name, known[0]) not in known:
                raise ValueError(f"{name} is {shorten(values[name])}, and only {shorten(known[0])} is supported")
        for name in ("quantization_config", "pruned_heads"):
            if values.get(name) and not (name == "quantization_config" and values[name] == INT8):
                raise ValueError(f"it has {name}: quantised or pruned weights are not supported in this format")
        kinds = values.get("layer_types") or []
        if not isinstance(kinds, list) or kinds != ["full_attention"] * len(kinds):
            raise ValueError(f"layer_types is {shorten(kinds)}, and only full_attention is supported")

    def values(self, config: ModelConfig) -> dict[str, Any]:
        """What config.json holds for this configuration. ValueError that names a field which the family lacks."""
        c = normal(config)
        act = next((name for name, ours in ACTIVATIONS.items() if ours == c.activation), "")
        found: dict[str, Any] = {"model_type": self.model_type, "architectures": [self.architecture]}
        found |= {name: getattr(c, ours) for name, (ours, _) in self.keys.items()}
        found |= {self.activation: act} | dict.fromkeys(self.linear_bias, c.bias)
        found |= rope.written(c) if self.rotary else {}
        differ = [f.name for f in fields(c) if f.name not in TRAINING
                  and getattr(c, f.name) != getattr(self.config(found), f.name)] if act else ["activation"]
        if differ:
            raise ValueError(f"{self.model_type} models have no " + ", ".join(
                f"{name} = {shorten(getattr(c, name))}" for name in differ))
        return found

    def parts(self, config: ModelConfig, params: Mapping[str, tuple[int, ...]]) -> Iterator[Part]:
        """The tensors of a file for parameters with these shapes. ValueError for a parameter that no tensor fits."""
        for param, shape in params.items():
            block = re.fullmatch(r"blocks\.(\d+)\.(.+)\.(\w+)", param)
            module, own = block.group(2, 3) if block else param.rsplit(".", 1)
            if module not in self.modules or own not in OWN:
                raise ValueError(f"{self.model_type} models have no {param:.80}")
            names, widths = self.modules[module], self.widths(config, module, shape)
            linear = len(shape) == 2 and block is not None
            for name, (a, b) in zip(names, pairwise(accumulate(widths, initial=0)), strict=True):
                theirs = f"{self.block}.{block[1]}.{name}" if block else name
                theirs = f"{theirs}.{OWN[own]}" if module == "head.embedding" else f"{self.prefix}{theirs}.{OWN[own]}"
                turned = self.transposed and linear
                size = (*shape[:-1], b - a)
                yield Part(theirs, size[::-1] if turned else size, param, slice(a, b), turned)

    def widths(self, config: ModelConfig, module: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The columns of our parameter that each of their tensors has."""
        if len(self.modules[module]) == 1:
            return (shape[-1],)
        if module == "ffn.fc":  # gate | up
            return (shape[-1] // 2, shape[-1] // 2)
        c = normal(config)  # q | k | v
        return (c.n_heads * c.d_k, c.n_kv_heads * c.d_k, c.n_kv_heads * c.d_v)  # type: ignore[operator]

    def known(self, name: str) -> str | None:
        """The name of a tensor with the prefix, however the file spells it; None for a buffer to ignore."""
        bare = name.removeprefix(self.prefix)
        if re.fullmatch(self.ignored, bare):
            return None
        return bare if bare.startswith("lm_head.") else self.prefix + bare


def normal(c: ModelConfig) -> ModelConfig:
    """The same configuration with its defaults written out, so that two can be compared."""
    size, rotary = c.d_model // c.n_heads, c.positions == "rope"
    scaling = rope.spelled(*parse_scaling(c.rope_scaling)) if rotary else ""
    d_ff = c.d_ff or (4 * c.d_model if c.ffn == "mlp" else None)
    return replace(c, n_kv_heads=c.n_kv_heads or c.n_heads, d_ff=d_ff, d_k=c.d_k or size, d_v=c.d_v or size,
                   qkv_bias=c.qkv_bias and not c.bias,
                   rope_theta=c.rope_theta if rotary else rope.THETA, rope_scaling=scaling)


GPT2 = Family(
    "gpt2", "GPT2LMHeadModel", "transformer.", "h",
    modules={"wte": ("wte",), "wpe": ("wpe",), "norm_f": ("ln_f",), "head.embedding": ("lm_head",),
             "norm1": ("ln_1",), "attn.qkv": ("attn.c_attn",), "attn.proj": ("attn.c_proj",),
             "norm2": ("ln_2",), "ffn.fc": ("mlp.c_fc",), "ffn.proj": ("mlp.c_proj",)},
    transposed=False, ignored=r"h\.\d+\.attn\.(masked_)?bias",
    keys={"vocab_size": ("vocab_size", 50257), "n_positions": ("max_len", 1024), "n_embd": ("d_model", 768),
          "n_layer": ("n_layers", 12), "n_head": ("n_heads", 12), "n_inner": ("d_ff", None),
          "layer_norm_epsilon": ("norm_eps", 1e-5), "tie_word_embeddings": ("tie_weights", True),
          "resid_pdrop": ("dropout", 0.1), "attn_pdrop": ("attn_dropout", 0.1)},
    fixed={"norm": "layernorm", "ffn": "mlp", "positions": "learned", "bias": True},
    only={"scale_attn_weights": (True,), "scale_attn_by_inverse_layer_idx": (False, None),
          "add_cross_attention": (False, None)},
    activation="activation_function", rotary=False)  # fmt: skip

LLAMA = Family(
    "llama", "LlamaForCausalLM", "model.", "layers",
    modules={"wte": ("embed_tokens",), "norm_f": ("norm",), "head.embedding": ("lm_head",),
             "norm1": ("input_layernorm",), "attn.proj": ("self_attn.o_proj",),
             "attn.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
             "norm2": ("post_attention_layernorm",), "ffn.fc": ("mlp.gate_proj", "mlp.up_proj"),
             "ffn.proj": ("mlp.down_proj",)},
    transposed=True, ignored=r"(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq",
    keys={"vocab_size": ("vocab_size", 32000), "max_position_embeddings": ("max_len", 2048),
          "hidden_size": ("d_model", 4096), "num_hidden_layers": ("n_layers", 32),
          "num_attention_heads": ("n_heads", 32), "num_key_value_heads": ("n_kv_heads", None),
          "head_dim": ("d_k", None), "intermediate_size": ("d_ff", 11008), "rms_norm_eps": ("norm_eps", 1e-6),
          "tie_word_embeddings": ("tie_weights", False), "attention_dropout": ("attn_dropout", 0.0)},
    fixed={"norm": "rmsnorm", "ffn": "gated", "positions": "rope", "qkv_bias": False},
    only={"partial_rotary_factor": (1, None)},
    activation="hidden_act", rotary=True, linear_bias=("attention_bias", "mlp_bias"))  # fmt: skip

QWEN2 = replace(
    LLAMA, model_type="qwen2", architecture="Qwen2ForCausalLM",
    keys={**LLAMA.keys, "vocab_size": ("vocab_size", 151936), "intermediate_size": ("d_ff", 22016),
                       "num_key_value_heads": ("n_kv_heads", 32), "max_position_embeddings": ("max_len", 32768)},
    fixed={"norm": "rmsnorm", "ffn": "gated", "positions": "rope", "bias": False, "qkv_bias": True},
    only={"partial_rotary_factor": (1, None), "use_sliding_window": (False, None)}, linear_bias=())  # fmt: skip

FAMILIES = {family.model_type: family for family in (GPT2, LLAMA, QWEN2)}


def family_of(values: Values) -> Family:
    """The family that a config.json names. ValueError for another one."""
    kind = values.get("model_type")
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise ValueError(f"its model_type is {shorten(kind)}, and only {', '.join(FAMILIES)} are supported")
    return FAMILIES[kind]


def family_for(config: ModelConfig) -> tuple[Family, dict[str, Any]]:
    """The family that can express a configuration, and its config.json. ValueError that names what it lacks."""
    families = [QWEN2 if config.qkv_bias else LLAMA] if config.positions == "rope" else [GPT2]
    return families[0], families[0].values(config)
