"""What a model costs, computed from shapes alone: nothing runs, and no memory is taken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from numpygpt.inspection.tables import indented, scaled, shape, table
from numpygpt.inspection.tree import alike, depth, parameter_counts, total
from numpygpt.models import GPT
from numpygpt.nn.cost import Call, cost_of
from numpygpt.nn.modules.module import Module


@dataclass(frozen=True)
class Row:
    """One module in one training step, without the modules inside it, as in a trace's `Record`. None is unknown."""

    name: str  # dotted; "" is the whole model
    kind: str  # class
    depth: int
    input_shape: tuple[int, ...] | None
    output_shape: tuple[int, ...] | None
    n_params: int
    forward_flops: int | None
    backward_flops: int | None
    cached: int | None  # bytes held from forward to backward


@dataclass(frozen=True)
class Summary:
    """The modules of a model in the order in which `model.loss` calls them, and their sums.

    A sum leaves out what is unknown; `unknown` lists the classes.
    """

    rows: list[Row]
    n_params: int
    parameter_bytes: int
    gradient_bytes: int

    @property
    def forward_flops(self) -> int:
        return sum(row.forward_flops or 0 for row in self.rows)

    @property
    def backward_flops(self) -> int:
        return sum(row.backward_flops or 0 for row in self.rows)

    @property
    def cached(self) -> int:
        """Bytes held from forward to backward."""
        return sum(row.cached or 0 for row in self.rows)

    @property
    def unknown(self) -> list[str]:
        return sorted({row.kind for row in self.rows if row.input_shape and row.forward_flops is None})

    def __getitem__(self, name: str) -> Row:
        """The row of a module by its dotted name. Raises KeyError if it is not called."""
        return {row.name: row for row in self.rows}[name]

    def __str__(self) -> str:
        root = self.rows[0]
        rows = [["module", "class", "output", "parameters", "forward", "backward", "activations"]]
        rows += [line(row, root.kind) for row in folded(self.rows)]
        rows.append(["-" * max(map(len, column)) for column in zip(*rows, strict=True)])
        rows.append(["total", "", "", f"{self.n_params:,}", scaled(self.forward_flops), scaled(self.backward_flops),
                     scaled(self.cached, "B")])
        held = self.parameter_bytes + self.gradient_bytes + self.cached
        text = [
            f"{root.kind} in training, for an input of {shape(root.input_shape)}", "", table(rows, left=range(3)), "",
            f"memory: parameters {scaled(self.parameter_bytes, 'B')} + gradients {scaled(self.gradient_bytes, 'B')} + "
            f"activations {scaled(self.cached, 'B')} = {scaled(held, 'B')}",
            "forward, backward: FLOPs, 2 m n k per matrix product; activations: memory cached for backward",
            "what a layer computes for its gradients in its forward pass counts as forward",
        ]
        if self.unknown:
            text.append(f"the sums exclude {', '.join(self.unknown)} and everything inside: the class has no `cost`")
        return "\n".join(text)


def summary(model: Module, batch_size: int = 1, context: int | None = None, *,
            input_shape: tuple[int, ...] | None = None) -> Summary:
    """What a training step of a GPT costs with a batch of `batch_size` x `context` tokens (by default max_len).

    For any other module give `input_shape`. Raises ValueError for sizes that do not fit.

        print(summary(GPT(vocab_size=65, max_len=128, d_model=256, n_heads=4, n_layers=4), 16))
        print(summary(LayerNorm(256), input_shape=(16, 128, 256)))
    """
    if input_shape is None:
        input_shape = batch_shape(model, batch_size, context)
    if min(input_shape, default=0) < 1:
        raise ValueError(f"every size of the input must be at least 1, got {input_shape}")
    params = [param for _, param in model.named_parameters()]
    itemsize = params[0].itemsize if params else 4
    calls = {name: (module, call) for name, module, call in walk_calls("", model, Call(tuple(input_shape), itemsize))}
    counts = parameter_counts({name: module for name, (module, _) in calls.items()})
    rows = [row_of(name, module, call, counts[name]) for name, (module, call) in calls.items()]
    learned = sum(getattr(owner, name).nbytes for _, owner, name in model._learned())  # frozen ones have no gradient
    return Summary(rows, sum(param.size for param in params), sum(param.nbytes for param in params), learned)


def batch_shape(model: Module, batch_size: int, context: int | None) -> tuple[int, int]:
    """(B, T) of a batch of the model. Raises ValueError if it is not a GPT, or if its context is shorter."""
    if not isinstance(model, GPT):
        raise ValueError(f"{type(model).__name__} is not a GPT: give the shape of its input, "
                         "input_shape=(16, 128, 256)")
    context = model.max_len if context is None else context
    if context > model.max_len:
        raise ValueError(f"the model's context is {model.max_len:,} tokens, got {context:,}")
    return batch_size, context


def walk_calls(name: str, module: Module, call: Call | None) -> Iterator[tuple[str, Module, Call | None]]:
    """(dotted name, module, its call) of the module and of everything that it calls. If its class does not describe its
    cost, the calls of the modules inside are unknown too."""
    yield name, module, call
    cost = cost_of(module, call) if call else None
    children = [child[:3] for child in cost.children] if cost else [(*child, None) for child in module.children()]
    for child, inside, inner_call in children:
        yield from walk_calls(f"{name}.{child}".strip("."), inside, inner_call)


def row_of(name: str, module: Module, call: Call | None, n_params: int) -> Row:
    cost = cost_of(module, call) if call else None
    costs = (cost.forward, cost.backward, cost.cached) if cost else (None, None, None)
    return Row(name, type(module).__name__, depth(name), call.shape if call else None, cost.output if cost else None,
               n_params, *costs)


def folded(rows: list[Row]) -> list[Row]:
    """The rows to print: of neighbours that are alike (a GPT's blocks) the first in full, the others as one."""
    shown: list[Row] = []
    for first, *others in alike(rows, lambda row: replace(row, name="")):
        shown += first
        if others:
            shown.append(as_one(first[0], others))
    return shown


def as_one(first: Row, groups: list[list[Row]]) -> Row:
    name, last = groups[0][0].name, groups[-1][0].name
    several = len(groups) > 1
    rows = [row for group in groups for row in group]
    return replace(first, name=f"{name} to {last.rpartition('.')[2]}" if several else name,
                   kind=f"{'each ' * several}as {first.name}", n_params=sum(row.n_params for row in rows),
                   forward_flops=total(row.forward_flops for row in rows),
                   backward_flops=total(row.backward_flops for row in rows), cached=total(row.cached for row in rows))


def line(row: Row, root: str) -> list[str]:
    return [indented(row.name, row.depth, root), row.kind if row.name else "", shape(row.output_shape),
            f"{row.n_params:,}", scaled(row.forward_flops), scaled(row.backward_flops), scaled(row.cached, "B")]
