"""Step 11. The whole model, built from your own layers. It overfits one batch."""

import numpy as np
from marker import Module, gradcheck, mark, step

from numpygpt.optim import AdamW

Positions, CrossEntropy = step(__file__, 2).Positions, step(__file__, 6).CrossEntropy
Embedding, Head = step(__file__, 3).Embedding, step(__file__, 3).Head
LayerNorm, Dropout, Block = step(__file__, 7).LayerNorm, step(__file__, 8).Dropout, step(__file__, 10).Block


class GPT(Module):
    """ids (B, T), targets (B, T) -> loss. Embedding, positions, dropout, blocks, LayerNorm, tied head, loss."""

    def __init__(self, vocab_size, max_len, d_model, n_heads, n_layers, *, dropout=0.0, rng=None):
        rng = np.random.default_rng(rng)
        self.wte = Embedding(vocab_size, d_model, rng=rng)
        self.wpe = Positions(max_len, d_model, rng=rng)
        self.dropout = Dropout(dropout, rng=rng)
        self.blocks = [Block(d_model, n_heads, rng=rng) for _ in range(n_layers)]
        self.norm_f = LayerNorm(d_model)
        self.head = Head(self.wte)
        self.loss = CrossEntropy()

    def forward(self, ids, targets):
        X = self.dropout(self.wpe(self.wte(ids)))  # (B, T, C)
        for block in self.blocks:
            X = block(X)
        return self.loss(self.head(self.norm_f(X)), targets)

    def backward(self, scale=1.0):  # ids have no gradient, so nothing is returned
        dX = self.norm_f.backward(self.head.backward(self.loss.backward(scale)))  # (B, T, C)
        for block in reversed(self.blocks):
            dX = block.backward(dX)
        self.wte.backward(self.wpe.backward(self.dropout.backward(dX)))


def overfit(steps=150):
    """Return ln V, and the loss on one batch before and after training."""
    text = "To be, or not to be, that is the question."
    vocabulary = sorted(set(text))
    ids = np.array([vocabulary.index(letter) for letter in text])
    x, y = ids[:40].reshape(2, 20), ids[1:41].reshape(2, 20)
    model = GPT(len(vocabulary), 20, 32, 2, 2, rng=0)
    optimizer = AdamW(model, 3e-3)
    losses = []
    for _ in range(steps):
        losses.append(model(x, y))
        model.backward()
        optimizer.step()
        optimizer.zero_grad()
    return np.log(len(vocabulary)), losses[0], losses[-1]


def checks():
    x, y = np.random.default_rng(1).integers(0, 5, (2, 2, 3))
    yield "every gradient", gradcheck(GPT(5, 4, 4, 2, 2, dropout=0.2, rng=0), x, y)
    know_nothing, first, last = overfit()
    yield (f"the first loss, {first:.2f}, is about ln V = {know_nothing:.2f}",
           abs(first - know_nothing) < 0.3 or "it should be: the model knows nothing yet")
    yield f"the last loss, {last:.3f}, is about 0", last < 0.05 or "the model should memorise a batch of 40 letters"


if __name__ == "__main__":
    raise SystemExit(mark(checks))
