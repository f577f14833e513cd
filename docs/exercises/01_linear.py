"""Step 1. The linear layer, a matrix product: Y = X W."""

import numpy as np
from marker import Module, gradcheck, main


class Linear(Module):
    """Y_no = sum_i X_ni W_io. X: (..., d_in), W: (d_in, d_out), Y: (..., d_out).

    Like every `backward`, this one gets dY, the gradient of the loss with respect to Y. It adds the gradient of W to
    self.dW and returns that of X.
    """

    def __init__(self, d_in, d_out, *, rng=None):
        W = np.random.default_rng(rng).standard_normal((d_in, d_out)) / np.sqrt(d_in)
        self.param("W", W.astype(np.float32))  # makes self.W, and its gradient self.dW, which starts as zeros

    def forward(self, X):
        self.X = X
        return X @ self.W  # (..., d_out)

    def backward(self, dY):  # dY: (..., d_out)
        raise NotImplementedError("which products of X, W and dY have the shape of W, and of X? Mind the leading axes")


def checks():
    rng = np.random.default_rng(1)
    yield "rows, 4 x 3 to 2", gradcheck(Linear(3, 2), rng.standard_normal((4, 3)))
    yield "sequences, 2 x 5 x 3 to 4", gradcheck(Linear(3, 4), rng.standard_normal((2, 5, 3)))
    yield "square: here a forgotten transpose fits", gradcheck(Linear(3, 3), rng.standard_normal((3, 3)))


if __name__ == "__main__":
    main(checks)
