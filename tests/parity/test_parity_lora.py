"""LoRA against the same formula in PyTorch, in float64: output and gradients."""

import numpy as np
import pytest

from numpygpt.nn import Linear, LoRALinear

torch = pytest.importorskip("torch")


def leaf(array):
    return torch.tensor(array, requires_grad=True)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("shape", [(4,), (5, 4), (2, 3, 4)])
def test_output_and_gradients(shape, dropout, bias, normal, lively):
    layer = lively(LoRALinear(Linear(4, 3, bias, dtype="float64"), 2, alpha=5, dropout=dropout, rng=1))
    X, A, B = map(leaf, (normal(*shape), layer.A, layer.B))
    Y = layer(X.detach().numpy())
    mask = 1.0 if layer.dropout.mask is None else torch.tensor(layer.dropout.mask)
    expected = X @ torch.tensor(layer.base.W) + 2.5 * (X * mask) @ A @ B
    if bias:
        expected = expected + torch.tensor(layer.base.b)
    np.testing.assert_allclose(Y, expected.detach(), rtol=1e-12, atol=1e-13)
    dY = normal(*Y.shape)
    dX = layer.backward(dY)
    expected.backward(torch.tensor(dY))
    for got, tensor in ((dX, X), (layer.dA, A), (layer.dB, B)):
        np.testing.assert_allclose(got, tensor.grad, rtol=0, atol=1e-12 * float(tensor.grad.abs().max()))
