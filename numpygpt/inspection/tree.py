"""The tree of modules by dotted names: depths, parents, parameters, and neighbours that are alike."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from numpygpt.nn.cost import Call, cost_of
from numpygpt.nn.modules.module import Module


def depth(name: str) -> int:
    """How many modules are around the one of this name. Indices into lists are not modules."""
    return name.count(".") + 1 - sum(part.isdigit() for part in name.split(".")) if name else 0


def parents(name: str) -> list[str]:
    """The names of all that may be around a module, outermost first: of a.0.b these are "", a and a.0."""
    parts = name.split(".")
    return ["", *(".".join(parts[:i]) for i in range(1, len(parts)))] if name else []


def parameter_counts(modules: Mapping[str, Module]) -> dict[str, int]:
    """How many parameters belong to each of these modules (by dotted name).

    Each parameter counts once. That of a module which is not listed, such as a table that a head only reads, counts at
    the innermost listed module that holds it.
    """
    listed = {id(module) for module in modules.values()}
    seen: set[int] = set()

    def count(module: Module) -> int:
        seen.add(id(module))
        own = sum(getattr(module, name).size for name in module._params)
        return own + sum(count(child) for _, child in module.children() if not {id(child)} & (listed | seen))

    counts = {name: 0 if id(modules[name]) in seen else count(modules[name])
              for name in sorted(modules, key=depth, reverse=True)}
    return {name: counts[name] for name in modules}


def alike(rows: Iterable[Any], key: Callable[[Any], Any]) -> list[list[list[Any]]]:
    """Runs of neighbours that are alike, such as the blocks of a GPT.

    A neighbour is a module directly inside the model: its row, then those of all inside it. Two are alike if their rows
    have the same names below the first one and the same keys.
    """
    groups: list[list[Any]] = []
    for row in rows:
        if row.depth > 1 and groups:
            groups[-1].append(row)
        else:
            groups.append([row])
    runs = itertools.groupby(groups, lambda g: [(row.name.removeprefix(g[0].name), key(row)) for row in g])
    return [list(run) for _, run in runs]


def is_idle(module: Module, input_shape: tuple[int, ...], training: bool = True) -> bool:
    """Whether the module returns its input unchanged, as dropout does with p = 0, or outside training."""
    cost = cost_of(module, Call(input_shape, training=training))
    return cost is not None and not (cost.forward or cost.cached or cost.children or cost.output != input_shape)


def total(numbers: Iterable[int | None]) -> int | None:
    """The sum; None (unknown) if one of them is."""
    found = list(numbers)
    return None if None in found else sum(number for number in found if number is not None)
