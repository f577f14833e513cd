"""Step 8. Dropout: a random mask in training, no change in evaluation."""

import numpy as np
from marker import Module, close, gradcheck, main


class Dropout(Module):
    """In training Y = X D, where the mask D is 0 with probability p, otherwise 1/(1 - p); in evaluation Y = X."""

    def __init__(self, p=0.1, *, rng=None):
        self.p, self.rng = p, np.random.default_rng(rng)

    def forward(self, X):
        self.D = None
        if self.training and self.p:
            keep = self.rng.random(X.shape) >= self.p
            self.D = (keep / (1 - self.p)).astype(X.dtype)
        return X if self.D is None else X * self.D

    def backward(self, dY):  # dY: (...)
        return dY if self.D is None else dY * self.D


def checks():
    X = np.random.default_rng(1).standard_normal((3, 4, 5))
    yield "training, p = 0.4", gradcheck(Dropout(0.4, rng=0), X)
    yield "p = 0", gradcheck(Dropout(0.0), X)
    yield "evaluation", gradcheck(Dropout(0.4, rng=0).eval(), X)
    layer = Dropout(0.4, rng=0)
    layer(X)
    yield "evaluation after training", close("dX in evaluation", (layer.eval()(X), layer.backward(X))[1], X)


if __name__ == "__main__":
    main(checks)
