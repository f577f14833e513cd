"""Stochastic gradient descent."""

from __future__ import annotations

import numpy as np

from numpygpt.optim.groups import Group, Params, check
from numpygpt.optim.optimizer import Optimizer
from numpygpt.utils.checks import number


class SGD(Optimizer):
    """v <- momentum v + g;  p <- p - lr v. With momentum 0, p <- p - lr g.

    Parameters: `params`, `lr`, `momentum` in [0, 1). Raises ValueError for a value out of range.
    """

    def __init__(self, params: Params, lr: float = 0.1, momentum: float = 0.0):
        momentum = number("momentum", momentum)
        self.momentum = check("momentum", momentum, 0 <= momentum < 1, "at least 0 and below 1")
        self.moments = ("velocity",) if momentum else ()
        super().__init__(params, lr)
        self.check_rounded("momentum", self.momentum, 0, 1)

    velocity: np.ndarray

    @np.errstate(under="ignore")  # a velocity that nothing feeds shrinks to 0, as it should
    def update(self, s: slice, group: Group) -> None:
        p, g = self.flat.params[s], self.flat.grads[s]
        if self.momentum:
            v = self.velocity[s]
            v *= self.momentum
            v += g
            g = v
        p -= self.rates(group)[0] * g
