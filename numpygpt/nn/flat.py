"""All parameters of a model in one contiguous array, and all gradients in another."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from numpygpt.nn.functional import CACHE_ENTRIES

if TYPE_CHECKING:
    from numpygpt.nn.modules.module import Module


@dataclass
class Flat:
    """A model's parameters and gradients, each as one 1-D array; every layer's `W`, `dW` are views into them.

    An update, a norm, a reduction over workers or a copy is then one call instead of one call a layer. Matrices come
    first and vectors (biases, gains) last, so that weight decay on the matrices alone is `params[:n_matrix]`.

    The `Flat` of a part of a contiguous model has the arrays of the whole model, and `layout` and `runs` say which
    entries are the part's: a part can then be clipped, updated or given to workers without moving any array.
    """

    params: np.ndarray  # (size,)
    grads: np.ndarray  # (size,)
    layout: dict[str, tuple[slice, tuple[int, ...]]]  # dotted name -> place and shape
    n_matrix: int  # where the parameters of rank two and more end

    def runs(self) -> list[slice]:
        """The stretches of the arrays that the layout fills, as long as possible: one for a whole model."""
        runs: list[slice] = []
        for place in sorted((place for place, _ in self.layout.values()), key=lambda place: place.start):
            if runs and place.start <= runs[-1].stop:
                place = slice(runs.pop().start, place.stop)
            runs.append(place)
        return runs

    def pieces(self) -> list[slice]:
        """The runs in slices that fit the cache."""
        return [piece for run in self.runs() for piece in cut(run.start, run.stop, CACHE_ENTRIES)]

    def holds(self, named: Iterable[tuple[str, np.ndarray]]) -> bool:
        """Whether these are the parameters of the layout, and lie in this array."""
        found = list(named)
        return len(found) == len(self.layout) and all(np.may_share_memory(param, self.params) for _, param in found)

    def views(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """`flat`, any array of this size, cut into named pieces in the shapes of the parameters. No copy."""
        return {name: flat[place].reshape(shape) for name, (place, shape) in self.layout.items()}


def cut(start: int, stop: int, entries: int) -> Iterator[slice]:
    """Slices of `entries` entries from `start` to `stop`, the last one shorter; nothing if `stop` is not above."""
    return (slice(i, min(i + entries, stop)) for i in range(start, stop, entries))


def in_place(module: Module) -> Flat | None:
    """The `Flat` of a module whose arrays are already contiguous, mostly as a part of a larger module; else None."""
    params, grads = dict(module.named_parameters()), dict(module.named_gradients())
    whole, whole_grads = (next((array.base for array in arrays.values()), None) for arrays in (params, grads))
    if not isinstance(whole, np.ndarray) or not isinstance(whole_grads, np.ndarray):  # an unpickled array's is bytes
        return None
    if whole.ndim != 1 or whole.shape != whole_grads.shape:
        return None
    layout = {}
    for name, param in params.items():
        if param.base is not whole or grads[name].base is not whole_grads or start_of(grads[name]) != start_of(param):
            return None
        layout[name] = (slice(start_of(param), start_of(param) + param.size), param.shape)
    layout = dict(sorted(layout.items(), key=lambda item: item[1][0].start))
    n_matrix = max((place.stop for place, shape in layout.values() if len(shape) >= 2), default=0)
    if any(place.start < n_matrix for place, shape in layout.values() if len(shape) < 2):
        return None
    return Flat(whole, whole_grads, layout, n_matrix)


def start_of(view: np.ndarray) -> int:
    """The index in its base, a 1-D array, of the first entry of a view."""
    return (view.ctypes.data - view.base.ctypes.data) // view.itemsize  # type: ignore[union-attr]


def flatten(module: Module) -> Flat:
    """Move the module's parameters and gradients into two contiguous arrays, values kept, and return these."""
    named = list(module.named_parameters())
    if not named:
        raise ValueError(f"{type(module).__name__} has no parameters to optimise")
    named.sort(key=lambda item: item[1].ndim < 2)  # a stable sort: matrices first, in the order of the model
    old_grads = dict(module.named_gradients())
    layout, start = {}, 0
    for name, param in named:
        layout[name] = (slice(start, start + param.size), param.shape)
        start += param.size
    dtype = named[0][1].dtype
    if other := next((name for name, param in named if param.dtype != dtype), None):
        raise ValueError(f"{named[0][0]} is {dtype} and {other} is {dict(named)[other].dtype}, and the parameters of a "
                         f"model need one dtype: call astype, for example model.astype('{dtype}')")
    flat = Flat(np.empty(start, dtype), np.empty(start, dtype), layout,
                n_matrix=sum(math.prod(param.shape) for _, param in named if param.ndim >= 2))
    params, grads = flat.views(flat.params), flat.views(flat.grads)
    for name, param in named:
        params[name][...] = param
        grads[name][...] = old_grads[name]
    module.rehome(params, grads)
    return flat
