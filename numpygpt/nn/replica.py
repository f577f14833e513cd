"""Running a model without leaving a trace in it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from numpygpt.nn.backend import is_array
from numpygpt.nn.flat import Storage
from numpygpt.nn.modules.copies import without_caches
from numpygpt.nn.modules.module import Module
from numpygpt.utils.signals import signals_wait

AnyModule = TypeVar("AnyModule", bound=Module)

COPIED = (Module, Storage, np.random.Generator, list, tuple, dict)  # a replica has its own ones of these


@contextmanager
def evaluation(module: AnyModule) -> Iterator[AnyModule]:
    """The module in evaluation mode. Afterwards every module inside is in its previous mode."""
    modes = [(inside, inside.training) for _, inside in module.named_modules()]
    try:
        yield module.eval()
    finally:
        with signals_wait():
            for inside, mode in modes:
                inside.training = mode


def is_patched(module: Module) -> bool:
    """Whether a function has replaced a method of one of the modules: `layer.forward = function`.

    Such a function usually calls the method that it replaces. In a replica it would still call the original's.
    """
    return any(callable(value) and not isinstance(value, Module) and hasattr(type(inside), name)
               and not (hasattr(value, "__func__") and isinstance(value.__self__, Module))
               for _, inside in module.named_modules() for name, value in list(vars(inside).items()))


def replica(module: AnyModule, spawn: bool = False) -> AnyModule:
    """The same modules with the same parameters and constants: what trains the module trains the replica too.

    A replica starts without caches and gradients, in the same modes. It has its own copy of every other array (a buffer
    that a layer writes into), so running it leaves `module` as it is. Its gradients are made when it goes back. Its
    random generators draw the same numbers as the module's, or with `spawn` others: a worker trains beside the module,
    and its layers also get copies of their objects of any other type. Making a replica takes microseconds per module.
    Not for a module that `is_patched`.
    """
    modules = [inside for _, inside in module.named_modules()]
    if any(inside._params and inside._storage is None for inside in modules):
        module._settle()  # else the replica would move the parameters when it needs them contiguous
    copies: dict[int, Any] = {id(inside): object.__new__(type(inside)) for inside in modules}  # identity -> copy
    shared = (vars(inside)[name] for inside in modules for name in (*inside._params, *inside._constants))
    copies |= {id(array): array for array in shared}
    methods = []  # in instances
    for inside in modules:
        other, state = copies[id(inside)], without_caches(inside)
        for name in ("_flat", *(f"d{name}" for name in inside._params)):
            state.pop(name, None)
        for name, item in state.items():
            if callable(item) and hasattr(item, "__func__"):
                methods.append((other, name, item))
            else:  # most attributes are of other types, and a text begins with this loop
                needs = spawn or isinstance(item, COPIED) or is_array(item)
                vars(other)[name] = _copied(item, copies, spawn) if needs else item
    for other, name, method in methods:
        owner = copies.get(id(method.__self__))
        bound = copy.deepcopy(method, copies) if spawn else method.__func__.__get__(owner) if owner else method
        vars(other)[name] = bound
    return copies[id(module)]


def _copied(value: Any, copies: dict[int, Any], spawn: bool) -> Any:
    """The replica's own array, generator or container; any other value itself. Another thread may use them now."""
    if id(value) in copies:
        return copies[id(value)]
    if is_array(value):
        copies[id(value)] = value.copy()
    elif isinstance(value, Storage):
        copies[id(value)] = Storage(value.params)
    elif isinstance(value, np.random.Generator):
        copies[id(value)] = value.spawn(1)[0] if spawn else _same_draws(value)
    elif isinstance(value, list):
        items = copy.copy(value)
        items[:] = [_copied(item, copies, spawn) for item in items]
        return items
    elif isinstance(value, dict):
        named = copy.copy(value)
        named.update([(key, _copied(item, copies, spawn)) for key, item in named.items()])
        return named
    elif isinstance(value, tuple):
        parts = [_copied(item, copies, spawn) for item in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    else:
        return copy.deepcopy(value, copies) if spawn else value
    return copies[id(value)]


def _same_draws(rng: np.random.Generator) -> np.random.Generator:
    """A generator in the same state."""
    bits = type(rng.bit_generator)(0)  # the seed does not matter
    bits.state = rng.bit_generator.state
    return np.random.Generator(bits)
