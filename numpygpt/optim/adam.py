"""Adam and AdamW."""

from __future__ import annotations

import math

import numpy as np

from numpygpt.nn.modules.module import Module
from numpygpt.nn.parallel import DataParallel
from numpygpt.optim.optimizer import Optimizer, check


class Adam(Optimizer):
    """m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2;  p <- p - lr mhat / (sqrt(vhat) + eps).

    mhat = m / (1 - b1^t) and vhat = v / (1 - b2^t) undo the start from zero. Kingma and Ba 2015, algorithm 1.
    Parameters: `model`, `lr`, `betas` each in [0, 1), `eps`. Raises ValueError for a value out of range.
    """

    moments = ("m", "v")
    m: np.ndarray
    v: np.ndarray

    def __init__(self, model: Module | DataParallel, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8):
        for name, beta in zip(("beta1", "beta2"), betas, strict=True):
            check(name, beta, 0 <= beta < 1, "at least 0 and below 1")
        self.betas, self.eps = betas, check("eps", eps, eps > 0, "above 0")
        super().__init__(model, lr)

    def update(self, s: slice) -> None:
        p, g, m, v = self.flat.params[s], self.flat.grads[s], self.m[s], self.v[s]
        b1, b2 = self.betas
        m *= b1
        m += (1 - b1) * g
        v *= b2
        g2 = g * g
        g2 *= 1 - b2
        v += g2
        root = np.sqrt(v, out=g2)
        root /= math.sqrt(1 - b2**self.steps)  # sqrt(vhat)
        root += self.eps
        step = np.divide(m, root, out=root)
        step *= self.lr / (1 - b1**self.steps)  # lr mhat / (sqrt(vhat) + eps)
        p -= step


class AdamW(Adam):
    """Adam with decoupled weight decay: first p <- p - lr weight_decay p, on matrices alone, then Adam's step.

    Biases, gains and shifts are not decayed. Loshchilov and Hutter 2019, algorithm 2. `weight_decay` is at least 0.
    """

    def __init__(self, model: Module | DataParallel, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0.01):
        self.weight_decay = check("weight_decay", weight_decay, weight_decay >= 0, "at least 0")
        super().__init__(model, lr, betas, eps)

    def update(self, s: slice) -> None:
        if self.weight_decay and s.stop <= self.flat.n_matrix:  # matrices come first in the flat arrays
            self.flat.params[s] *= 1 - self.lr * self.weight_decay
        super().update(s)
