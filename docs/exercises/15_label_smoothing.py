"""Step 15. Label smoothing: the target gets probability 1 - eps, and the rest is spread evenly over all tokens."""

import numpy as np
from marker import Module, close, gradcheck, main, single


class SmoothedCrossEntropy(Module):
    """L = mean over the targets that are not -1 of -sum_v R_v log softmax(X)_v; R = (1 - eps) onehot + eps / n_vocab.

    X: (..., n_vocab) logits, targets: (...) integers, L: a float. `backward(scale)` as in step 6. Write forward too.
    """

    def __init__(self, eps=0.1):
        self.eps = eps

    def forward(self, X, targets):  # cache what backward needs
        raise NotImplementedError("-sum(R log softmax) of each row that counts, averaged over these rows")

    def backward(self, scale=1.0):  # returns dX of the shape of X
        raise NotImplementedError("in step 6 R was the one-hot row: what changes?")


def checks():
    rng = np.random.default_rng(1)
    X, targets = rng.standard_normal((2, 3, 5)), np.array([[1, -1, 0], [-1, 4, 3]])
    layer, third = SmoothedCrossEntropy(0.3), np.zeros((1, 3))
    yield "equal logits: ln n_vocab for any eps", close("L", layer(third, np.array([2])), np.log(3))
    expected = -(0.2 * np.log(0.25) + 0.8 * np.log(0.5))
    yield "1, 2, 1, by hand", close("L", layer(np.log([[1.0, 2.0, 1.0]]), np.array([1])), expected)
    yield "eps = 0.1", gradcheck(SmoothedCrossEntropy(0.1), X, np.abs(targets))
    yield "some targets are -1", gradcheck(SmoothedCrossEntropy(0.3), X, targets)
    layer(third.astype(np.float32), np.array([2]))
    yield "float32 stays float32", single(layer.backward())


if __name__ == "__main__":
    main(checks)
