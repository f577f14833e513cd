"""Gradient clipping."""

from __future__ import annotations

import math

import numpy as np

from numpygpt.nn.modules.module import Module


def clip_grad_norm(model: Module, max_norm: float) -> float:
    """Scale all gradients so that their norm together is at most `max_norm`; return the norm before.

    The direction stays: g <- g min(1, max_norm / |g|). Pascanu et al. 2013. A norm that is not finite is returned and
    nothing is scaled; `math.inf` as `max_norm` measures only. Raises ValueError unless max_norm > 0.
    """
    if not max_norm > 0:
        raise ValueError(f"max_norm must be above 0, got {max_norm}")
    g = model.flat().grads
    norm = math.sqrt(np.dot(g, g))
    if math.isfinite(norm) and norm > max_norm:
        g *= max_norm / norm
    return norm
