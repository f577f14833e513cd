"""Step 6. The loss: softmax and the negative log-probability of the target, in one layer."""

import numpy as np
from marker import Module, close, gradcheck, mark


class CrossEntropy(Module):
    """L = mean of -log softmax(X_n)[targets_n] over the targets that are not -1.

    X: (..., V) logits, targets: (...) integers, L: a float.
    """

    def forward(self, X, targets):
        self.shape, X2, self.targets = X.shape, X.reshape(-1, X.shape[-1]), targets.reshape(-1)  # (N, V), (N,)
        E = np.exp(X2 - X2.max(axis=-1, keepdims=True))
        self.P = E / E.sum(axis=-1, keepdims=True)  # (N, V)
        self.counted = self.targets != -1  # (N,)
        self.count = max(int(self.counted.sum()), 1)
        picked = self.P[self.counted, self.targets[self.counted]]  # (count,)
        return float(-np.log(picked).sum() / self.count)

    def backward(self, scale=1.0):  # scale: the derivative of the final loss with respect to this one
        dX = self.P.copy()
        dX[self.counted, self.targets[self.counted]] -= 1  # P - onehot
        dX[~self.counted] = 0
        dX *= scale / self.count
        return dX.reshape(self.shape)  # (..., V)


def checks():
    rng = np.random.default_rng(1)
    X, targets = rng.standard_normal((2, 3, 5)), np.array([[1, 4, 0], [1, 1, 3]])
    yield "all targets count", gradcheck(CrossEntropy(), X, targets)
    yield "some are -1", gradcheck(CrossEntropy(), X, np.array([[1, -1, 0], [-1, -1, 3]]))
    yield "none counts", gradcheck(CrossEntropy(), X, np.full((2, 3), -1))
    layer = CrossEntropy()
    layer(np.log([[1.0, 2.0, 1.0], [1.0, 1.0, 2.0], [1.0, 1.0, 1.0]]), np.array([1, 0, -1]))
    expected = [[0.125, -0.25, 0.125], [-0.375, 0.125, 0.25], [0, 0, 0]]
    yield "worked by hand", close("dX", layer.backward(), expected)
    yield "backward again, with scale 2", close("dX", layer.backward(2.0), 2 * np.array(expected))


if __name__ == "__main__":
    raise SystemExit(mark(checks))
