"""Step 7. LayerNorm: each row is shifted to mean 0 and scaled to variance 1."""

import numpy as np
from marker import Module, close, gradcheck, main


class LayerNorm(Module):
    """Y = gamma Xhat + beta with Xhat = (X - mean) r and r = 1/sqrt(var + eps). X, Y: (..., C), gamma, beta: (C,).

    Call the gradient of Xhat dXhat: the marker compares it.
    """

    def __init__(self, d_model, eps=1e-5):
        self.eps = eps
        self.param("gamma", np.ones(d_model, np.float32))
        self.param("beta", np.zeros(d_model, np.float32))

    def forward(self, X):
        centred = X - X.mean(axis=-1, keepdims=True)
        self.r = 1 / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + self.eps)  # (..., 1)
        self.Xhat = centred * self.r  # (..., C)
        return self.gamma * self.Xhat + self.beta

    def backward(self, dY):  # dY: (..., C)
        raise NotImplementedError("X_j has three paths to the output: directly, by the row's mean, by its variance")


def checks():
    rng = np.random.default_rng(1)
    yield "rows of 5", gradcheck(LayerNorm(5), rng.standard_normal((3, 5)))
    yield "2 x 3 x 4", gradcheck(LayerNorm(4), rng.standard_normal((2, 3, 4)))
    yield "a large eps", gradcheck(LayerNorm(4, eps=0.5), rng.standard_normal((3, 4)))
    layer = LayerNorm(4, eps=0.0).astype("float64")
    layer(np.array([[1.0, 1.0, 3.0, 3.0]]))
    yield "worked by hand", close("dX", layer.backward(np.array([[4.0, 0.0, 0.0, 0.0]])), [[2.0, -2.0, 0.0, 0.0]])


if __name__ == "__main__":
    main(checks)
