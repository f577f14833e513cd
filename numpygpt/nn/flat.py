"""The parameters of a model in one contiguous array, and their gradients in another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from numpygpt.nn.backend import address, entries
from numpygpt.nn.functional import CACHE_ENTRIES

if TYPE_CHECKING:
    from numpygpt.nn.modules.module import Module


class Storage:
    """A 1-D array of parameters, and one of gradients with the same places, which is made when first needed.

    The system gives memory to an array of zeros only where it is written. So the entries of a frozen parameter, whose
    gradient nobody writes, cost none.
    """

    def __init__(self, params: np.ndarray):
        self.params = params  # (size,)

    @cached_property
    def grads(self) -> np.ndarray:  # (size,)
        return np.zeros(self.params.shape, self.params.dtype, like=self.params)

    def has_grads(self) -> bool:
        return "grads" in vars(self)


@dataclass
class Flat:
    """What a module learns, as contiguous arrays: every `W` and `dW` of a layer is a view into `params` and `grads`.

    An update, a norm, a sum over workers or a copy is then one call instead of one call per layer. Matrices come first
    and vectors (biases, gains) last, so that weight decay on the matrices alone is `params[:n_matrix]`.

    The arrays may hold more than the module learns: they belong to the whole model if the module is a part of it, and
    they keep the places of frozen parameters. `layout` and `runs` say which entries the module learns.
    """

    storage: Storage
    layout: dict[str, tuple[slice, tuple[int, ...]]]  # dotted name -> place and shape, in the order of the places
    n_matrix: int  # where the matrices of the layout end

    @property
    def params(self) -> np.ndarray:
        return self.storage.params

    @property
    def grads(self) -> np.ndarray:
        return self.storage.grads

    def runs(self, names: Iterable[str] | None = None) -> list[slice]:
        """The places of these parameters, all by default, with neighbours joined: one run for a whole model."""
        runs: list[slice] = []
        for place in sorted((self.layout[name][0] for name in names or self.layout), key=lambda place: place.start):
            if runs and place.start <= runs[-1].stop:
                place = slice(runs.pop().start, place.stop)
            runs.append(place)
        return runs

    def slices(self) -> list[slice]:
        """The runs in slices that fit the cache."""
        size = entries(self.params, CACHE_ENTRIES)
        return [s for run in self.runs() for s in cut(run.start, run.stop, size)]

    def holds(self, module: Module) -> bool:
        """Whether the module still learns what the layout says, in these arrays."""
        learned = list(module._learned())
        return len(learned) == len(self.layout) and all(
            name in self.layout and getattr(owner, own).base is self.params for name, owner, own in learned)

    def views(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """`flat`, any array of this size, cut into named pieces in the shapes of the parameters. No copy."""
        return {name: flat[place].reshape(shape) for name, (place, shape) in self.layout.items()}


def cut(start: int, stop: int, entries: int) -> Iterator[slice]:
    """Slices of `entries` entries from `start` to `stop`, the last one shorter; nothing if `stop` is not above."""
    return (slice(i, min(i + entries, stop)) for i in range(start, stop, entries))


def place_of(view: np.ndarray) -> slice:
    """The entries of its base, a 1-D array, that a contiguous view covers."""
    start = (address(view) - address(view.base)) // view.itemsize
    return slice(start, start + view.size)


def gradient(owner: Module, name: str, make: bool = True) -> np.ndarray | None:
    """The gradient of a parameter, made of zeros if need be; with `make=False`, None if there is none yet.

    A frozen parameter has none: `backward` gets zeros that nobody else sees, and what it adds to them is lost.
    """
    param, grad, storage = vars(owner)[name], vars(owner).get("d" + name), owner._storage
    if name in owner._frozen:
        return np.zeros(param.shape, param.dtype, like=param) if make else None
    if grad is None and storage is not None and param.base is storage.params:
        grad = storage.grads[place_of(param)].reshape(param.shape) if make or storage.has_grads() else None
    elif grad is None and make:
        grad = np.zeros(param.shape, param.dtype, like=param)
    if grad is not None:
        vars(owner)["d" + name] = grad
    return grad


def arranged(module: Module) -> Flat:
    """The `Flat` of a module. Arrays that lie in one storage already stay there; else they are moved to a new one."""
    learned = list(module._learned())
    if not learned and not module.n_params():
        raise ValueError(f"{type(module).__name__} has no parameters to optimise")
    storage = learned[0][1]._storage if learned else Storage(np.empty(0, np.float32))  # everything is frozen
    if storage is None or any(owner._storage is not storage or getattr(owner, own).base is not storage.params
                              for _, owner, own in learned):
        storage = moved(module, learned)
    layout = {name: (place_of(getattr(owner, own)), getattr(owner, own).shape) for name, owner, own in learned}
    layout = dict(sorted(layout.items(), key=lambda item: item[1][0].start))
    return Flat(storage, layout, max((place.stop for place, shape in layout.values() if len(shape) >= 2), default=0))


def moved(module: Module, learned: list[tuple[str, Module, str]]) -> Storage:
    """Move what a module learns, and frozen parameters that lie in no storage, to a new one. Gradients move along.

    They move one by one and each old array is freed before the next one moves, so a model is never held twice.
    """
    dtypes = {name: getattr(owner, own).dtype for name, owner, own in learned}
    first, dtype = next(iter(dtypes.items()))
    if other := next((name for name in dtypes if dtypes[name] != dtype), None):
        raise ValueError(f"{first} is {dtype} and {other} is {dtypes[other]}, and the parameters of a model need one "
                         f"dtype: call astype, for example model.astype('{dtype}')")
    for _, owner, own in learned:
        gradient(owner, own, make=False)  # gradients in the old storages become attributes, while they can be found
    parts = [(owner, own) for _, owner, own in module._owners() if own not in owner._frozen or (
        owner._storage is None and getattr(owner, own).dtype == dtype)]
    parts.sort(key=lambda part: getattr(*part).ndim < 2)  # a stable sort: matrices first, in the order of the model
    size = sum(getattr(*part).size for part in parts)
    storage = Storage(np.empty(size, dtype, like=getattr(*parts[0])))
    start = 0
    for owner, own in parts:
        place = slice(start, start + getattr(owner, own).size)
        move(owner, own, storage, place)
        start = place.stop
    for owner, _ in parts:
        owner._storage = storage
    return storage


def move(owner: Module, name: str, storage: Storage, place: slice) -> None:
    """Let a parameter, and its gradient if it has one, be views of a storage."""
    for key, flat in ((name, "params"), ("d" + name, "grads")):
        if (old := vars(owner).get(key)) is not None:
            view = getattr(storage, flat)[place].reshape(old.shape)
            if any(old.strides) or old.size == 1:  # the arrays of a skeleton have no values to move
                view[...] = old
            owner._replace(key, view)
