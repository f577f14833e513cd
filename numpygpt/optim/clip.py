"""Gradient clipping."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from numpygpt.nn.backend import number_of
from numpygpt.nn.modules.module import Module
from numpygpt.optim.groups import as_module
from numpygpt.optim.optimizer import MapSlices, one_thread
from numpygpt.utils.checks import number
from numpygpt.utils.signals import signals_wait


@np.errstate(over="ignore", under="ignore")  # `scaled_norm` takes care of both
def clip_grad_norm(model: Module | list[Module], max_norm: float, map: MapSlices = one_thread,
                   total: Callable[[list[float]], float] = sum, scale: float = 1.0) -> float:
    """Scale all gradients so that their common norm is at most `max_norm`, and return the norm before.

    The direction stays: g <- g min(1, max_norm / |g|). Pascanu et al. 2013. A norm that is not finite is returned and
    nothing is scaled; `math.inf` as `max_norm` measures only. `map` may share the work among threads, as in
    `Optimizer.step`. If several processes have a part of the gradients each, `map` passes over those of the others, and
    `total` adds up what all have found. Gradients of `scale` times the loss (see `LossScale`) are divided by it in the
    same pass, and the norm is that of the loss itself. Raises ValueError unless max_norm > 0.
    """
    max_norm = number("max_norm", max_norm)
    if not max_norm > 0:
        raise ValueError(f"max_norm must be above 0, got {max_norm}")
    flat = as_module(model, "clip_grad_norm").flat()
    g, slices = flat.grads, flat.slices()
    with signals_wait():
        norm = math.sqrt(total(map(lambda s: number_of(np.dot(g[s], g[s])), slices)))  # on a device: waits for it
    if not math.isfinite(norm) or norm <= math.sqrt(len(g) * np.finfo(g.dtype).tiny):
        norm = scaled_norm(g, slices, map, total)
    norm /= scale
    change = (max_norm / norm if norm > max_norm else 1.0) / scale
    if math.isfinite(norm) and change != 1:
        with signals_wait():
            for factor in factors(change, g.dtype):
                map(lambda s: np.multiply(g[s], factor, out=g[s]), slices)
    return norm


def scaled_norm(g: np.ndarray, slices: list[slice], map: MapSlices, total: Callable[[list[float]], float]) -> float:
    """The norm of the slices if their squares are beyond the dtype's range: 1e20 squared is infinite in float32.

    |g| = c |g / c| in float64, with c the mean of the slices' largest magnitudes: no |g / c| exceeds their number.
    """
    if total(map(lambda s: float(not np.isfinite(g[s]).all()), slices)):
        return math.nan if total(map(lambda s: float(np.isnan(g[s]).any()), slices)) else math.inf
    largest = map(lambda s: float(np.abs(g[s]).max()), slices)
    c = total([value / len(slices) for value in largest])
    if c == 0:
        return 0.0
    return c * math.sqrt(total(map(lambda s: float((np.divide(g[s], c, dtype=np.float64) ** 2).sum()), slices)))


def factors(factor: float, dtype: np.dtype) -> list[float]:
    """Numbers whose product is `factor`; two, if `factor` itself is too small for the dtype."""
    return [factor] if factor >= np.finfo(dtype).tiny else [math.sqrt(factor)] * 2
