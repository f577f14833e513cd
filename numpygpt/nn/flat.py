"""All parameters of a model in one contiguous array, and all gradients in another."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpygpt.nn.modules.module import Module


@dataclass
class Flat:
    """A model's parameters and gradients, each as one 1-D array; every layer's `W`, `dW` are views into them.

    An update, a norm, a reduction over workers or a copy is then one call instead of one call a layer. Matrices come
    first and vectors (biases, gains) last, so that weight decay on the matrices alone is `params[:n_matrix]`.
    """

    params: np.ndarray  # (size,)
    grads: np.ndarray  # (size,)
    layout: dict[str, tuple[slice, tuple[int, ...]]]  # dotted name -> place and shape
    n_matrix: int  # entries that belong to parameters of rank two and more

    def views(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """`flat`, any array of this size, cut into named pieces in the shapes of the parameters. No copy."""
        return {name: flat[place].reshape(shape) for name, (place, shape) in self.layout.items()}


def flatten(module: Module) -> Flat:
    """Move the module's parameters and gradients into two contiguous arrays, values kept, and return these."""
    named = list(module.named_parameters())
    if not named:
        raise ValueError(f"{type(module).__name__} has no parameters to optimise")
    named.sort(key=lambda item: item[1].ndim < 2)  # a stable sort: matrices first, in the order of the model
    old_grads = module.grads()
    layout, start = {}, 0
    for name, param in named:
        layout[name] = (slice(start, start + param.size), param.shape)
        start += param.size
    dtype = named[0][1].dtype
    flat = Flat(np.empty(start, dtype), np.empty(start, dtype), layout,
                n_matrix=sum(math.prod(param.shape) for _, param in named if param.ndim >= 2))
    params, grads = flat.views(flat.params), flat.views(flat.grads)
    for name, param in named:
        params[name][...] = param
        grads[name][...] = old_grads[name]
    module.rehome(params, grads)
    return flat
