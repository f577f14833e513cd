"""Layers with hand-written gradients. The formulas are in `functional`; `numpygpt.verify` checks them."""

from numpygpt.nn.mixed import mixed_precision
from numpygpt.nn.modules.activation import GELU, LeakyReLU, ReLU, SiLU, Softmax
from numpygpt.nn.modules.attention import KVCache, MultiHeadAttention
from numpygpt.nn.modules.dropout import Dropout
from numpygpt.nn.modules.embedding import Embedding, Unembedding
from numpygpt.nn.modules.feedforward import FeedForward, GatedFeedForward
from numpygpt.nn.modules.int8 import to_int8
from numpygpt.nn.modules.linear import Linear
from numpygpt.nn.modules.lora import LoRALinear, apply_lora, lora_params, merge_lora, unmerge_lora
from numpygpt.nn.modules.loss import CrossEntropyLoss, LinearCrossEntropy
from numpygpt.nn.modules.module import Module
from numpygpt.nn.modules.normalization import LayerNorm, RMSNorm
from numpygpt.nn.modules.positional import PositionalEmbedding, SinusoidalEncoding
from numpygpt.nn.modules.rotary import Rotary
from numpygpt.nn.modules.transformer import TransformerBlock

__all__ = [
    "GELU", "CrossEntropyLoss", "Dropout", "Embedding", "FeedForward", "GatedFeedForward", "KVCache", "LayerNorm",
    "LeakyReLU", "Linear", "LinearCrossEntropy", "LoRALinear", "Module", "MultiHeadAttention", "PositionalEmbedding",
    "RMSNorm", "ReLU", "Rotary", "SiLU", "SinusoidalEncoding", "Softmax", "TransformerBlock", "Unembedding",
    "apply_lora", "lora_params", "merge_lora", "mixed_precision", "to_int8", "unmerge_lora",
]
