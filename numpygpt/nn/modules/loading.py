"""Checks and messages for input from outside: a state to load, names of parameters, methods of other libraries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from numpygpt.nn.backend import is_array, to_host

if TYPE_CHECKING:
    from numpygpt.nn.modules.module import Module

ELSEWHERE = {  # what users of PyTorch write -> what to write here
    "parameters": "use params(), a dict of arrays by name. An optimiser takes the model itself: AdamW(model)",
    "modules": "use named_modules()",
    "named_children": "use children()",
    "register_parameter": "use param(name, array) in __init__",
    "register_buffer": "use constant(name, array) in __init__",
    "requires_grad": "use requires_grad_(False) to freeze a module, or requires_grad_(False, name) for a part of it",
    "half": "use astype('float16')",
    "float": "use astype('float32')",
    "double": "use astype('float64')",
    "cpu": "use to('cpu')",
    "cuda": "use to('cuda')",
}


def missing(kind: str, name: str) -> str:
    """The message for an attribute that a module does not have."""
    if name in ELSEWHERE:
        return f"{kind} has no {name}(): {ELSEWHERE[name]}"
    hint = "" if name.startswith("_") else "; if backward() reads it, call the layer first: forward stores it"
    return f"{kind} has no attribute {name!r}{hint}"


def found(module: Module, names: Iterable[str]) -> list[tuple[Module, str]]:
    """(module, attribute) of each parameter with one of these dotted names, or inside a module with one of them; of all
    parameters without names. ValueError for a name that is neither."""
    def inside(module: Module, path: str) -> list[tuple[Module, str]]:
        if path in module._params:
            return [(module, path)]
        owners = []
        for name, child in module.children():
            if f"{name}.".startswith(f"{path}."):  # the module itself, or one in a list of this name
                owners += [(owner, own) for _, owner, own in child._owners()]
            elif path.startswith(f"{name}."):
                owners += inside(child, path[len(name) + 1 :])
        return owners

    found = {name: inside(module, name) for name in names} or {"": [owner[1:] for owner in module._owners()]}
    if unknown := [name for name in found if name and not found[name]]:
        raise ValueError(f"{type(module).__name__} has no parameter, and no module with parameters, of the name "
                         f"{', '.join(map(repr, unknown))}; params() lists the names")
    return [owner for owners in found.values() for owner in owners]


def fitting(kind: str, params: Mapping[str, np.ndarray], state: Any) -> dict[str, np.ndarray]:
    """The arrays of `state` in the dtypes of `params`, or ValueError that lists every key that does not fit."""
    if not isinstance(state, Mapping):
        raise ValueError(f"a state is a dict of arrays by parameter name, as state_dict() returns it; got "
                         f"{type(state).__name__}")
    wrong = [f"missing {name}" for name in params if name not in state]
    wrong += [f"unexpected {name}" for name in state if name not in params]
    arrays: dict[str, np.ndarray] = {}
    for name in (name for name in params if name in state):
        try:
            value = state[name]
            arrays[name] = to_host(value) if is_array(value) else np.asarray(value)
            problem = misfit(arrays[name], params[name])
        except (ValueError, TypeError, RuntimeError) as error:  # rows of different lengths; a tensor with a gradient
            problem = f"is not an array ({error})"
        wrong += [f"{name} {problem}"] if problem else []
    if wrong:
        torch = any(str(name).rsplit(".", 1)[-1] in ("weight", "bias") for name in state)
        raise ValueError(f"the state does not fit this {kind}: " + "; ".join(wrong) + (
            ". It has PyTorch's names: here a layer's weight is W, (in, out) as the transpose of a Linear's, and its "
            "bias is b" if torch else ""))
    return arrays


def misfit(array: np.ndarray, param: np.ndarray) -> str:
    """Why an array cannot become the value of a parameter; empty if it can."""
    if array.shape != param.shape:
        return f"has shape {array.shape}, expected {param.shape}"
    if array.dtype.kind not in "fiu":
        return f"holds {array.dtype}, expected {param.dtype}"
    with np.errstate(all="ignore"):
        if (np.isfinite(array) & ~np.isfinite(array.astype(param.dtype, copy=False))).any():
            return f"holds numbers that are infinite in {param.dtype}"
    return ""
