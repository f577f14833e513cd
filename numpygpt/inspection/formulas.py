"""What each layer costs: its `forward` and `backward` read line by line, as `costs` counts, and the arrays it keeps."""

from __future__ import annotations

import math

from numpygpt.inspection.costs import Call, Cost, Inside, cost, costs_of
from numpygpt.models import GPT
from numpygpt.nn import causal_attention
from numpygpt.nn.modules.activation import GELU, ReLU, Softmax
from numpygpt.nn.modules.attention import MultiHeadAttention
from numpygpt.nn.modules.dropout import Dropout
from numpygpt.nn.modules.embedding import Embedding, Unembedding
from numpygpt.nn.modules.feedforward import FeedForward
from numpygpt.nn.modules.linear import Linear
from numpygpt.nn.modules.loss import CrossEntropyLoss, LinearCrossEntropy, chunk_rows
from numpygpt.nn.modules.normalization import LayerNorm
from numpygpt.nn.modules.positional import PositionalEmbedding, SinusoidalEncoding
from numpygpt.nn.modules.transformer import TransformerBlock

ID_BYTES = 8  # token ids and targets come as int64


# -- token ids and positions -------------------------------------------------------------------------------------------


@costs_of(Embedding)
def embedding(m: Embedding, call: Call) -> Cost:
    n = call.entries
    return Cost((*call.shape, m.d_model), backward=n * m.d_model, cached=n * ID_BYTES)


@costs_of(PositionalEmbedding)
def positional_embedding(m: PositionalEmbedding, call: Call) -> Cost:
    call.check(m, m.d_model)
    return Cost(call.shape, forward=call.entries, backward=call.entries)


@costs_of(SinusoidalEncoding)
def sinusoidal_encoding(m: SinusoidalEncoding, call: Call) -> Cost:
    call.check(m, m.d_model)
    return Cost(call.shape, forward=call.entries)


# -- the simple layers -------------------------------------------------------------------------------------------------


@costs_of(Linear)
def linear(m: Linear, call: Call) -> Cost:
    call.check(m, m.d_in)
    product = 2 * call.rows * m.d_in * m.d_out  # Y = X W; as many for dW = X^T dY, and for dX = dY W^T
    bias = call.rows * m.d_out if m.bias else 0  # + b; db += sum of dY
    return Cost(call.wide(m.d_out), product + bias, 2 * product + m.d_in * m.d_out + bias, call.input_bytes)


@costs_of(LayerNorm)
def layer_norm(m: LayerNorm, call: Call) -> Cost:
    call.check(m, m.d_model)
    n, rows = call.entries, call.rows
    bias = n if m.bias else 0  # + beta; dbeta += sum of dY
    forward = 6 * n + 4 * rows  # mean n, X - mean n, variance 2 n; its 1/sqrt(.. / C + eps) 4 a row; rstd n, gamma n
    backward = 10 * n + rows + m.d_model  # dgamma 2 n and C, dY gamma n, share 2 n and 1 a row, the three lines 5 n
    return Cost(call.shape, forward + bias, backward + bias, (n + rows) * call.size)


@costs_of(ReLU)
def relu(m: ReLU, call: Call) -> Cost:
    n = call.entries
    return Cost(call.shape, forward=n, backward=2 * n, cached=n * call.size, keeps_output=True)


@costs_of(GELU)
def gelu(m: GELU, call: Call) -> Cost:
    n = call.entries
    return Cost(call.shape, forward=15 * n, backward=n, cached=n * call.size)  # the slope is among the 15


@costs_of(Softmax)
def softmax(m: Softmax, call: Call) -> Cost:
    n = call.entries
    return Cost(call.shape, softmax_operations(n), 4 * n - call.rows, n * call.size, keeps_output=True)


def softmax_operations(n: int) -> int:
    """Maximum, - maximum, exp, sum, / sum: 5 n less two a row; those go into log sum exp, or into the loss."""
    return 5 * n


@costs_of(Dropout)
def dropout(m: Dropout, call: Call) -> Cost:
    n = call.entries if call.training and m.p > 0 else 0
    return Cost(call.shape, forward=3 * n, backward=n, cached=n * call.size)  # draw >= p, times 1 / (1 - p), X mask


# -- attention and the modules around ----------------------------------------------------------------------------------


