"""The parts of a model, made from its configuration `c`. `rng` draws the matrices, in the order of the calls."""

from __future__ import annotations

import math

import numpy as np

from numpygpt.models.config import ModelConfig
from numpygpt.models.registry import ACTIVATIONS, NORMS, POSITIONS
from numpygpt.nn.modules.attention import MultiHeadAttention
from numpygpt.nn.modules.feedforward import FeedForward
from numpygpt.nn.modules.module import Module
from numpygpt.nn.modules.transformer import TransformerBlock

STD = 0.02  # of the entries of GPT-2's matrices


def residual_std(c: ModelConfig) -> float:
    """STD for the two matrices per block that write into the residual stream: smaller by 1/sqrt(2 n_layers), so that
    the stream's variance does not grow with depth (Radford et al. 2019)."""
    return STD / math.sqrt(2 * c.n_layers)


def norm(c: ModelConfig) -> Module:
    return NORMS[c.norm](c)


def positions(c: ModelConfig, rng: np.random.Generator) -> Module:
    return POSITIONS[c.positions](c, rng)


def attention(c: ModelConfig, rng: np.random.Generator) -> MultiHeadAttention:
    return MultiHeadAttention(c.d_model, c.n_heads, c.d_k, c.d_v, n_kv_heads=c.n_kv_heads, bias=c.bias,
                              dropout=c.dropout, std=STD, proj_std=residual_std(c), rng=rng, dtype=c.dtype)


def feed_forward(c: ModelConfig, rng: np.random.Generator) -> FeedForward:
    return FeedForward(c.d_model, c.d_ff, ACTIVATIONS[c.activation](c), bias=c.bias, dropout=c.dropout, std=STD,
                       proj_std=residual_std(c), rng=rng, dtype=c.dtype)


def block(c: ModelConfig, rng: np.random.Generator) -> TransformerBlock:
    return TransformerBlock(norm(c), attention(c, rng), norm(c), feed_forward(c, rng))
