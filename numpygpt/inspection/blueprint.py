"""A model on paper: its layers in the order of the forward pass, with formulas both ways, shapes and parameters."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from numpygpt.inspection.probe import eval_twin
from numpygpt.inspection.trace import trace
from numpygpt.models import GPT
from numpygpt.nn.modules.activation import GELU, ReLU
from numpygpt.nn.modules.attention import MultiHeadAttention
from numpygpt.nn.modules.embedding import Embedding, Unembedding
from numpygpt.nn.modules.linear import Linear
from numpygpt.nn.modules.loss import CrossEntropyLoss
from numpygpt.nn.modules.module import Module
from numpygpt.nn.modules.normalization import LayerNorm
from numpygpt.nn.modules.positional import PositionalEmbedding, SinusoidalEncoding


@dataclass(frozen=True)
class Part:
    """A layer: what it does, its gradient in a few words, what it puts out. Of the blocks, the first stands for all."""

    name: str
    kind: str
    forward: tuple[str, ...]
    backward: tuple[str, ...]
    letters: str  # the output's name and shape in letters: X (B, T, C)
    shape: tuple[int, ...]
    n_params: int = 0
    inside: str = ""  # a shape that only the layer itself sees


@dataclass(frozen=True)
class Blueprint:
    """`parts` by name, in the order in which they run, the residual additions among them as `blocks.0.add1` and `add2`;
    `heads`: the shapes of Q, K, V and P; `sizes` by letter, with what they are; `counts`: learned numbers by component.
    """

    parts: dict[str, Part]
    heads: dict[str, tuple[int, ...]]
    sizes: dict[str, tuple[int, str]]
    counts: dict[str, int]
    n_layers: int


def blueprint(model: GPT, batch_size: int) -> Blueprint:
    """For a batch of whole contexts. Shapes are those of a pass through the model, whose batch, of one, is replaced."""
    with eval_twin(model) as model, trace(model) as t:
        zeros = np.zeros((1, model.max_len), np.int64)
        model(zeros, targets=zeros)
    shapes = {record.name: (batch_size, *record.output_shape[1:]) for record in t}
    at, attn, ffn = "blocks.0.", model.blocks[0].attn, model.blocks[0].ffn
    # O is what attention has before its last layer, which is a part of its own; an addition keeps the block's shape.
    shapes |= {at + "attn": (batch_size, *attn.O.shape[1:]), "criterion": ()}
    shapes |= {at + "add1": shapes["blocks.0"], at + "add2": shapes["blocks.0"]}
    heads = {name: (batch_size, *getattr(attn, name).shape[1:]) for name in "QKV"}
    heads["P"] = (*heads["Q"][:3], heads["K"][2])
    vocab_size, d_model = model.wte.W.shape
    sizes = {
        "B": (batch_size, "sequences"), "T": (model.max_len, "positions"), "C": (d_model, "d_model"),
        "H": (attn.n_heads, "heads"), "d_k": (attn.d_k, "of a query"), "d_v": (attn.d_v, "of a value"),
        "d_ff": (ffn.fc.d_out, "inside"), "V": (vocab_size, "tokens"),
    }  # fmt: skip
    found = {name: part(model, name, layer, letters, shapes[name]) for name, layer, letters in layers(model)}
    found[at + "attn"] = replace(found[at + "attn"], inside=f"P {heads['P']}")
    return Blueprint(found, heads, sizes, counts(model), len(model.blocks))


def layers(model: GPT) -> list[tuple[str, Module, str]]:
    """(name, layer, its output in letters) in the order in which they run."""
    block, at = model.blocks[0], "blocks.0."
    return [
        ("wte", model.wte, "X (B, T, C)"), ("wpe", model.wpe, "X (B, T, C)"),
        (at + "norm1", block.norm1, "Y (B, T, C)"), (at + "attn.qkv", block.attn.qkv, "QKV (B, T, H (2 d_k + d_v))"),
        (at + "attn", block.attn, "O (B, T, H d_v)"), (at + "attn.proj", block.attn.proj, "Y (B, T, C)"),
        (at + "add1", block, "H (B, T, C)"), (at + "norm2", block.norm2, "Y (B, T, C)"),
        (at + "ffn.fc", block.ffn.fc, "H (B, T, d_ff)"), (at + "ffn.act", block.ffn.act, "A (B, T, d_ff)"),
        (at + "ffn.proj", block.ffn.proj, "Y (B, T, C)"), (at + "add2", block, "Y (B, T, C)"),
        ("norm_f", model.norm_f, "Y (B, T, C)"), ("head", model.head, "logits (B, T, V)"),
        ("criterion", model.criterion, "L"),
    ]  # fmt: skip


def part(model: GPT, name: str, layer: Module, letters: str, shape: tuple[int, ...]) -> Part:
    kind = type(layer).__name__ + (f" {layer.d_in:,} → {layer.d_out:,}" if isinstance(layer, Linear) else "")
    n_params = sum(getattr(layer, param).size for param in layer._params)
    if name.endswith(("add1", "add2")):
        return addition(name, letters, shape)
    if isinstance(layer, Unembedding):
        tied = layer.embedding is model.wte
        n_params = 0 if tied else layer.n_params()
        forward: tuple[str, ...] = ("logits = X Eᵀ,  E is " + ("the W of wte: tied" if tied else "a table of its own"),)
        backward: tuple[str, ...] = ("dX = dlogits E,  dE = dlogitsᵀ X" + (", added to the dW of wte" if tied else ""),)
    else:
        forward, backward = formulas(layer)
    if name in ("wpe", "blocks.0.attn.proj", "blocks.0.ffn.proj") and model.dropout.p:
        forward = (f"{forward[0]}, then dropout {model.dropout.p:g}", *forward[1:])
        backward = ("dY = dropout.backward(dY): the same mask", *backward)
    return Part(name, kind, forward, backward, letters, shape, n_params)


def addition(name: str, letters: str, shape: tuple[int, ...]) -> Part:
    """Where a branch comes back to the residual stream. Above, where it left, its gradient is added to the stream's."""
    forward, backward = {
        "blocks.0.add1": ("H = X + attn(norm1(X))", "dX = dH + norm1.backward(attn.backward(dH))"),
        "blocks.0.add2": ("Y = H + ffn(norm2(H))", "dH = dY + norm2.backward(ffn.backward(dY))"),
    }[name]
    return Part(name, "residual", (forward,), (backward,), letters, shape)