@costs_of(MultiHeadAttention)
def attention(m: MultiHeadAttention, call: Call) -> Cost:
    call.check(m, m.qkv.d_in, axes=3)
    B, T, _ = call.shape
    S, heads, k, v = call.before + T, B * m.n_heads, m.d_k, m.d_v
    forward = heads * T * k  # Q *= scale
    backward = heads * T * (2 * v + k)  # sum of dO O; dQ *= scale
    kept = heads * T * (2 * k + v + v)  # Q, K, V and O
    for _, block, seen in causal_attention.tiles((1, m.n_kv_heads, m.n_heads // m.n_kv_heads, T, m.d_k), S):
        rows = block.stop - block.start
        n = heads * rows * seen.stop  # scores
        scores = 2 * n * k + (heads * rows * rows if rows > 1 else 0)  # Q K^T + mask
        forward += scores + softmax_operations(n) + 2 * n * v  # P V
        backward += 2 * n * v + heads * seen.stop * v  # dV += P^T dO
        backward += 2 * n * v + 2 * n  # dS = P (dO V^T - share)
        backward += 2 * n * k  # dQ = dS K
        backward += 2 * n * k + heads * seen.stop * k  # dK += dS^T Q
        if T > causal_attention.KEEP_WEIGHTS:
            backward += scores + 2 * n  # P = exp(scores - lse), again
        kept += n if S <= causal_attention.KEEP_WEIGHTS else heads * rows  # P, or its log sum exp
    inside = (Inside("qkv", m.qkv, call.shape), Inside("proj", m.proj, (B, T, m.n_heads * v), input_counted=True),
              Inside("dropout", m.dropout, call.shape))
    return Cost(call.shape, forward, backward, kept * call.size, inside=inside)


@costs_of(FeedForward)
def feed_forward(m: FeedForward, call: Call) -> Cost:
    middle = call.wide(m.fc.d_out)
    act = cost(m.act, Call(middle))
    return Cost(call.shape, inside=(
        Inside("fc", m.fc, call.shape), Inside("act", m.act, middle),
        Inside("proj", m.proj, middle, input_counted=act is not None and act.keeps_output),
        Inside("dropout", m.dropout, call.shape)))


@costs_of(TransformerBlock)
def transformer_block(m: TransformerBlock, call: Call) -> Cost:
    n = 2 * call.entries  # X + .., H + ..; dY + .., dH + ..
    names = ("norm1", "attn", "norm2", "ffn")
    return Cost(call.shape, n, n, inside=tuple(Inside(name, getattr(m, name), call.shape) for name in names))


@costs_of(GPT)
def gpt(m: GPT, call: Call) -> Cost:
    stream = (*call.shape, m.wte.d_model)
    blocks = [Inside(f"blocks.{i}", block, stream) for i, block in enumerate(m.blocks)]
    return Cost((), inside=(
        Inside("wte", m.wte, call.shape), Inside("wpe", m.wpe, stream), Inside("dropout", m.dropout, stream), *blocks,
        Inside("norm_f", m.norm_f, stream), Inside("head_loss", m.head_loss, stream)))


# -- from the last states to the loss ----------------------------------------------------------------------------------


@costs_of(Unembedding)
def unembedding(m: Unembedding, call: Call) -> Cost:
    V, C = m.embedding.W.shape
    product = 2 * call.rows * V * C  # X E^T; as many for dE += dY^T X, and for dX = dY E
    return Cost(call.wide(V), product, 2 * product + V * C, call.input_bytes)


@costs_of(CrossEntropyLoss)
def cross_entropy_loss(m: CrossEntropyLoss, call: Call) -> Cost:
    n, rows = call.entries, call.rows
    forward = softmax_operations(n) + rows - 1  # log - picked on each row; the sum of the rows
    return Cost((), forward, rows + n, n * call.size + rows * ID_BYTES)  # P - onehot, and its scale


@costs_of(LinearCrossEntropy)
def linear_cross_entropy(m: LinearCrossEntropy, call: Call) -> Cost:
    """The gradient is made in the forward pass, in training, and only scaled and added in the backward one."""
    (V, C), rows = m.head.embedding.W.shape, call.rows
    chunks = math.ceil(rows / chunk_rows(V))
    product = 2 * rows * V * C
    forward = product + softmax_operations(rows * V) + rows - chunks  # each chunk sums its rows
    if not call.training:
        return Cost((), forward)
    forward += rows + 2 * product + chunks * V * C  # P - onehot, dX = dlogits E, dE += dlogits^T X
    return Cost((), forward, backward=rows * C + 2 * V * C, cached=(rows * C + V * C) * call.size)
