"""Step 13. RMSNorm: LayerNorm without the mean and without beta. You write forward too."""

import numpy as np
from marker import Module, close, gradcheck, main, single


class RMSNorm(Module):
    """Y = gamma Xhat with Xhat = X r and r = 1/sqrt(mean(X^2) + eps), the mean over the row. X, Y: (..., C).

    Call the gradient of Xhat dXhat: the marker compares it.
    """

    def __init__(self, d_model, eps=1e-5):
        self.eps = eps
        self.param("gamma", np.ones(d_model, np.float32))

    def forward(self, X):  # cache what backward needs
        self.r = 1 / np.sqrt((X * X).mean(axis=-1, keepdims=True) + self.eps)  # (..., 1)
        self.Xhat = X * self.r  # (..., C)
        return self.gamma * self.Xhat

    def backward(self, dY):  # dY: (..., C)
        Xhat = self.Xhat
        self.dgamma += (dY * Xhat).sum(axis=tuple(range(dY.ndim - 1)))
        dXhat = dY * self.gamma
        return self.r * (dXhat - Xhat * (dXhat * Xhat).mean(axis=-1, keepdims=True))


def checks():
    rng = np.random.default_rng(1)
    layer = RMSNorm(2, eps=0.0).astype("float64")
    yield "3 and 4, by hand", close("Y", layer(np.array([[3.0, 4.0]])), np.array([[3.0, 4.0]]) / np.sqrt(12.5))
    yield "float32 stays float32", single(RMSNorm(2)(np.ones((1, 2), np.float32)))
    yield "rows of 5", gradcheck(RMSNorm(5), rng.standard_normal((3, 5)))
    yield "2 x 3 x 4, a large eps", gradcheck(RMSNorm(4, eps=0.5), rng.standard_normal((2, 3, 4)))


if __name__ == "__main__":
    main(checks)
