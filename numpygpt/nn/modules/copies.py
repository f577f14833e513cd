"""What a copy of a module takes along: everything but its caches.

A cache is an attribute that is None or missing until `forward` sets it. A layer names nothing for this:
`Module.__setattr__` asks `in_forward` when an attribute gets its first value.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from numpygpt.nn.flat import gradient

if TYPE_CHECKING:
    from numpygpt.nn.modules.module import Module


def in_forward(module: Module) -> bool:
    """Whether the module's `forward` is running in this thread. The call stack also shows a direct `layer.forward(X)`,
    which a flag set by `Module.__call__` would miss."""
    frame = inspect.currentframe()
    while frame is not None:
        names = frame.f_code.co_varnames[: frame.f_code.co_argcount]
        if frame.f_code.co_name == "forward" and names and frame.f_locals.get(names[0]) is module:
            return True
        frame = frame.f_back
    return False


def without_caches(module: Module) -> dict[str, Any]:
    """The module's attributes without its caches: these are left out, or None again if they were None before."""
    state, caches = vars(module).copy(), module._caches  # in this order: another thread's forward may add a cache
    return {name: value for name, value in state.items() if name not in caches} | {
        name: None for name, was_none in caches.items() if was_none}


def drop_caches(module: Module) -> None:
    """Delete the module's caches."""
    kept = without_caches(module)
    for name in vars(module).keys() - kept.keys():
        del vars(module)[name]
    vars(module).update(kept)


def convert(module: Module, change: Callable[[Any], Any], fits: Callable[[Any], bool]) -> None:
    """Replace the arrays of the module and of all inside it by `change(array)`, and delete the caches; nothing if each
    array `fits` already."""
    modules = [inner for _, inner in module.named_modules()]
    arrays = [(inner, name) for inner in modules for name in (*inner._params, *inner._constants)
              if not fits(getattr(inner, name))]
    contiguous = [inner for inner in modules if inner._flat is not None] if arrays else []
    for inner, name in arrays:
        if name in inner._params and (grad := gradient(inner, name, make=False)) is not None:
            inner._replace("d" + name, change(grad))
        inner._replace(name, change(getattr(inner, name)))
    for inner in modules if arrays else []:
        drop_caches(inner)
    for inner in contiguous:
        inner.flat()
