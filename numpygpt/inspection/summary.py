"""What a model costs, worked out from shapes alone: nothing runs, and no memory is taken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import reduce

from numpygpt.inspection.costs import Call, cost, learned
from numpygpt.inspection.tables import indented, scaled, shape, table
from numpygpt.inspection.watcher import depth, total
from numpygpt.models import GPT
from numpygpt.nn.modules.module import Module


@dataclass(frozen=True)
class Row:
    """One module in one training step, itself alone, in the words of a trace's `Record`. None is unknown."""

    name: str  # dotted; "" is the whole model
    kind: str  # class
    depth: int
    input_shape: tuple[int, ...] | None
    output_shape: tuple[int, ...] | None
    n_params: int
    forward_operations: int | None
    backward_operations: int | None
    cached: int | None  # bytes kept from forward to backward


@dataclass(frozen=True)
class Summary:
    """The modules of a model in the order in which `model.loss` runs them, and their sums.

    A sum leaves out what is unknown; `unknown` has the classes.
    """

    rows: list[Row]
    n_params: int
    parameter_bytes: int
    gradient_bytes: int

    @property
    def forward_operations(self) -> int:
        return sum(row.forward_operations or 0 for row in self.rows)

    @property
    def backward_operations(self) -> int:
        return sum(row.backward_operations or 0 for row in self.rows)

    @property
    def cached(self) -> int:
        """Bytes kept from forward to backward."""
        return sum(row.cached or 0 for row in self.rows)

    @property
    def unknown(self) -> list[str]:
        return sorted({row.kind for row in self.rows if row.input_shape and row.forward_operations is None})

    def __getitem__(self, name: str) -> Row:
        """The row of a module by its dotted name; KeyError where it is not called."""
        return {row.name: row for row in self.rows}[name]

    def __str__(self) -> str:
        root = self.rows[0]
        rows = [["module", "class", "output", "parameters", "forward", "backward", "kept"]]
        rows += [line(row, root.kind) for row in folded(self.rows)]
        rows.append(["-" * max(map(len, column)) for column in zip(*rows, strict=True)])
        rows.append(["total", "", "", f"{self.n_params:,}", scaled(self.forward_operations),
                     scaled(self.backward_operations), scaled(self.cached, "B")])
        held = self.parameter_bytes + self.gradient_bytes + self.cached
        text = [
            f"{root.kind} in training, for an input of {shape(root.input_shape)}", "", table(rows, left=3), "",
            f"memory: parameters {scaled(self.parameter_bytes, 'B')} + gradients {scaled(self.gradient_bytes, 'B')} + "
            f"kept for backward {scaled(self.cached, 'B')} = {scaled(held, 'B')}",
            "forward, backward: floating-point operations, a multiplication with its addition being 2",
        ]
        if any(row.kind == "LinearCrossEntropy" for row in self.rows):
            text.append("LinearCrossEntropy, the head and the loss in one, makes its gradients in its forward pass")
        if self.unknown:
            text.append(f"the sums are without {', '.join(self.unknown)} and what is inside: enter their costs with "
                        "costs_of")
        return "\n".join(text)


def summary(model: Module, batch_size: int = 1, context: int | None = None, *,
            input_shape: tuple[int, ...] | None = None) -> Summary:
    """What a training step of a GPT costs with a batch of `batch_size` x `context` tokens (max_len where none is said).

    Any other module is worked out for an input of `input_shape`. Raises ValueError for sizes that do not fit.

        print(summary(GPT(vocab_size=65, max_len=128, d_model=256, n_heads=4, n_layers=4), 16))
        print(summary(LayerNorm(256), input_shape=(16, 128, 256)))
    """
    if input_shape is None:
        input_shape = batch_shape(model, batch_size, context)
    if min(input_shape, default=0) < 1:
        raise ValueError(f"every size of the input must be at least 1, got {input_shape}")
    params = [param for _, param in model.named_parameters()]
    size = params[0].itemsize if params else 4
    found = list(walk("", model, Call(tuple(input_shape), size)))
    rows = [row(name, module, call, n) for (name, module, call), n in
            zip(found, learned(module for _, module, _ in found), strict=True)]
    held = sum(param.nbytes for param in params)
    return Summary(rows, model.n_params(), held, held)


def batch_shape(model: Module, batch_size: int, context: int | None) -> tuple[int, int]:
    """(B, T) of a batch of the model. ValueError where it is no GPT, or its context is shorter."""
    if not isinstance(model, GPT):
        raise ValueError(f"{type(model).__name__} is no GPT: give the shape of its input, input_shape=(16, 128, 256)")
    context = model.max_len if context is None else context
    if context > model.max_len:
        raise ValueError(f"the model sees {model.max_len:,} tokens at once, got a context of {context:,}")
    return batch_size, context


def walk(name: str, module: Module, call: Call | None) -> Iterator[tuple[str, Module, Call | None]]:
    """(dotted name, module, how it is called) of the module and all that is called inside; what a class that is not
    known calls, and how, is not known either."""
    yield name, module, call
    found = cost(module, call) if call else None
    if call and found:
        for inside in found.inside:
            there = replace(call, shape=inside.shape, input_counted=inside.input_counted)
            yield from walk(f"{name}.{inside.name}".strip("."), inside.module, there)
    else:
        for child_name, child in module.children():
            yield from walk(f"{name}.{child_name}".strip("."), child, None)


def row(name: str, module: Module, call: Call | None, n_params: int) -> Row:
    found = cost(module, call) if call else None
    costs = (found.forward, found.backward, found.cached) if found else (None, None, None)
    return Row(name, type(module).__name__, depth(name), call.shape if call else None,
               found.output if found else None, n_params, *costs)


def folded(rows: list[Row]) -> list[Row]:
    """The rows for a reader: of neighbours that are alike (a GPT's blocks) the first in full, the others as one."""
    groups: list[list[Row]] = []  # a module directly inside the model, with all inside it
    for r in rows:
        if r.depth > 1 and groups:
            groups[-1].append(r)
        else:
            groups.append([r])
    shown: list[Row] = []
    first: list[Row] = []
    alike: list[list[Row]] = []
    for group in [*groups, []]:
        if group and first and bare(group) == bare(first):
            alike.append(group)
            continue
        if alike:
            shown.append(as_one(first[0], alike))
        shown, first, alike = shown + group, group, []
    return shown


def bare(group: list[Row]) -> list[Row]:
    """The rows with names as seen from the first."""
    return [replace(r, name=r.name.removeprefix(group[0].name)) for r in group]


def as_one(first: Row, groups: list[list[Row]]) -> Row:
    """One row for groups of rows that are like the group of `first`."""
    name, last = groups[0][0].name, groups[-1][0].name
    if len(groups) > 1:
        name += f" to {last.rpartition('.')[2]}"
    rows = [r for group in groups for r in group]
    return replace(first, name=name, kind=f"each as {first.name}" if len(groups) > 1 else f"as {first.name}",
                   n_params=sum(r.n_params for r in rows),
                   forward_operations=whole(r.forward_operations for r in rows),
                   backward_operations=whole(r.backward_operations for r in rows),
                   cached=whole(r.cached for r in rows))


def whole(numbers: Iterable[int | None]) -> int | None:
    """The sum; unknown where one is."""
    return reduce(total, numbers)


def line(r: Row, root: str) -> list[str]:
    return [indented(r.name, r.depth, root), r.kind if r.name else "", shape(r.output_shape), f"{r.n_params:,}",
            scaled(r.forward_operations), scaled(r.backward_operations), scaled(r.cached, "B")]
