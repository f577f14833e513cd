"""The parts of a model, made from its configuration `c`. `rng` draws the matrices, in the order of the calls.

A layer that a configuration chooses by name needs one line in one of the tables. The checks of `ModelConfig` and the
choices of the command-line flags follow from them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from numpygpt.nn.modules.activation import GELU, LeakyReLU, ReLU, SiLU
from numpygpt.nn.modules.attention import MultiHeadAttention
from numpygpt.nn.modules.feedforward import FeedForward, GatedFeedForward
from numpygpt.nn.modules.module import Module
from numpygpt.nn.modules.normalization import LayerNorm, RMSNorm
from numpygpt.nn.modules.positional import PositionalEmbedding, SinusoidalEncoding
from numpygpt.nn.modules.rotary import Rotary
from numpygpt.nn.modules.transformer import TransformerBlock

if TYPE_CHECKING:
    from numpygpt.models.config import ModelConfig

STD = 0.02  # of the entries of GPT-2's matrices
ROPE = "rope"

NORMS: Mapping[str, Callable[[ModelConfig], Module]] = {
    "layernorm": lambda c: LayerNorm(c.d_model, c.bias, eps=c.norm_eps, dtype=c.dtype),
    "rmsnorm": lambda c: RMSNorm(c.d_model, eps=c.norm_eps, dtype=c.dtype),
}
FFNS: Mapping[str, Callable[..., Module]] = {"mlp": FeedForward, "gated": GatedFeedForward}
ACTIVATIONS: Mapping[str, Callable[[ModelConfig], Module]] = {
    "gelu": lambda c: GELU(),
    "relu": lambda c: ReLU(),
    "silu": lambda c: SiLU(),
    "leaky_relu": lambda c: LeakyReLU(),
}
POSITIONS: Mapping[str, Callable[[ModelConfig, np.random.Generator], Module | None]] = {
    "learned": lambda c, rng: PositionalEmbedding(c.max_len, c.d_model, rng=rng, dtype=c.dtype),
    "sinusoidal": lambda c, rng: SinusoidalEncoding(c.max_len, c.d_model, dtype=c.dtype),
    ROPE: lambda c, rng: None,  # nothing is added to the token vectors: each attention layer has a Rotary
}


def norm(c: ModelConfig) -> Module:
    return NORMS[c.norm](c)


def positions(c: ModelConfig, rng: np.random.Generator) -> Module | None:
    return POSITIONS[c.positions](c, rng)


def rotary(c: ModelConfig) -> Rotary | None:
    if c.positions != ROPE:
        return None
    return Rotary(c.d_k or c.d_model // c.n_heads, c.max_len, c.rope_theta, c.rope_scaling)


def block(c: ModelConfig, rng: np.random.Generator) -> TransformerBlock:
    """The two matrices that write into the residual stream start smaller by 1/sqrt(2 n_layers), so that the stream's
    variance does not grow with depth (Radford et al. 2019)."""
    proj_std = STD / math.sqrt(2 * c.n_layers)
    attn = MultiHeadAttention(c.d_model, c.n_heads, c.d_k, c.d_v, n_kv_heads=c.n_kv_heads, rotary=rotary(c),
                              bias=c.bias, qkv_bias=c.qkv_bias, dropout=c.dropout, attn_dropout=c.attn_dropout, std=STD,
                              proj_std=proj_std, rng=rng, dtype=c.dtype)
    ffn = FFNS[c.ffn](c.d_model, c.d_ff, ACTIVATIONS[c.activation](c), bias=c.bias, dropout=c.dropout, std=STD,
                      proj_std=proj_std, rng=rng, dtype=c.dtype)
    return TransformerBlock(norm(c), attn, norm(c), ffn)
