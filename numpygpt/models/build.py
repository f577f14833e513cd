"""The parts of a model, made from its configuration `c`. `rng` draws the matrices, in the order of the calls.

A layer that a configuration chooses by name needs one line in one of the tables. The checks of `ModelConfig` and the
choices of the command-line flags follow from them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from numpygpt.nn.modules.activation import GELU, ReLU
from numpygpt.nn.modules.attention import MultiHeadAttention
from numpygpt.nn.modules.feedforward import FeedForward
from numpygpt.nn.modules.module import Module
from numpygpt.nn.modules.normalization import LayerNorm
from numpygpt.nn.modules.positional import PositionalEmbedding, SinusoidalEncoding
from numpygpt.nn.modules.transformer import TransformerBlock

if TYPE_CHECKING:
    from numpygpt.models.config import ModelConfig

STD = 0.02  # of the entries of GPT-2's matrices

NORMS: Mapping[str, Callable[[ModelConfig], Module]] = {
    "layernorm": lambda c: LayerNorm(c.d_model, c.bias, dtype=c.dtype),
}
ACTIVATIONS: Mapping[str, Callable[[ModelConfig], Module]] = {
    "gelu": lambda c: GELU(),
    "relu": lambda c: ReLU(),
}
POSITIONS: Mapping[str, Callable[[ModelConfig, np.random.Generator], Module]] = {
    "learned": lambda c, rng: PositionalEmbedding(c.max_len, c.d_model, rng=rng, dtype=c.dtype),
    "sinusoidal": lambda c, rng: SinusoidalEncoding(c.max_len, c.d_model, dtype=c.dtype),
}


def norm(c: ModelConfig) -> Module:
    return NORMS[c.norm](c)


def positions(c: ModelConfig, rng: np.random.Generator) -> Module:
    return POSITIONS[c.positions](c, rng)


def block(c: ModelConfig, rng: np.random.Generator) -> TransformerBlock:
    """The two matrices that write into the residual stream start smaller by 1/sqrt(2 n_layers), so that the stream's
    variance does not grow with depth (Radford et al. 2019)."""
    proj_std = STD / math.sqrt(2 * c.n_layers)
    attn = MultiHeadAttention(c.d_model, c.n_heads, c.d_k, c.d_v, n_kv_heads=c.n_kv_heads, bias=c.bias,
                              dropout=c.dropout, std=STD, proj_std=proj_std, rng=rng, dtype=c.dtype)
    ffn = FeedForward(c.d_model, c.d_ff, ACTIVATIONS[c.activation](c), bias=c.bias, dropout=c.dropout, std=STD,
                      proj_std=proj_std, rng=rng, dtype=c.dtype)
    return TransformerBlock(norm(c), attn, norm(c), ffn)
