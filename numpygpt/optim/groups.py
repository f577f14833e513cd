"""Which parameters an optimiser updates: a module, several modules, or groups with their own hyper-parameters."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpygpt.nn.modules.loading import found
from numpygpt.nn.modules.module import Module
from numpygpt.utils.checks import number

Params = Module | Sequence[Any]  # see `grouped`


@dataclass
class Group:
    """Parameters, by dotted name, and their own hyper-parameters; None means the optimiser's."""

    names: list[str]
    lr: float | None = None
    weight_decay: float | None = None

    def __post_init__(self) -> None:
        for key in ("lr", "weight_decay"):
            if (value := getattr(self, key)) is not None:
                value = number(f"a group's {key}", value)
                check(f"a group's {key}", value, 0 <= value < math.inf, "at least 0 and finite")


class Modules(Module):
    """Several modules as one, so that their parameters have names (`0.W`) and contiguous arrays together."""

    def __init__(self, modules: Sequence[Module]):
        vars(self).update({str(i): module for i, module in enumerate(modules)})


def as_module(params: Any, user: str) -> Module:
    """The module, or several modules as one; ValueError for anything else, such as `model.params()`."""
    parts = list(dict(selected(params, user)))
    if len(parts) == 1:
        return parts[0]
    within = {inside for part in parts for _, inside in part.named_modules() if inside is not part}
    roots = [part for part in parts if part not in within] or parts
    return roots[0] if len(roots) == 1 else Modules(roots)


def grouped(params: Params, user: str, keys: tuple[str, ...]) -> tuple[Module, list[Group]]:
    """(the modules as one, the groups of their parameters), without frozen parameters.

    `params` is a module, a list of modules, or a list of groups `{"params": ..., "lr": ...}`. A group's "params" is a
    module or a list of modules. A tuple `(module, "wte.W", "blocks.0")` in place of a module names parameters in it.
    Raises ValueError for other keys than "params" and `keys`, for a parameter in two groups, and if none is left.
    """
    groups = params if isinstance(params, list) and any(isinstance(g, dict) for g in params) else [{"params": params}]
    for group in groups:
        if not isinstance(group, dict) or "params" not in group or not set(group) <= {"params", *keys}:
            raise ValueError(f"a group of {user} is a dict with the key params, and if wanted {', '.join(keys)}, got "
                             f"{sorted(map(str, group)) if isinstance(group, dict) else type(group).__name__}")
    chosen = [selected(group["params"], user) for group in groups]
    model = as_module([module for pairs in chosen for module, _ in pairs], user)
    learned = {(id(owner), own): name for name, owner, own in model._learned()}
    names = []
    for pairs in chosen:
        wanted = {(id(owner), own) for module, path in pairs for owner, own in found(module, path)}
        names.append([name for key, name in learned.items() if key in wanted])
    counts = Counter(name for group in names for name in group)
    if several := [name for name, count in counts.items() if count > 1]:
        raise ValueError(f"a parameter belongs to one group, and {', '.join(several)} to several")
    if not counts:
        raise ValueError(f"{user} has no parameters to optimise: there are none, or all are frozen, and "
                         "requires_grad_(True) lets them learn")
    return model, [Group(mine, **{key: group[key] for key in keys if key in group})
                   for mine, group in zip(names, groups, strict=True)]


def selected(value: Any, user: str) -> list[tuple[Module, tuple[str, ...]]]:
    """[(module, names inside it, or none for all)] of a module, of a (module, name, ...), or of a list of these."""
    if isinstance(value, Module):
        return [(value, ())]
    if isinstance(value, tuple) and value and all(isinstance(item, str) for item in value[1:]) and len(value) > 1:
        return [(module, value[1:]) for module, _ in selected(value[0], user)]
    if isinstance(value, (list, tuple)) and value and not isinstance(value[0], str):
        return [pair for item in value for pair in selected(item, user)]
    raise ValueError(f"{user} needs a Module, or a list of modules, not their parameters, got {type(value).__name__}: "
                     f"write {user}(model, ...), or (model, 'wte.W') for one of its parameters")


def check(name: str, value: float, right: bool, rule: str) -> float:
    """`value`, or ValueError with the rule that it breaks."""
    if not right:
        raise ValueError(f"{name} must be {rule}, got {value}")
    return value
