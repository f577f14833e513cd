"""Step 12. Optimisers, from gradients to the next parameters: SGD with momentum, and Adam."""

import numpy as np
from marker import close, main, step

from numpygpt import optim

GPT, Linear = step(__file__, 11).GPT, step(__file__, 1).Linear


class SGD:
    """v <- momentum v + g;  p <- p - lr v, for each parameter p with the gradient g. v starts as 0."""

    def __init__(self, model, lr, momentum=0.9):
        self.params, self.grads, self.lr, self.momentum = model.params(), model.grads(), lr, momentum
        self.v = {name: np.zeros_like(p) for name, p in self.params.items()}

    def step(self):  # change the arrays in place: they are the model's own
        for name, p in self.params.items():
            self.v[name] = self.momentum * self.v[name] + self.grads[name]
            p -= self.lr * self.v[name]


class Adam:
    """m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2;  p <- p - lr mhat / (sqrt(vhat) + eps).

    m and v start as 0. To correct for that, step t divides them by 1 - b1^t and 1 - b2^t: mhat, vhat. The first t is 1.
    """

    def __init__(self, model, lr, betas=(0.9, 0.999), eps=1e-8):
        self.params, self.grads, self.lr, self.betas, self.eps = model.params(), model.grads(), lr, betas, eps
        self.m = {name: np.zeros_like(p) for name, p in self.params.items()}
        self.v = {name: np.zeros_like(p) for name, p in self.params.items()}
        self.t = 0

    def step(self):
        b1, b2 = self.betas
        self.t += 1
        for name, p in self.params.items():
            g = self.grads[name]
            self.m[name] = b1 * self.m[name] + (1 - b1) * g
            self.v[name] = b2 * self.v[name] + (1 - b2) * g * g
            mhat, vhat = self.m[name] / (1 - b1**self.t), self.v[name] / (1 - b2**self.t)
            p -= self.lr * mhat / (np.sqrt(vhat) + self.eps)


def after(make, steps):
    """Return two weights, 1.0 and 2.0 at first, after some steps with gradients of 0.5 and -4.0, halved each step."""
    layer = Linear(2, 1).astype("float64")
    layer.W[...] = [[1.0], [2.0]]
    optimizer = make(layer)
    for t in range(steps):
        layer.dW[...] = np.array([[0.5], [-4.0]]) / 2**t
        optimizer.step()
    return layer.W[:, 0].copy()


def overfit(make, steps=100):
    """Return the loss of a small GPT on one batch after some steps."""
    x, y = np.random.default_rng(1).integers(0, 7, (2, 2, 6))
    model = GPT(7, 6, 16, 2, 1, rng=0)
    optimizer = make(model)
    for _ in range(steps):
        loss = model(x, y)
        model.backward()
        optimizer.step()
        model.zero_grad()
    return loss


def checks():
    yield "SGD, first step by hand", close("the weights", after(lambda m: SGD(m, 0.1), 1), [0.95, 2.4])
    yield "SGD, second step by hand", close("the weights", after(lambda m: SGD(m, 0.1), 2), [0.88, 2.96])
    yield "Adam, first step by hand", close("the weights", after(lambda m: Adam(m, 0.1), 1), [0.9, 2.1])
    for name, mine, theirs in (("SGD", SGD, lambda m, lr: optim.SGD(m, lr, momentum=0.9)), ("Adam", Adam, optim.Adam)):
        yield (f"{name}, ten steps equal to the package's",
               close("the weights", after(lambda m, new=mine: new(m, 0.1), 10),
                     after(lambda m, new=theirs: new(m, 0.1), 10)))
    loss = overfit(lambda m: Adam(m, 1e-2))
    yield f"Adam overfits a batch: loss {loss:.3f}", loss < 0.1 or "it should be about 0 after 100 steps"


if __name__ == "__main__":
    main(checks)