def formulas(layer: Module) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(forward, backward), each in a line or a few. A class that is not known here says so much and no more."""
    if isinstance(layer, Linear):
        bias = layer.bias
        return ("Y = X W" + " + b" * bias,), ("dX = dY Wᵀ,  dW = Xᵀ dY" + ",  db = Σ dY" * bias,)
    if isinstance(layer, LayerNorm):
        bias = layer.bias
        return (("Y = gamma Xhat" + " + beta" * bias + ",  Xhat = (X - mean) rstd",),
                ("dXhat = dY gamma,  dgamma = Σ dY Xhat" + ",  dbeta = Σ dY" * bias,
                 "dX = rstd (dXhat - mean(dXhat) - Xhat mean(dXhat Xhat))"))  # fmt: skip
    if isinstance(layer, MultiHeadAttention):
        return ((f"S = Q Kᵀ / √{layer.d_k} + mask", "P = softmax(S)", "O = P V,  the heads side by side"),
                ("dV = Pᵀ dO,  dP = dO Vᵀ", "dS = P (dP - Σ dP P)",
                 f"dQ = dS K / √{layer.d_k},  dK = dSᵀ Q / √{layer.d_k}"))  # fmt: skip
    known: dict[type[Module], tuple[tuple[str, ...], tuple[str, ...]]] = {
        Embedding: (("X = W[ids]",), ("dW[id] += dX, at each place of the token; ids have no gradient",)),
        PositionalEmbedding: (("Y = X + W[0 : T]",), ("dX = dY,  dW[0 : T] = Σ over the batch of dY",)),
        SinusoidalEncoding: (("Y = X + P[0 : T],  P is sines and cosines",), ("dX = dY; nothing is learned",)),
        GELU: (("A = gelu(H)",), ("dH = dA gelu'(H)",)),
        ReLU: (("A = max(H, 0)",), ("dH = dA where A > 0, else 0",)),
        CrossEntropyLoss: (("L = mean of -log softmax(logits)[target]",),
                           ("dlogits = (softmax(logits) - onehot) / N,  N = targets",)),
    }  # fmt: skip
    return known.get(type(layer), (("Y = forward(X)",), ("dX = backward(dY)",)))


def counts(model: GPT) -> dict[str, int]:
    """Learned numbers by component; a tied head has none of its own. They add up to `model.n_params()`."""
    found: dict[str, int] = {name: 0 for name in ("wte", "wpe", "blocks", "norm_f", "head")}
    for name, param in model.named_parameters():
        first = name.split(".")[0]
        found[first] = found.get(first, 0) + param.size
    return found
