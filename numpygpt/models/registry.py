"""The layers that a model's configuration can choose between, by name: a new one needs one line here.

The checks of `ModelConfig`, the choices of the command-line flags and the model itself all follow from these tables.
Each value makes the layer for a configuration `c`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from numpygpt.nn.modules.activation import GELU, ReLU
from numpygpt.nn.modules.module import Module
from numpygpt.nn.modules.normalization import LayerNorm
from numpygpt.nn.modules.positional import PositionalEmbedding, SinusoidalEncoding

if TYPE_CHECKING:
    from numpygpt.models.config import ModelConfig

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
