"""Step 6. The loss: the negative log-probability of the target; then softmax and it in one layer."""

import numpy as np
from marker import Module, close, gradcheck, main, step

Softmax = step(__file__, 5).Softmax


class NegativeLog(Module):
    """The long way: from the probabilities of your Softmax to the loss. L = mean of -log P[n, targets_n] over the
    targets that are not -1. Call the gradient dP. P: (..., n_vocab), targets: (...) integers, L: a float.
    """

    def forward(self, P, targets):
        self.shape, self.targets = P.shape, targets.reshape(-1)  # (N,)
        self.P = P.reshape(-1, P.shape[-1])  # (N, n_vocab)
        self.counted = self.targets != -1  # (N,)
        self.count = max(int(self.counted.sum()), 1)
        picked = self.P[self.counted, self.targets[self.counted]]  # (count,)
        return float(-np.log(picked).sum() / self.count)

    def backward(self, scale=1.0):  # scale: the derivative of the final loss with respect to this one
        n, k = np.flatnonzero(self.counted), self.targets[self.counted]
        dP = np.zeros_like(self.P)
        dP[n, k] = -scale / (self.count * self.P[n, k])
        return dP.reshape(self.shape)  # (..., n_vocab)


class CrossEntropy(Module):
    """The same in one layer. L = mean of -log softmax(X_n)[targets_n] over the targets that are not -1.

    Call the gradient dX. X: (..., n_vocab) logits, targets: (...) integers, L: a float.
    """

    def forward(self, X, targets):
        self.shape, X2, self.targets = X.shape, X.reshape(-1, X.shape[-1]), targets.reshape(-1)  # (N, n_vocab), (N,)
        self.P = Softmax()(X2)  # (N, n_vocab)
        self.counted = self.targets != -1  # (N,)
        self.count = max(int(self.counted.sum()), 1)
        picked = self.P[self.counted, self.targets[self.counted]]  # (count,)
        return float(-np.log(picked).sum() / self.count)

    def backward(self, scale=1.0):  # scale: the derivative of the final loss with respect to this one
        dX = self.P.copy()
        dX[self.counted, self.targets[self.counted]] -= 1  # P - onehot
        dX[~self.counted] = 0
        dX *= scale / self.count
        return dX.reshape(self.shape)  # (..., n_vocab)


def checks():
    rng = np.random.default_rng(1)
    X, targets = rng.standard_normal((2, 3, 5)), np.array([[1, 4, 0], [1, 1, 3]])
    P = 0.1 + rng.random((2, 3, 5))
    yield "the long way, all targets count", gradcheck(NegativeLog(), P, targets)
    yield "the long way, some are -1", gradcheck(NegativeLog(), P, np.array([[1, -1, 0], [-1, -1, 3]]))
    yield "all targets count", gradcheck(CrossEntropy(), X, targets)
    yield "some are -1", gradcheck(CrossEntropy(), X, np.array([[1, -1, 0], [-1, -1, 3]]))
    yield "none counts", gradcheck(CrossEntropy(), X, np.full((2, 3), -1))
    layer = CrossEntropy()
    layer(np.log([[1.0, 2.0, 1.0], [1.0, 1.0, 2.0], [1.0, 1.0, 1.0]]), np.array([1, 0, -1]))
    expected = [[0.125, -0.25, 0.125], [-0.375, 0.125, 0.25], [0, 0, 0]]
    yield "worked by hand", close("dX", layer.backward(), expected)
    yield "backward again, with scale 2", close("dX", layer.backward(2.0), 2 * np.array(expected))
    softmax, long_way = Softmax(), NegativeLog()
    layer(X, targets), long_way(softmax(X), targets)
    yield "the long way gives the same", close("dX", softmax.backward(long_way.backward()), layer.backward())


if __name__ == "__main__":
    main(checks)
