"""The check is checked: wrong gradients of LayerNorm, GELU, softmax and the losses are caught."""

import math

import numpy as np
import pytest

from numpygpt.nn import GELU, CrossEntropyLoss, LayerNorm, LinearCrossEntropy, Softmax, Unembedding
from numpygpt.verify import gradcheck


class LayerNormWith(LayerNorm):
    """LayerNorm with its backward written again, and one fault in it."""

    def __init__(self, fault):
        super().__init__(6)
        self.fault = fault

    def backward(self, dY):
        fault, Xhat, sums = self.fault, self.Xhat, tuple(range(dY.ndim - 1))
        dXhat = dY if fault == "gain forgotten" else dY * self.gamma
        mean = 0 if fault == "mean term dropped" else dXhat.mean(axis=-1, keepdims=True)
        share = 0 if fault == "variance term dropped" else (dXhat * Xhat).mean(axis=-1, keepdims=True)
        if fault == "variance term summed":
            share = share * self.d_model
        if fault == "gamma's gradient without Xhat":
            self.dgamma += dY.sum(axis=sums)
        elif fault == "gamma's gradient of one row":
            self.dgamma += (dY * Xhat)[0, 0]
        else:
            self.dgamma += (dY * Xhat).sum(axis=sums)
        self.dbeta += dY[:, -1].sum(axis=0) if fault == "beta's gradient of the last token" else dY.sum(axis=sums)
        sign = -1 if fault == "sign of the variance term" else 1
        dX = dXhat - mean - sign * Xhat * share
        return dX if fault == "rstd forgotten" else dX * self.rstd


LAYER_NORM = ["gain forgotten", "mean term dropped", "variance term dropped", "variance term summed",
              "gamma's gradient without Xhat", "gamma's gradient of one row", "beta's gradient of the last token",
              "sign of the variance term", "rstd forgotten"]


def test_layer_norm_twin_passes(normal):
    assert gradcheck(LayerNormWith(None), normal(2, 4, 6))


@pytest.mark.parametrize("fault", LAYER_NORM)
def test_layer_norm_faults_are_caught(fault, normal):
    assert not gradcheck(LayerNormWith(fault), normal(2, 4, 6))


class GELUWith(GELU):
    """GELU with its derivative written again, and one fault in it."""

    def __init__(self, fault):
        self.fault = fault

    def forward(self, X):
        self.X = X
        return super().forward(X)

    def backward(self, dY):
        X, s, c = self.X, math.sqrt(2 / math.pi), 0.044715
        t = np.tanh(s * (X + c * X**3))
        du = s * (1 + (1 if self.fault == "x^3 derived as x^2" else 3) * c * X**2)
        if self.fault == "scale forgotten":
            du = du / s
        slope = 1 - (t if self.fault == "tanh not squared" else t**2)
        second = 0 if self.fault == "product rule forgotten" else 0.5 * X * slope * du
        return dY * (0.5 * (1 + t) + second)


GELU_FAULTS = ["x^3 derived as x^2", "scale forgotten", "tanh not squared", "product rule forgotten"]


def test_gelu_twin_passes(normal):
    assert gradcheck(GELUWith(None), normal(3, 5))


@pytest.mark.parametrize("fault", GELU_FAULTS)
def test_gelu_faults_are_caught(fault, normal):
    assert not gradcheck(GELUWith(fault), normal(3, 5))


class SoftmaxWithoutRowSum(Softmax):
    def backward(self, dY):
        return self.Y * dY


def test_softmax_without_its_row_sum_is_caught(normal):
    assert not gradcheck(SoftmaxWithoutRowSum(), normal(3, 5))


class CrossEntropyWith(CrossEntropyLoss):
    """The loss with its backward written again, and one fault in it."""

    def __init__(self, fault):
        super().__init__()
        self.fault = fault

    def backward(self, scale=1.0):
        counted = self.targets != -1
        onehot = np.eye(self.P.shape[-1])[self.targets] * counted[:, None]
        dlogits = self.P * counted[:, None] - onehot
        match self.fault:
            case "onehot dropped":
                dlogits += onehot
            case "sign":
                dlogits *= -1
            case "ignored rows count":
                dlogits[~counted] = self.P[~counted]
            case "mean over all rows":
                dlogits *= self.count / len(self.targets)
            case "summed, not averaged":
                dlogits *= self.count
            case "scale forgotten":
                scale = 1.0
            case "shape of the rows":
                self.shape = self.P.shape
        return (dlogits * (scale / self.count)).reshape(self.shape)


TARGETS = np.array([[0, -1, 4], [3, 3, -1]])


def test_cross_entropy_twin_passes(normal):
    assert gradcheck(CrossEntropyWith(None), normal(2, 3, 5), TARGETS)


@pytest.mark.parametrize("fault", ["onehot dropped", "sign", "ignored rows count", "mean over all rows",
                                   "summed, not averaged", "scale forgotten"])
def test_cross_entropy_faults_are_caught(fault, normal):
    assert not gradcheck(CrossEntropyWith(fault), normal(2, 3, 5), TARGETS)


def test_cross_entropy_gradient_of_another_shape_is_caught(normal):
    with pytest.raises(ValueError):
        gradcheck(CrossEntropyWith("shape of the rows"), normal(2, 3, 5), TARGETS)


class ChunkedLossWith(LinearCrossEntropy):
    """The head's loss with what its forward prepared spoilt before backward hands it out."""

    def __init__(self, fault):
        super().__init__(Unembedding(5, 3))
        self.fault = fault

    def backward(self, scale=1.0):
        match self.fault:
            case "table's gradient dropped":
                self.dE *= 0
            case "table's gradient not scaled":
                self.dE *= self.count / scale
            case "states' gradient not scaled":
                self.dX *= self.count / scale
            case "last row lost":
                self.dX[-1] = 0
        return super().backward(scale)


def test_chunked_loss_twin_passes(normal):
    assert gradcheck(ChunkedLossWith(None), normal(2, 3, 3), TARGETS[:, ::-1])


@pytest.mark.parametrize("fault", ["table's gradient dropped", "table's gradient not scaled",
                                   "states' gradient not scaled", "last row lost"])
def test_chunked_loss_faults_are_caught(fault, normal):
    assert not gradcheck(ChunkedLossWith(fault), normal(2, 3, 3), TARGETS[:, ::-1])
