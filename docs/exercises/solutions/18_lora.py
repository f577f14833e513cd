"""Step 18. LoRA: a frozen matrix and a product of two narrow ones that learns beside it."""

import numpy as np
from marker import Module, gradcheck, main


class LoRALinear(Module):
    """Y = X W + s (X A) B with s = alpha / rank. W is frozen. X: (..., d_in), A: (d_in, rank), B: (rank, d_out).

    Call the gradient of X A dXA: the marker compares it.
    """

    def __init__(self, d_in, d_out, rank, alpha=1.0, *, rng=None):
        rng = np.random.default_rng(rng)
        self.s = alpha / rank
        self.constant("W", rng.standard_normal((d_in, d_out)) / np.sqrt(d_in))  # has no dW
        self.param("A", (rng.standard_normal((d_in, rank)) / np.sqrt(d_in)).astype(np.float32))
        self.param("B", np.zeros((rank, d_out), np.float32))

    def forward(self, X):
        self.X, self.XA = X, X @ self.A  # (..., rank)
        return X @ self.W + self.s * (self.XA @ self.B)

    def backward(self, dY):  # dY: (..., d_out)
        X2, XA2, dY2 = (x.reshape(-1, x.shape[-1]) for x in (self.X, self.XA, dY))
        dXA = self.s * (dY @ self.B.T)  # (..., rank)
        self.dB += self.s * (XA2.T @ dY2)
        self.dA += X2.T @ dXA.reshape(-1, dXA.shape[-1])
        return dY @ self.W.T + dXA @ self.A.T


def checks():
    rng = np.random.default_rng(1)
    yield "rank 2, 4 to 3", gradcheck(LoRALinear(4, 3, 2, rng=0), rng.standard_normal((5, 4)))
    yield "sequences, alpha = 6", gradcheck(LoRALinear(4, 3, 2, alpha=6.0, rng=0), rng.standard_normal((2, 3, 4)))
    yield "square: here a forgotten transpose fits", gradcheck(LoRALinear(3, 3, 3, rng=0), rng.standard_normal((3, 3)))


if __name__ == "__main__":
    main(checks)
