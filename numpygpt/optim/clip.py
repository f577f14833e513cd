"""Gradient clipping."""

from __future__ import annotations

import math

import numpy as np

from numpygpt.nn.modules.checks import number
from numpygpt.nn.modules.module import Module
from numpygpt.nn.parallel import DataParallel
from numpygpt.optim.optimizer import share, workers_and_module


def clip_grad_norm(model: Module | DataParallel, max_norm: float) -> float:
    """Scale all gradients so that their norm together is at most `max_norm`; return the norm before.

    The direction stays: g <- g min(1, max_norm / |g|). Pascanu et al. 2013. A norm that is not finite is returned and
    nothing is scaled; `math.inf` as `max_norm` measures only. With a DataParallel, its threads share the work. Raises
    ValueError unless max_norm > 0.
    """
    max_norm = number("max_norm", max_norm)
    if not max_norm > 0:
        raise ValueError(f"max_norm must be above 0, got {max_norm}")
    parallel, module = workers_and_module(model, "clip_grad_norm")
    flat = module.flat()
    g, slices = flat.grads, flat.pieces()
    norm = math.sqrt(sum(share(parallel, lambda s: float(np.dot(g[s], g[s])), slices)))
    if math.isfinite(norm) and norm > max_norm:
        share(parallel, lambda s: np.multiply(g[s], max_norm / norm, out=g[s]), slices)
    return norm
