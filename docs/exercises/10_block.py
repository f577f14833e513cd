"""Step 10. The feed-forward network, and the block: two sub-layers, each with a residual connection."""

import numpy as np
from marker import Module, gradcheck, main, step

Linear, Bias, GELU = step(__file__, 1).Linear, step(__file__, 2).Bias, step(__file__, 4).GELU
LayerNorm, Attention = step(__file__, 7).LayerNorm, step(__file__, 9).Attention


class FeedForward(Module):
    """Z = X W1 + b1, A = gelu(Z), Y = A W2 + b2. X, Y: (..., C); Z, A: (..., 4 C). Call the gradients dA and dZ."""

    def __init__(self, d_model, d_ff=None, *, rng=None):
        rng, d_ff = np.random.default_rng(rng), d_ff or 4 * d_model
        self.fc, self.fc_bias, self.act = Linear(d_model, d_ff, rng=rng), Bias(d_ff), GELU()
        self.proj, self.proj_bias = Linear(d_ff, d_model, rng=rng), Bias(d_model)

    def forward(self, X):
        Z = self.fc_bias(self.fc(X))  # (..., d_ff)
        A = self.act(Z)
        return self.proj_bias(self.proj(A))  # (..., C)

    def backward(self, dY):  # dY: (..., C)
        raise NotImplementedError("the five layers in reverse")


class Block(Module):
    """H = X + attn(norm1(X)), Y = H + ffn(norm2(H)). X, H, Y: (B, T, C). Call the gradients dH and dX."""

    def __init__(self, d_model, n_heads, d_ff=None, *, rng=None):
        rng = np.random.default_rng(rng)
        self.norm1, self.attn = LayerNorm(d_model), Attention(d_model, n_heads, rng=rng)
        self.norm2, self.ffn = LayerNorm(d_model), FeedForward(d_model, d_ff, rng=rng)

    def forward(self, X):
        H = X + self.attn(self.norm1(X))
        return H + self.ffn(self.norm2(H))

    def backward(self, dY):  # dY: (B, T, C)
        raise NotImplementedError("H is used twice, and so is X: each gets the sum of the gradients from both uses")


def checks():
    rng = np.random.default_rng(1)
    yield "feed-forward", gradcheck(FeedForward(3, 5), rng.standard_normal((2, 4, 3)))
    yield "block", gradcheck(Block(4, 2, 5), rng.standard_normal((2, 3, 4)))


if __name__ == "__main__":
    main(checks)
