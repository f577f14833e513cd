"""The layers of docs/backprop/bugs.md: the package's, or a short form of them, each with one incorrect line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from numpygpt import GPT
from numpygpt.nn import (
    GELU,
    CrossEntropyLoss,
    Dropout,
    Embedding,
    GatedFeedForward,
    LayerNorm,
    LeakyReLU,
    Linear,
    LoRALinear,
    Module,
    MultiHeadAttention,
    ReLU,
    RMSNorm,
    Rotary,
    SiLU,
    TransformerBlock,
    causal_attention,
)
from numpygpt.nn.functional import rows, softmax
from numpygpt.nn.modules.attention import split_heads
from numpygpt.nn.modules.rotary import turned
from numpygpt.verify import wrappers


def product_of(attention: MultiHeadAttention) -> Linear:
    """The product that makes queries, keys and values: the first Linear inside."""
    return next(layer for _, layer in attention.named_modules() if isinstance(layer, Linear))


class PlainAttention(MultiHeadAttention):
    """The package's attention with all rows in one tile, so that each formula of backward stands on a line."""

    def backward(self, dY):
        Q, K, V, P = self.Q, self.K, self.V, self.weights()
        dO = split_heads(self.proj.backward(self.dropout.backward(dY)), self.n_heads)
        product = product_of(self)
        dQKV = np.zeros((*dY.shape[:2], product.d_out), dY.dtype)
        dQ, dK, dV = self.split(dQKV)
        dV += P.swapaxes(-1, -2) @ dO
        dS = self.softmax_gradient(dO @ V.swapaxes(-1, -2), P)
        dQ += self.query_gradient(dS, K)
        dK += self.key_gradient(dS, Q)
        return product.backward(dQKV)

    def softmax_gradient(self, dP, P):
        return P * (dP - (dP * P).sum(axis=-1, keepdims=True))

    def query_gradient(self, dS, K):
        return dS @ K * self.scale

    def key_gradient(self, dS, Q):
        return dS.swapaxes(-1, -2) @ Q


class KeyTransposed(PlainAttention):
    def key_gradient(self, dS, Q):
        return dS @ Q


class ScaleForgotten(PlainAttention):
    def query_gradient(self, dS, K):
        return dS @ K


class DiagonalOnly(PlainAttention):
    def softmax_gradient(self, dP, P):
        return dP * P * (1 - P)


class NoMask(PlainAttention):
    def forward(self, X, cache=None):
        Q, self.K, self.V = self.split(product_of(self)(X))
        self.Q = Q * self.scale
        return self.dropout(self.proj((self.weights() @ self.V).swapaxes(1, 2).reshape(*X.shape[:2], -1)))

    def weights(self):
        return softmax(self.Q @ self.K.swapaxes(-1, -2))


class ConstantStatistics(LayerNorm):
    def backward(self, dY):
        super().backward(dY)  # dgamma and dbeta, which are correct
        return dY * self.gamma * self.rstd


class Overwrites(Embedding):
    def backward(self, dY):
        dW = np.zeros_like(self.dW)
        np.add.at(dW, self.ids, dY)
        self.dW = dW


class LastOneWins(Embedding):
    def backward(self, dY):
        self.dW[self.ids] += dY


class Averaged(Linear):
    def backward(self, dY):
        X2, dY2 = rows(self.X), rows(dY)
        if self.bias:
            self.db += dY2.mean(axis=0)
        self.dW += X2.T @ dY2 / len(dY2)
        return (dY2 @ self.W.T).reshape(self.X.shape)


class NoWayAround(TransformerBlock):
    def backward(self, dY):
        dH = self.norm2.backward(self.ffn.backward(dY))
        return dH + self.norm1.backward(self.attn.backward(dH))


class ScaledTwice(Dropout):
    def backward(self, dY):
        return dY if self.mask is None else dY * self.mask / (1 - self.p)


class AlwaysDrops(Dropout):
    def forward(self, X):
        if self.p == 0:
            return X
        keep = self.rng.random(X.shape, dtype=np.float32) >= self.p
        self.mask = (keep / (1 - self.p)).astype(X.dtype)
        return X * self.mask


class AllRows(CrossEntropyLoss):
    def forward(self, logits, targets):
        loss = super().forward(logits, targets)
        rows_in_all = targets.size
        loss, self.count = loss * self.count / rows_in_all, rows_in_all
        return loss


class AllRowsBackward(CrossEntropyLoss):
    def backward(self, scale=1.0):
        return super().backward(scale * self.count / len(self.targets))


