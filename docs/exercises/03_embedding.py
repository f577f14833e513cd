"""Step 3. The token embedding, and the same table as the output head, which scores every token."""

import numpy as np
from marker import Module, gradcheck, main


class Embedding(Module):
    """Y_nc = W[ids_n, c]. ids: (...) integers, W: (n_vocab, C), Y: (..., C)."""

    def __init__(self, n, d_model, *, rng=None):
        W = 0.02 * np.random.default_rng(rng).standard_normal((n, d_model))
        self.param("W", W.astype(np.float32))

    def forward(self, ids):
        self.ids = ids
        return self.W[ids]  # (..., C)

    def backward(self, dY):  # dY: (..., C); ids have no gradient, so nothing is returned
        raise NotImplementedError("each row of dY goes to the row of dW that its id names; an id may repeat")


class Head(Module):
    """logits = X E^T with the embedding's own table E. X: (..., C), E: (n_vocab, C), logits: (..., n_vocab)."""

    def __init__(self, embedding):
        self.embedding = embedding

    def forward(self, X):
        self.X = X
        return X @ self.embedding.W.T  # (..., n_vocab)

    def backward(self, dY):  # dY: (..., n_vocab); the table's gradient is self.embedding.dW
        raise NotImplementedError("step 1 with W = E^T; the table's gradient has E's shape: add to it")


class Tied(Module):
    """From ids to vectors and back to scores: one table, used twice."""

    def __init__(self):
        self.table = Embedding(4, 3)
        self.head = Head(self.table)

    def forward(self, ids):
        return self.head(self.table(ids))

    def backward(self, dY):
        self.table.backward(self.head.backward(dY))


def checks():
    rng = np.random.default_rng(1)
    yield "each id once", gradcheck(Embedding(4, 3), np.array([2, 0, 3]))
    yield "repeated ids", gradcheck(Embedding(4, 3), np.array([[2, 0, 2], [1, 2, 1]]))
    yield "head alone", gradcheck(Head(Embedding(4, 3)), rng.standard_normal((2, 5, 3)))
    yield "square: here a forgotten transpose fits", gradcheck(Head(Embedding(3, 3)), rng.standard_normal((3, 3)))
    yield "tied, both uses of the table", gradcheck(Tied(), np.array([[2, 0, 2], [1, 2, 1]]))


if __name__ == "__main__":
    main(checks)
