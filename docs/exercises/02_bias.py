"""Step 2. Broadcasting: a bias is added to every row, and a vector per position to every sequence."""

import numpy as np
from marker import Module, gradcheck, main


class Bias(Module):
    """Y_nc = X_nc + b_c. X, Y: (..., C), b: (C,)."""

    def __init__(self, size):
        self.param("b", np.zeros(size, np.float32))

    def forward(self, X):
        return X + self.b

    def backward(self, dY):  # dY: (..., C)
        raise NotImplementedError("b was added to every row, so its gradient is a sum over the rows")


class Positions(Module):
    """Y_btc = X_btc + W_tc. X, Y: (B, T, C), W: (max_len, C); its first T rows are used."""

    def __init__(self, max_len, d_model, *, rng=None):
        W = 0.02 * np.random.default_rng(rng).standard_normal((max_len, d_model))
        self.param("W", W.astype(np.float32))

    def forward(self, X):
        self.T = X.shape[1]
        return X + self.W[: self.T]

    def backward(self, dY):  # dY: (B, T, C)
        raise NotImplementedError("row t of W was added to position t of every sequence: sum over which axis of dY?")


def checks():
    rng = np.random.default_rng(1)
    yield "bias on 4 rows", gradcheck(Bias(3), rng.standard_normal((4, 3)))
    yield "bias on 2 sequences of 5", gradcheck(Bias(3), rng.standard_normal((2, 5, 3)))
    yield "positions, all in use", gradcheck(Positions(5, 3), rng.standard_normal((2, 5, 3)))
    yield "positions, T below max_len", gradcheck(Positions(7, 3), rng.standard_normal((2, 5, 3)))


if __name__ == "__main__":
    main(checks)
