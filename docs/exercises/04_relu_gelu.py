"""Step 4. Activations: element-wise functions."""

import numpy as np
from marker import Module, gradcheck, main

SCALE, CUBIC = float(np.sqrt(2 / np.pi)), 0.044715


class ReLU(Module):
    """Y = max(X, 0). X, Y: (...)."""

    def forward(self, X):
        self.X = X
        return np.maximum(X, 0)

    def backward(self, dY):  # dY: (...)
        raise NotImplementedError("the slope is 1 if X is positive, and 0 otherwise")


class GELU(Module):
    """Y = X/2 (1 + tanh u) with u = SCALE (X + CUBIC X^3). X, Y: (...)."""

    def forward(self, X):
        self.X, self.tanh = X, np.tanh(SCALE * (X + CUBIC * X * X * X))
        return X / 2 * (1 + self.tanh)

    def backward(self, dY):  # dY: (...)
        raise NotImplementedError("product rule on X/2 and 1 + tanh u; tanh' = 1 - tanh^2, times the slope of u")


def checks():
    X = np.random.default_rng(1).standard_normal((2, 3, 4))
    yield "ReLU", gradcheck(ReLU(), X)
    yield "GELU", gradcheck(GELU(), X)
    yield "GELU far from 0", gradcheck(GELU(), 3 * X)


if __name__ == "__main__":
    main(checks)
