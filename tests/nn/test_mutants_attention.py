"""The check is checked: wrong gradients of attention, dropout, the feed-forward network and the block are caught."""

import numpy as np
import pytest

from numpygpt.nn import Dropout, FeedForward, MultiHeadAttention, TransformerBlock
from numpygpt.nn.modules.attention import split_heads
from numpygpt.verify import gradcheck
from numpygpt.verify.wrappers import block


class AttentionWith(MultiHeadAttention):
    """Attention with its backward written again, plainly, and one fault in it."""

    def __init__(self, fault, **sizes):
        super().__init__(6, 2, **sizes)
        self.fault = fault

    def backward(self, dY):
        fault, (Q, K, V, P) = self.fault, (self.Q, self.K, self.V, self.weights())
        dO = split_heads(self.proj.backward(dY), self.n_heads)
        dV = (P if fault == "weights not transposed" else P.swapaxes(-1, -2)) @ dO
        dP = dO @ V.swapaxes(-1, -2)
        row = 0 if fault == "row sum dropped" else (dP * P).sum(axis=-1, keepdims=True)
        if fault == "column sum":
            row = (dP * P).sum(axis=-2, keepdims=True)
        dS = P * (dP - row)
        if fault == "future tokens reached":
            dS = dS + np.triu(np.full(dS.shape[-2:], 0.01), k=1)
        if fault == "softmax gradient dropped":
            dS = dP
        dQ = dS @ K
        dK = (dS if fault == "key gradient transposed" else dS.swapaxes(-1, -2)) @ Q
        if fault != "1/sqrt(d_k) missing for Q":
            dQ = dQ * self.scale
        if fault == "1/sqrt(d_k) twice for K":
            dK = dK * self.scale
        if fault == "key gradient dropped":
            dK = 0 * dK
        if fault == "value gradient of one head":
            dV[:, 1:] = 0
        if fault == "keys and queries exchanged":
            dQ, dK = dK, dQ
        B, T = Q.shape[0], Q.shape[2]
        merge = (0, 1, 2, 3) if fault == "heads not put back" else (0, 2, 1, 3)
        parts = [np.transpose(part, merge).reshape(B, T, -1) for part in (dQ, dK, dV)]
        return self.qkv.backward(np.concatenate(parts, axis=-1))


FAULTS = ["weights not transposed", "row sum dropped", "column sum", "future tokens reached",
          "softmax gradient dropped", "key gradient transposed", "1/sqrt(d_k) missing for Q",
          "1/sqrt(d_k) twice for K", "key gradient dropped", "value gradient of one head",
          "keys and queries exchanged", "heads not put back"]


def test_attention_twin_passes(normal):
    assert gradcheck(AttentionWith(None), normal(2, 4, 6))


@pytest.mark.parametrize("fault", FAULTS)
def test_attention_faults_are_caught(fault, normal):
    assert not gradcheck(AttentionWith(fault), normal(2, 4, 6))


@pytest.mark.parametrize("fault", FAULTS)
def test_attention_faults_are_caught_in_float32_models_with_small_weights_too(fault, normal):
    """As gradcheck draws the weights anew: with those of a fresh model the key gradient is 0.001 of the others."""
    layer = AttentionWith(fault)
    layer.qkv.W *= 1e-3
    assert not gradcheck(layer, normal(2, 4, 6))


class DropoutWith(Dropout):
    def __init__(self, fault):
        super().__init__(0.4, rng=0)
        self.fault = fault

    def backward(self, dY):
        if self.fault == "no mask":
            return dY * 1.0
        if self.fault == "another mask":
            self.forward(dY)
        if self.fault == "scale forgotten":
            return dY * (self.mask != 0)
        return dY * self.mask


def test_dropout_twin_passes(normal):
    assert gradcheck(DropoutWith(None), normal(4, 6))


@pytest.mark.parametrize("fault", ["no mask", "another mask", "scale forgotten"])
def test_dropout_faults_are_caught(fault, normal):
    assert not gradcheck(DropoutWith(fault), normal(4, 6))


class FeedForwardWithoutActivation(FeedForward):
    def backward(self, dY):
        return self.fc.backward(self.proj.backward(dY))


def test_a_skipped_activation_is_caught(normal):
    assert not gradcheck(FeedForwardWithoutActivation(4, 6), normal(2, 3, 4))


class BlockWith(TransformerBlock):
    def __init__(self, fault):
        parts = block(4, 2, 6)
        super().__init__(parts.norm1, parts.attn, parts.norm2, parts.ffn)
        self.fault = fault

    def backward(self, dY):
        dH = self.norm2.backward(self.ffn.backward(dY))
        if self.fault != "second residual dropped":
            dH = dH + dY
        through = dY if self.fault == "attention given dY" else dH
        dX = self.norm1.backward(self.attn.backward(through))
        return dX if self.fault == "first residual dropped" else dX + dH


def test_block_twin_passes(normal):
    assert gradcheck(BlockWith(None), normal(2, 3, 4))


@pytest.mark.parametrize("fault", ["first residual dropped", "second residual dropped", "attention given dY"])
def test_block_faults_are_caught(fault, normal):
    assert not gradcheck(BlockWith(fault), normal(2, 3, 4))
