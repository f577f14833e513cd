"""Adam and AdamW."""

from __future__ import annotations

import math

import numpy as np

from numpygpt.optim.groups import Group, Params, check
from numpygpt.optim.optimizer import Optimizer
from numpygpt.utils.checks import number


class Adam(Optimizer):
    """m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2;  p <- p - lr mhat / (sqrt(vhat) + eps).

    mhat = m / (1 - b1^t) and vhat = v / (1 - b2^t) undo the bias of a start from zero. Kingma and Ba 2015, alg. 1.
    Parameters: `params`, `lr`, `betas` each in [0, 1), `eps`. Raises ValueError for a value out of range.
    """

    moments = ("m", "v")
    m: np.ndarray
    v: np.ndarray

    def __init__(self, params: Params, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8):
        if np.shape(betas) != (2,):
            raise ValueError(f"betas must be two numbers, (beta1, beta2), got {betas!r:.80}")
        self.betas = number("beta1", betas[0]), number("beta2", betas[1])
        for name, beta in zip(("beta1", "beta2"), self.betas, strict=True):
            check(name, beta, 0 <= beta < 1, "at least 0 and below 1")
        eps = number("eps", eps)
        self.eps = check("eps", eps, eps > 0, "above 0")
        super().__init__(params, lr)
        for name, beta in zip(("beta1", "beta2"), self.betas, strict=True):
            self.check_rounded(name, beta, 0, 1)
        # A gradient whose square is 0 must be small against eps, or m / (sqrt(v) + eps) is a huge step.
        self.check_rounded("eps", eps, math.sqrt(np.finfo(self.flat.params.dtype).tiny))

    @np.errstate(under="ignore")  # m and v of a token that no longer occurs shrink to 0, as they should
    def update(self, s: slice, group: Group) -> None:
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
        step *= self.rates(group)[0] / (1 - b1**self.steps)  # lr mhat / (sqrt(vhat) + eps)
        p -= step


class AdamW(Adam):
    """Adam with decoupled weight decay: first p <- p - lr weight_decay p, on matrices only, then Adam's step.

    Biases, gains and shifts are not decayed. Loshchilov and Hutter 2019, algorithm 2. `weight_decay` is at least 0.
    """

    group_keys = ("lr", "weight_decay")

    def __init__(self, params: Params, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0.01):
        decay = number("weight_decay", weight_decay)
        self.weight_decay = check("weight_decay", decay, decay >= 0, "at least 0")
        super().__init__(params, lr, betas, eps)

    @np.errstate(under="ignore")
    def update(self, s: slice, group: Group) -> None:
        lr, decay = self.rates(group)
        if decay and s.stop <= self.flat.n_matrix:  # matrices come first in the flat arrays
            self.flat.params[s] *= 1 - lr * decay
        super().update(s, group)
