"""Step 17. Grouped queries: several query heads share a head of keys and values, so the cache is smaller."""

import numpy as np
from marker import Module, gradcheck, main, step

Linear, Softmax = step(__file__, 1).Linear, step(__file__, 5).Softmax


class GroupedAttention(Module):
    """Step 9, where query head h uses key and value head h // (H / G): G heads for H. X, Y: (B, T, C); d_k = C / H.

    Call the gradients dO, dV, dP, dS, dQ, dK as in step 9, and those of the shared heads dV_shared and dK_shared.
    """

    def __init__(self, d_model, n_heads, n_kv_heads, *, rng=None):
        rng = np.random.default_rng(rng)
        self.d_k, self.n_kv_heads = d_model // n_heads, n_kv_heads
        self.group, self.scale = n_heads // n_kv_heads, float(self.d_k**-0.5)
        self.q, self.k, self.v = (Linear(d_model, heads * self.d_k, rng=rng) for heads in (n_heads, *[n_kv_heads] * 2))
        self.softmax = Softmax()
        self.proj = Linear(d_model, d_model, rng=rng)

    def forward(self, X):
        T = X.shape[1]
        self.Q = self.split(self.q(X))  # (B, H, T, d_k)
        K, V = self.split(self.k(X)), self.split(self.v(X))  # (B, G, T, d_k)
        self.K, self.V = K.repeat(self.group, axis=1), V.repeat(self.group, axis=1)  # (B, H, T, d_k)
        M = np.triu(np.full((T, T), -np.inf, X.dtype), k=1)
        self.P = self.softmax(self.Q @ self.K.swapaxes(-1, -2) * self.scale + M)  # (B, H, T, T)
        return self.proj(self.join(self.P @ self.V))  # (B, T, C)

    def backward(self, dY):  # dY: (B, T, C)
        dO = self.split(self.proj.backward(dY))  # (B, H, T, d_k)
        dV = self.P.swapaxes(-1, -2) @ dO
        dP = dO @ self.V.swapaxes(-1, -2)
        dS = self.softmax.backward(dP)
        dQ = dS @ self.K * self.scale
        dK = dS.swapaxes(-1, -2) @ self.Q * self.scale
        B, _, T, _ = dK.shape
        groups = (B, self.n_kv_heads, self.group, T, self.d_k)
        dK_shared, dV_shared = dK.reshape(groups).sum(axis=2), dV.reshape(groups).sum(axis=2)  # (B, G, T, d_k)
        return (self.q.backward(self.join(dQ)) + self.k.backward(self.join(dK_shared))
                + self.v.backward(self.join(dV_shared)))

    def split(self, X):
        """(B, T, heads d_k) -> (B, heads, T, d_k)."""
        return X.reshape(*X.shape[:2], -1, self.d_k).swapaxes(1, 2)

    def join(self, X):
        """(B, heads, T, d_k) -> (B, T, heads d_k)."""
        B, heads, T, d_k = X.shape
        return X.swapaxes(1, 2).reshape(B, T, heads * d_k)


def checks():
    rng = np.random.default_rng(1)
    yield "as many as queries", gradcheck(GroupedAttention(6, 2, 2), rng.standard_normal((2, 4, 6)))
    yield "two heads, one shared", gradcheck(GroupedAttention(6, 2, 1), rng.standard_normal((2, 4, 6)))
    yield "four heads in two groups", gradcheck(GroupedAttention(8, 4, 2), rng.standard_normal((2, 3, 8)))


if __name__ == "__main__":
    main(checks)
