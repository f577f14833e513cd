"""A model as a tree of parts for a picture: what runs inside what, with shapes, parameters and formulas."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from numpygpt.inspection.probe import eval_twin
from numpygpt.inspection.trace import Record, trace
from numpygpt.inspection.tree import alike, is_idle
from numpygpt.models import GPT
from numpygpt.nn.cost import Call, Formula, cost_of, formula_of
from numpygpt.nn.modules.module import Module


@dataclass(frozen=True)
class Part:
    """A module that ran. One part stands for `repeats` neighbours that are alike."""

    name: str  # dotted
    kind: str  # class
    details: str  # its sizes
    shape: tuple[int, ...]  # of the output
    n_params: int  # with those of the modules inside
    shared: str = ""  # the module whose parameters it uses, if they are another one's
    residual: str = ""  # the name of the earlier part whose input is added to this part's output
    repeats: int = 1
    inside: tuple[Part, ...] = ()


@dataclass(frozen=True)
class Blueprint:
    """`parts` in the order in which they run; `formulas` by class, in the order in which a reader meets them; `counts`:
    parameters by component."""

    input_shape: tuple[int, ...]
    parts: tuple[Part, ...]
    formulas: dict[str, Formula | None]
    counts: dict[str, int]


def blueprint(model: GPT, batch_size: int) -> Blueprint:
    """For batches of `batch_size` full contexts. Modules that return their input unchanged are left out."""
    modules = dict(model.named_modules())
    records = [r for r in full_context(model) if not (r.name and is_idle(modules[r.name], r.input_shape))]
    build = Builder(modules, records, batch_size)
    parts: list[Part] = []
    for run in alike([r for r in records if r.name], lambda r: (r.kind, r.output_shape, r.n_params)):
        parts.append(build.part(run[0], len(run)))
    formulas: dict[str, Formula | None] = {}
    for r in records:
        if r.name:
            formulas.setdefault(r.kind, formula_of(modules[r.name]))
    counts = Counter[str]()
    for name, param in model.named_parameters():
        counts[name.split(".")[0]] += param.size
    return Blueprint((batch_size, model.max_len), tuple(parts), formulas, counts)


def full_context(model: GPT) -> list[Record]:
    """The records of a full context, without the time and memory of running one: the model runs one token, then two,
    and what differs between their shapes is the length."""

    def run(length: int) -> list[Record]:
        with eval_twin(model) as twin, trace(twin) as t:
            ids = np.zeros((1, length), np.int64)
            twin(ids, targets=ids)
        return t.records

    def grown(one: tuple[int, ...], two: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(a if a == b else model.max_len for a, b in zip(one, two, strict=True))

    return [replace(a, input_shape=grown(a.input_shape, b.input_shape), output_shape=grown(a.output_shape,
                                                                                           b.output_shape))
            for a, b in zip(run(1), run(min(2, model.max_len)), strict=True)]


@dataclass(frozen=True)
class Builder:
    modules: dict[str, Module]
    records: list[Record]
    batch_size: int

    def part(self, group: Sequence[Record], repeats: int = 1, residual: str = "") -> Part:
        """The part of the first record, with the others, all of modules inside it."""
        first, *others = group
        module = self.modules[first.name]
        shape = (self.batch_size, *first.output_shape[1:]) if first.output_shape else ()
        return Part(first.name, first.kind, module.extra_repr(), shape, sum(r.n_params for r in group),
                    self.shared(first.name, module), residual, repeats, self.inside(first, others))

    def inside(self, outer: Record, others: Sequence[Record]) -> tuple[Part, ...]:
        cost = cost_of(self.modules[outer.name], Call(outer.input_shape))
        residuals = {child.name: child.residual for child in cost.children} if cost else {}
        groups: list[list[Record]] = []
        for record in others:
            if record.depth == outer.depth + 1:
                groups.append([])
            groups[-1].append(record)
        return tuple(self.part(group, residual=residuals.get(group[0].name.removeprefix(f"{outer.name}."), ""))
                     for group in groups)

    def shared(self, name: str, module: Module) -> str:
        """The name of a traced module elsewhere that is also held by this one, such as the token embedding by the
        head."""
        held = {id(child) for _, child in module.children()}
        return next((r.name for r in self.records if id(self.modules[r.name]) in held
                     and not r.name.startswith(f"{name}.")), "")
