"""Each layer against its counterpart in torch.nn, in float64: output, input gradient, parameter gradients."""

import numpy as np
import pytest
from parts import PRODUCT

from numpygpt import nn
from numpygpt.models.build import ACTIVATIONS
from numpygpt.verify.wrappers import block

torch = pytest.importorskip("torch")
Tnn = torch.nn


def compare(layer, twin, X, pairs, seed=0):
    """Compare output and gradients for equal weights and inputs. `pairs`: our name -> (PyTorch's name, transposed?)."""
    theirs = dict(twin.named_parameters())
    with torch.no_grad():
        for name, (other, transposed) in pairs.items():
            value = layer.params()[name]
            theirs[other].copy_(torch.tensor(value.T if transposed else value))
    assert set(pairs) == set(layer.params()) and {other for other, _ in pairs.values()} == set(theirs)
    Xt = torch.tensor(X)
    if Xt.is_floating_point():
        Xt.requires_grad_()
    Y, Yt = layer(X), twin(Xt)
    close(Y, Yt.detach())
    dY = np.random.default_rng(seed).standard_normal(Y.shape)
    dX = layer.backward(dY)
    Yt.backward(torch.tensor(dY))
    if Xt.is_floating_point():
        close(dX, Xt.grad)
    for name, (other, transposed) in pairs.items():
        grad = theirs[other].grad
        close(layer.grads()[name], grad.T if transposed else grad)


def close(got, expected):
    """To 1e-12 of the tensor's scale."""
    expected = expected.numpy()
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(4,), (5, 4), (2, 3, 4), (2, 3, 2, 4)])
def test_linear(shape, bias, normal, lively):
    pairs = {"W": ("weight", True)} | ({"b": ("bias", False)} if bias else {})
    layer = lively(nn.Linear(4, 3, bias, dtype="float64"))
    compare(layer, Tnn.Linear(4, 3, bias, dtype=torch.float64), normal(*shape), pairs)


def test_embedding(lively):
    layer = lively(nn.Embedding(6, 3, dtype="float64"))
    ids = np.array([[5, 0, 5, 2], [2, 5, 0, 0]])
    compare(layer, Tnn.Embedding(6, 3, dtype=torch.float64), ids, {"W": ("weight", False)})


@pytest.mark.parametrize("eps", [1e-5, 0.1])
@pytest.mark.parametrize("bias", [True, False])
def test_layer_norm(bias, eps, normal, lively):
    pairs = {"gamma": ("weight", False)} | ({"beta": ("bias", False)} if bias else {})
    layer = lively(nn.LayerNorm(6, bias, eps=eps, dtype="float64"))
    compare(layer, Tnn.LayerNorm(6, eps, bias=bias, dtype=torch.float64), normal(2, 3, 6), pairs)


@pytest.mark.parametrize(("layer", "twin"), [
    (nn.ReLU(), Tnn.ReLU()), (nn.GELU(), Tnn.GELU(approximate="tanh")), (nn.Softmax(), Tnn.Softmax(dim=-1)),
], ids=["relu", "gelu", "softmax"])
def test_activations(layer, twin, normal):
    compare(layer, twin, 3 * normal(2, 3, 5), {})


def test_unembedding_is_a_linear_layer_with_the_table_as_pytorchs_weight(normal, lively):
    layer = lively(nn.Unembedding(7, 4, dtype="float64"))
    compare(layer, Tnn.Linear(4, 7, bias=False, dtype=torch.float64), normal(2, 3, 4),
            {"embedding.W": ("weight", False)})


class CausalAttention(Tnn.Module):
    def __init__(self, d_model, n_heads, bias):
        super().__init__()
        self.inner = Tnn.MultiheadAttention(d_model, n_heads, bias=bias, batch_first=True, dtype=torch.float64)

    def forward(self, X):
        future = torch.ones(X.shape[1], X.shape[1], dtype=torch.bool).triu(1)
        return self.inner(X, X, X, attn_mask=future, need_weights=False)[0]


ATTENTION = {f"{PRODUCT}.W": ("inner.in_proj_weight", True), "proj.W": ("inner.out_proj.weight", True),
             f"{PRODUCT}.b": ("inner.in_proj_bias", False), "proj.b": ("inner.out_proj.bias", False)}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("n_heads", [1, 2, 3])
def test_multi_head_attention(n_heads, bias, normal, lively):
    layer = lively(nn.MultiHeadAttention(6, n_heads, bias=bias, dtype="float64"))
    pairs = {name: other for name, other in ATTENTION.items() if bias or name.endswith("W")}
    compare(layer, CausalAttention(6, n_heads, bias), normal(2, 5, 6), pairs)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_feed_forward(activation, normal, lively):
    layer = lively(nn.FeedForward(4, 6, ACTIVATIONS[activation](None), dtype="float64"))
    act = Tnn.ReLU() if activation == "relu" else Tnn.GELU(approximate="tanh")
    twin = Tnn.Sequential(Tnn.Linear(4, 6, dtype=torch.float64), act, Tnn.Linear(6, 4, dtype=torch.float64))
    compare(layer, twin, normal(2, 3, 4), {"fc.W": ("0.weight", True), "fc.b": ("0.bias", False),
                                           "proj.W": ("2.weight", True), "proj.b": ("2.bias", False)})


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_transformer_block_is_pytorchs_pre_norm_encoder_layer(activation, normal, lively):
    class Block(Tnn.TransformerEncoderLayer):
        def forward(self, X):
            future = torch.ones(X.shape[1], X.shape[1], dtype=torch.bool).triu(1)
            return super().forward(X, src_mask=future)

    act = torch.relu if activation == "relu" else Tnn.GELU(approximate="tanh")
    twin = Block(6, 2, 10, dropout=0.0, activation=act, batch_first=True, norm_first=True, dtype=torch.float64)
    pairs = {f"attn.{name}": (f"self_attn.{other.removeprefix('inner.')}", t) for name, (other, t) in ATTENTION.items()}
    for ours, theirs in (("norm1", "norm1"), ("norm2", "norm2")):
        pairs |= {f"{ours}.gamma": (f"{theirs}.weight", False), f"{ours}.beta": (f"{theirs}.bias", False)}
    for ours, theirs in (("fc", "linear1"), ("proj", "linear2")):
        pairs |= {f"ffn.{ours}.W": (f"{theirs}.weight", True), f"ffn.{ours}.b": (f"{theirs}.bias", False)}
    compare(lively(block(6, 2, 10, activation=activation, dtype="float64")), twin, normal(2, 5, 6), pairs)


@pytest.mark.parametrize("targets", [[[0, 3, 1], [4, 4, 2]], [[0, -1, 1], [-1, 4, -1]]], ids=["all", "some ignored"])
def test_cross_entropy(targets, normal):
    criterion, logits, targets = nn.CrossEntropyLoss(), normal(2, 3, 5), np.array(targets)
    Xt = torch.tensor(logits, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(Xt.flatten(0, 1), torch.tensor(targets).flatten(), ignore_index=-1)
    (0.7 * loss).backward()
    assert criterion(logits, targets) == pytest.approx(loss.item(), rel=1e-13)
    close(criterion.backward(0.7), Xt.grad)
