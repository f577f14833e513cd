"""Step 16. Rotary positions: each pair of features turns by an angle that grows with the position."""

import numpy as np
from marker import Module, close, gradcheck, main


class Rotary(Module):
    """Y1 = X1 cos - X2 sin, Y2 = X2 cos + X1 sin, where X1, X2 are the halves of X. The angle of pair i at position t
    is t theta^(-2i/d_k). X, Y: (B, H, T, d_k). Call the gradients of the halves dX1 and dX2.
    """

    def __init__(self, d_k, theta=10000.0):
        self.frequencies = theta ** (-2 * np.arange(d_k // 2) / d_k)

    def forward(self, X):
        angle = np.arange(X.shape[2])[:, None] * self.frequencies  # (T, d_k/2)
        self.cos, self.sin = np.cos(angle).astype(X.dtype), np.sin(angle).astype(X.dtype)
        X1, X2 = np.split(X, 2, axis=-1)
        return np.concatenate([X1 * self.cos - X2 * self.sin, X2 * self.cos + X1 * self.sin], axis=-1)

    def backward(self, dY):  # dY: (B, H, T, d_k)
        dY1, dY2 = np.split(dY, 2, axis=-1)
        dX1 = dY1 * self.cos + dY2 * self.sin
        dX2 = dY2 * self.cos - dY1 * self.sin
        return np.concatenate([dX1, dX2], axis=-1)


def checks():
    rng = np.random.default_rng(1)
    yield "one pair", gradcheck(Rotary(2), rng.standard_normal((1, 1, 4, 2)))
    yield "three pairs", gradcheck(Rotary(6, theta=10.0), rng.standard_normal((2, 2, 5, 6)))
    layer, X = Rotary(6), rng.standard_normal((1, 1, 5, 6))
    yield "backward undoes forward", close("backward(forward(X))", layer.backward(layer(X)), X)


if __name__ == "__main__":
    main(checks)
