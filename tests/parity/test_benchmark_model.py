"""The PyTorch model of the benchmarks computes the same loss and gradients with the same weights."""

import numpy as np
import pytest
from parts import PRODUCT

from numpygpt import GPT

torch = pytest.importorskip("torch")
from benchmarks.cases import Case  # noqa: E402
from benchmarks.peers import torch_model  # noqa: E402

NAMES = {"wte.weight": "wte.W", "wpe.weight": "wpe.W", "norm_f.weight": "norm_f.gamma", "norm_f.bias": "norm_f.beta",
         "head.weight": "head.embedding.W"}
IN_A_BLOCK = {"norm1": "norm1", "norm2": "norm2", "qkv": f"attn.{PRODUCT}", "proj": "attn.proj", "fc": "ffn.fc",
              "out": "ffn.proj"}


def ours(name):
    """The name of a parameter of the PyTorch model in a GPT's state."""
    if name in NAMES:
        return NAMES[name]
    _, block, layer, kind = name.split(".")
    kinds = {"weight": "gamma", "bias": "beta"} if layer.startswith("norm") else {"weight": "W", "bias": "b"}
    return f"blocks.{block}.{IN_A_BLOCK[layer]}.{kinds[kind]}"


@pytest.mark.parametrize(("activation", "tied"), [("gelu", True), ("relu", False)])
def test_the_peer_computes_the_same_loss_and_gradients(activation, tied, lively):
    case = Case("tiny", 2, 5, 8, 2, 2, 11, (), activation=activation, tied=tied)
    model = GPT(vocab_size=case.V, max_len=case.T, d_model=case.C, n_heads=case.H, n_layers=case.L,
                activation=activation, tie_weights=tied, dtype="float64")
    peer = torch_model(case).double()
    lively(model)
    params, grads = model.params(), model.grads()
    peer_params = dict(peer.named_parameters())
    assert {ours(name) for name in peer_params} == set(params)
    for name, param in peer_params.items():
        value = params[ours(name)]
        param.data = torch.from_numpy(np.ascontiguousarray(value.T if is_linear(name) else value).copy())
    if tied:
        peer.head.weight = peer.wte.weight
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, case.V, (2, case.B, case.T))
    loss = peer(torch.from_numpy(x), torch.from_numpy(y))
    loss.backward()
    assert model.loss(x, y) == pytest.approx(loss.item(), rel=1e-12)
    model.backward()
    for name, param in peer.named_parameters():
        grad = param.grad.numpy()
        np.testing.assert_allclose(grads[ours(name)], grad.T if is_linear(name) else grad, rtol=1e-8, atol=1e-12)


def is_linear(name):
    """PyTorch stores the matrix of a Linear as (out, in)."""
    return name.endswith(".weight") and name.split(".")[-2] in ("qkv", "proj", "fc", "out")
