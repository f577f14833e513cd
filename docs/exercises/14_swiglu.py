"""Step 14. SwiGLU: a feed-forward network in which one half gates the other. You write forward too."""

import numpy as np
from marker import Module, close, gradcheck, main, single, step

Linear = step(__file__, 1).Linear


class SwiGLU(Module):
    """G = X W_gate, U = X W_up, A = silu(G) * U, Y = A W_proj with silu(G) = G / (1 + exp(-G)). X, Y: (..., C).

    Call the gradients dA, dU and dG: the marker compares each of them.
    """

    def __init__(self, d_model, d_ff=None, *, rng=None):
        rng, d_ff = np.random.default_rng(rng), d_ff or 8 * d_model // 3  # as many weights as two matrices and 4 C have
        self.gate, self.up = Linear(d_model, d_ff, rng=rng), Linear(d_model, d_ff, rng=rng)
        self.proj = Linear(d_ff, d_model, rng=rng)

    def forward(self, X):  # cache what backward needs
        raise NotImplementedError("two products from X; one goes through silu and multiplies the other; then proj")

    def backward(self, dY):  # dY: (..., C)
        raise NotImplementedError("a product: each factor gets the upstream gradient times the other. X is used twice")


def checks():
    rng = np.random.default_rng(1)
    layer = SwiGLU(2, 2).astype("float64")
    layer.gate.W[...] = layer.proj.W[...] = np.eye(2)
    layer.up.W[...] = 2 * np.eye(2)
    expected = [[0.0, 1.5 * np.log(3) ** 2]]  # silu(ln 3) = ln 3 * 3/4, times 2 ln 3
    yield "0 and ln 3, by hand", close("Y", layer(np.array([[0.0, np.log(3)]])), expected)
    yield "float32 stays float32", single(SwiGLU(2)(np.ones((1, 2), np.float32)))
    yield "rows", gradcheck(SwiGLU(3, 5), rng.standard_normal((4, 3)))
    yield "2 x 3 x 4, square", gradcheck(SwiGLU(4, 4), rng.standard_normal((2, 3, 4)))


if __name__ == "__main__":
    main(checks)
