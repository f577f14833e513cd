"""Gradient clipping."""

from __future__ import annotations

import math

import numpy as np

from numpygpt.nn.modules.module import Module
from numpygpt.optim.groups import as_module
from numpygpt.optim.optimizer import MapSlices, one_thread
from numpygpt.utils.checks import number
from numpygpt.utils.signals import signals_wait


@np.errstate(over="ignore", under="ignore")  # `scaled_norm` takes care of both
def clip_grad_norm(model: Module | list[Module], max_norm: float, map: MapSlices = one_thread) -> float:
    """Scale all gradients so that their common norm is at most `max_norm`, and return the norm before.

    The direction stays: g <- g min(1, max_norm / |g|). Pascanu et al. 2013. A norm that is not finite is returned and
    nothing is scaled; `math.inf` as `max_norm` measures only. `map` may share the work among threads, as in
    `Optimizer.step`. Raises ValueError unless max_norm > 0.
    """
    max_norm = number("max_norm", max_norm)
    if not max_norm > 0:
        raise ValueError(f"max_norm must be above 0, got {max_norm}")
    flat = as_module(model, "clip_grad_norm").flat()
    g, slices = flat.grads, flat.slices()
    with signals_wait():
        norm = math.sqrt(sum(map(lambda s: float(np.dot(g[s], g[s])), slices)))
    if not math.isfinite(norm) or norm <= math.sqrt(len(g) * np.finfo(g.dtype).tiny):
        norm = scaled_norm(g, slices)
    if math.isfinite(norm) and norm > max_norm:
        with signals_wait():
            for factor in factors(max_norm / norm, g.dtype):
                map(lambda s: np.multiply(g[s], factor, out=g[s]), slices)
    return norm


def scaled_norm(g: np.ndarray, slices: list[slice]) -> float:
    """The norm of the slices if their squares are beyond the dtype's range: 1e20 squared is infinite in float32.

    |g| = c |g / c| with c the largest magnitude, in float64.
    """
    largest = max((float(np.abs(g[s]).max()) for s in slices), default=0.0)
    if not all(np.isfinite(g[s]).all() for s in slices):
        return math.nan if any(np.isnan(g[s]).any() for s in slices) else math.inf
    if largest == 0:
        return 0.0
    parts = (np.divide(g[s], largest, dtype=np.float64) for s in slices)
    return largest * math.sqrt(sum(float(np.dot(part, part)) for part in parts))


def factors(factor: float, dtype: np.dtype) -> list[float]:
    """Numbers whose product is `factor`; two, if `factor` itself is too small for the dtype."""
    return [factor] if factor >= np.finfo(dtype).tiny else [math.sqrt(factor)] * 2