class WideGELU(GELU):
    def forward(self, X):
        s = np.sqrt(2 / np.pi)
        gate = (1 + np.tanh(s * (X + 0.044715 * X**3))) / 2
        self.slope = gate + 2 * X * gate * (1 - gate) * s * (1 + 3 * 0.044715 * X**2)
        return X * gate


class HalfSlope(GELU):
    def forward(self, X):
        Y = super().forward(X)
        gate = (1 + np.tanh(np.sqrt(2 / np.pi) * (X + 0.044715 * X**3))) / 2
        self.slope = gate.astype(X.dtype)
        return Y


class UpstreamSign(ReLU):
    def backward(self, dY):
        return dY * (dY > 0)


class NotReversed(GPT):
    def backward(self, scale=1.0):
        dX = self.norm_f.backward(self.head.backward(self.criterion.backward(scale)))
        for block in self.blocks:
            dX = block.backward(dX)
        self.wte.backward(self.wpe.backward(self.dropout.backward(dX)))


# -- of the chapters on newer layers: checked there, and not trained in the gallery's table ----------------------------


class NoGain(RMSNorm):
    def backward(self, dY):
        super().backward(dY)  # dgamma, which is correct
        return self.rstd * (dY * self.gamma - self.Xhat * (dY * self.Xhat).mean(axis=-1, keepdims=True))


class TurnedOn(Rotary):
    def backward(self, dY):
        return turned(dY, self.cos, self.sin)


class StartForgotten(Rotary):
    def forward(self, X, start=0):
        return super().forward(X, 0)


class SlopeOfSigmoid(SiLU):
    def forward(self, X):
        Y = super().forward(X)
        sigma = (1 + np.tanh(X / 2)) / 2
        self.slope = sigma * (1 - sigma)
        return Y


class NoLeak(LeakyReLU):
    def backward(self, dY):
        return dY * (self.Y > 0)


class NoFactorOfGate(GatedFeedForward):
    def backward(self, dY):
        dA = self.proj.backward(self.dropout.backward(dY))
        return self.fc.backward(np.concatenate([self.act.backward(dA), dA * self.g], axis=-1))


class FirstOfGroup(MultiHeadAttention):
    """All rows in one tile, as PlainAttention, with heads in groups."""

    def backward(self, dY):
        dO = split_heads(self.proj.backward(self.dropout.backward(dY)), self.n_heads)
        dO, Q, K, V, P = map(self.group, (dO, self.Q, self.K, self.V, self.weights()))  # (B, H_kv, G or 1, T, ..)
        dP = dO @ V.swapaxes(-1, -2)
        dS = P * (dP - (dP * P).sum(axis=-1, keepdims=True))
        dQ = (dS @ K * self.scale).reshape(self.Q.shape)
        dK = (dS.swapaxes(-1, -2) @ Q)[:, :, 0]  # of the first head of each group, not the sum over its heads
        dV = (P.swapaxes(-1, -2) @ dO)[:, :, 0]
        if self.rotary is not None:
            dQ, dK = self.rotary.backward(dQ), self.rotary.backward(dK)
        heads = (dX.swapaxes(1, 2).reshape(*dY.shape[:2], -1) for dX in (dQ, dK, dV))
        return self.qkv.backward(np.concatenate([*heads], axis=-1))


class UndroppedValues(PlainAttention):
    """Attention whose weights are dropped, in one tile: correct in forward, and in backward except for the values."""

    def backward(self, dY):
        mask = causal_attention.drop_mask(self.weights(), self.drop, 0)
        self.mask = 1 if mask is None else mask
        return super().backward(dY)

    def softmax_gradient(self, dP, P):
        return super().softmax_gradient(dP * self.mask, P)


class ScaleOfForwardOnly(LoRALinear):
    def backward(self, dY):
        scale, self.scale = self.scale, 1.0
        dX = super().backward(dY)
        self.scale = scale
        return dX


def block(kind: type[TransformerBlock], *sizes: int, **options: Any) -> TransformerBlock:
    """A block of this class, with the parts of a GPT's."""
    parts = wrappers.block(*sizes, **options)
    return kind(parts.norm1, parts.attn, parts.norm2, parts.ffn)


def swap(model: Module, kind: type[Module], wrong: type[Module]) -> Module:
    """Make every layer of `model` that is a `kind` a `wrong`: same arrays, another backward or forward."""
    for _, layer in model.named_modules():
        if type(layer) is kind:
            object.__setattr__(layer, "__class__", wrong)
    return model
