"""Step 11. The whole model, built from your own layers. It memorises two lines and writes them."""

import numpy as np
from marker import Module, gradcheck, main, step

from numpygpt.optim import AdamW

Positions, CrossEntropy = step(__file__, 2).Positions, step(__file__, 6).CrossEntropy
Embedding, Head = step(__file__, 3).Embedding, step(__file__, 3).Head
LayerNorm, Dropout, Block = step(__file__, 7).LayerNorm, step(__file__, 8).Dropout, step(__file__, 10).Block


class GPT(Module):
    """ids (B, T), targets (B, T) -> loss. Embedding, positions, dropout, blocks, LayerNorm, tied head, loss.

    Call the gradients dlogits and, in the residual stream, dX.
    """

    def __init__(self, n_vocab, max_len, d_model, n_heads, n_layers, *, dropout=0.0, rng=None):
        rng = np.random.default_rng(rng)
        self.wte = Embedding(n_vocab, d_model, rng=rng)
        self.wpe = Positions(max_len, d_model, rng=rng)
        self.dropout = Dropout(dropout, rng=rng)
        self.blocks = [Block(d_model, n_heads, rng=rng) for _ in range(n_layers)]
        self.norm_f = LayerNorm(d_model)
        self.head = Head(self.wte)
        self.loss = CrossEntropy()

    def forward(self, ids, targets):
        return self.loss(self.logits(ids), targets)

    def logits(self, ids):
        X = self.dropout(self.wpe(self.wte(ids)))  # (B, T, C)
        for block in self.blocks:
            X = block(X)
        return self.head(self.norm_f(X))  # (B, T, n_vocab)

    def backward(self, scale=1.0):  # ids have no gradient, so nothing is returned
        raise NotImplementedError("the calls of forward in reverse order; the last block goes first")


LINES = "To be, or not to be, that is the question:", "Whether 'tis nobler in the mind to suffer:"
VOCABULARY = sorted(set("".join(LINES)))


def overfit(steps=150):
    """Return the model, and the loss on one batch of two lines before and after training."""
    ids = np.array([[VOCABULARY.index(letter) for letter in line] for line in LINES])  # (2, T)
    x, y = ids[:, :-1], ids[:, 1:]
    model = GPT(len(VOCABULARY), x.shape[1], 32, 2, 2, rng=0)
    optimizer = AdamW(model, 3e-3)
    losses = []
    for _ in range(steps):
        losses.append(model(x, y))
        model.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, losses[0], losses[-1]


def write(model, letter):
    """Let the model continue a letter to a line, always with the token of the highest score."""
    ids = [VOCABULARY.index(letter)]
    while len(ids) < len(LINES[0]):
        logits = model.logits(np.array([ids]))  # (1, T, n_vocab)
        ids.append(int(logits[0, -1].argmax()))
    return "".join(VOCABULARY[i] for i in ids)


def checks():
    x, y = np.random.default_rng(1).integers(0, 5, (2, 2, 3))
    yield "every gradient", gradcheck(GPT(5, 4, 4, 2, 2, dropout=0.2, rng=0), x, y)
    model, first, last = overfit()
    know_nothing = np.log(len(VOCABULARY))
    yield (f"the first loss, {first:.2f}, is about ln n_vocab = {know_nothing:.2f}",
           abs(first - know_nothing) < 0.3 or "it should be: the model knows nothing yet")
    yield f"the last loss, {last:.3f}, is about 0", last < 0.05 or "the model should memorise a batch of two lines"
    for line in LINES:
        text = write(model, line[0])
        yield f"your model continues {line[0]!r}: {text!r}", text == line or f"it should write {line!r}"


if __name__ == "__main__":
    main(checks)
