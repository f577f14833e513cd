"""Running a model without leaving a trace in it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from numpygpt.nn.flat import Flat
from numpygpt.nn.modules.copies import without_caches
from numpygpt.nn.modules.module import Module
from numpygpt.utils.signals import signals_wait

AnyModule = TypeVar("AnyModule", bound=Module)

COPIED = (Module, np.random.Generator, np.ndarray, list, tuple, dict)  # a twin has its own ones of these types


@contextmanager
def evaluation(module: AnyModule) -> Iterator[AnyModule]:
    """The module in evaluation mode; afterwards every module inside is in the mode that it was in."""
    modes = [(inside, inside.training) for _, inside in module.named_modules()]
    try:
        yield module.eval()
    finally:
        with signals_wait():
            for inside, mode in modes:
                inside.training = mode


def is_patched(module: Module) -> bool:
    """Whether a function has replaced a method of one of the modules: `layer.forward = function`.

    Such a function usually calls the method that it replaces. In a `twin` it would still call the original's.
    """
    return any(callable(value) and not isinstance(value, Module) and hasattr(type(inside), name)
               and not (hasattr(value, "__func__") and isinstance(value.__self__, Module))
               for _, inside in module.named_modules() for name, value in list(vars(inside).items()))


def twin(module: AnyModule, grads: bool = False) -> AnyModule:
    """The same modules with the same parameters, gradients and constants: what trains the module trains the twin too.

    A twin begins without caches, with the same modes, and with copies of the random generators and of all other arrays
    (a buffer that a layer writes into), so what runs in it leaves `module` as it is. With `grads` it also has gradients
    of its own, zeros at first; without, it is for forward passes alone. Making one takes microseconds per module. Not
    for a module that `is_patched`.
    """
    modules = [inside for _, inside in module.named_modules()]
    shared = [getattr(inside, name) for inside in modules for name in (*inside._owned, *inside._constants)]
    copies: dict[int, Any] = {id(array): array for array in shared}  # identity -> copy: what is shared stays shared
    found = _copied(module, copies)
    for value in list(copies.values()):
        for name, method in list(vars(value).items()) if isinstance(value, Module) else ():
            if callable(method) and hasattr(method, "__func__"):  # a method that is an attribute of the instance
                if (owner := copies.get(id(method.__self__))) is not None:
                    vars(value)[name] = method.__func__.__get__(owner)
    if grads:
        flat = module.flat()
        found._flat = Flat(flat.params, np.zeros(flat.grads.shape, flat.grads.dtype), flat.layout, flat.n_matrix)
        own = flat.views(found._flat.grads)
        for prefix, inside in found.named_modules():
            for name in inside._params:
                vars(inside)["d" + name] = own[f"{prefix}.{name}" if prefix else name]
    return found


def _copied(value: Any, copies: dict[int, Any]) -> Any:
    """The copy of a module, array, generator or container; any other value itself. Another thread may use them now."""
    if isinstance(value, Module):
        if id(value) not in copies:
            other = copies[id(value)] = object.__new__(type(value))
            state = without_caches(value)
            vars(other).update(state)
            for name, item in state.items():
                if isinstance(item, COPIED):  # most attributes are not, and a text begins with this loop
                    vars(other)[name] = _copied(item, copies)
        return copies[id(value)]
    if isinstance(value, np.random.Generator):
        if id(value) not in copies:
            bits = type(value.bit_generator)(0)  # the seed does not matter
            bits.state = value.bit_generator.state
            copies[id(value)] = np.random.Generator(bits)
        return copies[id(value)]
    if isinstance(value, np.ndarray):
        if id(value) not in copies:
            copies[id(value)] = value.copy()
        return copies[id(value)]
    if isinstance(value, list):
        items = copy.copy(value)
        items[:] = [_copied(item, copies) for item in items]
        return items
    if isinstance(value, dict):
        named = copy.copy(value)
        named.update([(key, _copied(item, copies)) for key, item in named.items()])
        return named
    if isinstance(value, tuple):
        parts = [_copied(item, copies) for item in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value
