"""Step 5. Softmax: every output of a row depends on every input of the row."""

import numpy as np
from marker import Module, close, gradcheck, main


class Softmax(Module):
    """Y_i = exp(X_i) / sum_j exp(X_j), along the last axis. X, Y: (..., C)."""

    def forward(self, X):
        powers = np.exp(X - X.max(axis=-1, keepdims=True))  # the maximum cancels; exp cannot overflow
        self.Y = powers / powers.sum(axis=-1, keepdims=True)
        return self.Y

    def backward(self, dY):  # dY: (..., C)
        raise NotImplementedError("slope of Y_i with respect to X_j: Y_i (1[i = j] - Y_j). Times dY_i, summed over i")


def checks():
    rng = np.random.default_rng(1)
    yield "rows of 3", gradcheck(Softmax(), rng.standard_normal((2, 3)))
    yield "square, 2 x 4 x 4", gradcheck(Softmax(), rng.standard_normal((2, 4, 4)))
    layer = Softmax()
    layer(np.log([[1.0, 2.0, 1.0]]))
    yield "worked by hand", close("dX", layer.backward(np.array([[1.0, 0.0, 0.0]])), [[0.1875, -0.125, -0.0625]])


if __name__ == "__main__":
    main(checks)
