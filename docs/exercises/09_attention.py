"""Step 9. Causal multi-head self-attention, with your own Linear and Softmax."""

import numpy as np
from marker import Module, gradcheck, main, step

Linear, Softmax = step(__file__, 1).Linear, step(__file__, 5).Softmax


class Attention(Module):
    """S = Q K^T / sqrt(d_k) + M, P = softmax(S), O = P V in each head; Y = join(O) W_o; [Q K V] = X W. X, Y: (B, T, C).

    d_k = C / H. Call the gradients dO, dV, dP, dS, dQ, dK: the marker compares each of them.
    """

    def __init__(self, d_model, n_heads, *, rng=None):
        rng = np.random.default_rng(rng)
        self.n_heads, self.scale = n_heads, float((d_model // n_heads) ** -0.5)
        self.qkv = Linear(d_model, 3 * d_model, rng=rng)
        self.softmax = Softmax()
        self.proj = Linear(d_model, d_model, rng=rng)

    def forward(self, X):
        T = X.shape[1]
        self.Q, self.K, self.V = (self.split(part) for part in np.split(self.qkv(X), 3, axis=-1))  # (B, H, T, d_k) each
        M = np.triu(np.full((T, T), -np.inf, X.dtype), k=1)  # the mask: a token sees itself and earlier tokens
        S = self.Q @ self.K.swapaxes(-1, -2) * self.scale + M  # (B, H, T, T)
        self.P = self.softmax(S)
        return self.proj(self.join(self.P @ self.V))  # (B, T, C)

    def backward(self, dY):  # dY: (B, T, C)
        raise NotImplementedError("go back line by line: proj, join, P V, softmax, the scale and Q K^T, split, qkv")

    def split(self, X):
        """(B, T, C) -> (B, H, T, d_k)."""
        B, T, C = X.shape
        return X.reshape(B, T, self.n_heads, C // self.n_heads).swapaxes(1, 2)

    def join(self, X):
        """(B, H, T, d_k) -> (B, T, C)."""
        B, H, T, d_k = X.shape
        return X.swapaxes(1, 2).reshape(B, T, H * d_k)


def checks():
    rng = np.random.default_rng(1)
    yield "one head of 3", gradcheck(Attention(3, 1), rng.standard_normal((2, 4, 3)))
    yield "two heads of 3", gradcheck(Attention(6, 2), rng.standard_normal((2, 4, 6)))
    yield "square, T = d_k: here a forgotten transpose fits", gradcheck(Attention(6, 2), rng.standard_normal((2, 3, 6)))


if __name__ == "__main__":
    main(checks)
