"""The walk forward: from token ids, through embedding and blocks, to the loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from numpygpt.inspection.probe import stream_names
from numpygpt.inspection.stats import stats_of_all
from numpygpt.inspection.step import TracedStep
from numpygpt.inspection.surprise import padded
from numpygpt.inspection.trace import Record
from numpygpt.inspection.tree import alike, is_idle
from numpygpt.inspection.walk.attention import show_heads, show_weights
from numpygpt.inspection.walk.head import Head, show_loss
from numpygpt.inspection.walk.lines import NUMBER, SHAPE, SHOWN, Lines, shape, token_texts
from numpygpt.models import GPT
from numpygpt.nn.cost import Call, cost_of, formula_of
from numpygpt.nn.modules.module import Module

NEAR_0 = 0.01  # an activation this close to 0 passes almost nothing on


def needed(model: GPT) -> Callable[[str], bool]:
    """Which modules' outputs the walk needs: the two ends of the residual stream, and all inside the first block."""
    ends = {stream_names(model)[0], "norm_f"}
    return lambda name: name in ends or name.startswith("blocks.0.")


@dataclass
class Forward:
    """The walk's state: where it is, and which classes it has explained."""

    lines: Lines
    step: TracedStep
    modules: dict[str, Module]
    explained: set[str] = field(default_factory=set)

    def module(self, name: str, full: bool) -> None:
        """A module's output, after those of the modules inside it."""
        module, record = self.modules[name], self.step.records[name]
        rotary: Module | None = getattr(module, "rotary", None)
        if is_idle(module, record.input_shape):
            return
        inside = [child for child, r in self.step.records.items()
                  if child.startswith(f"{name}.") and r.depth == record.depth + 1]
        if inside and full and record.depth == 1:
            formula = formula_of(module)
            text = f"{name}, a {record.kind}"
            self.lines.heading(f"{text}: {'; '.join(formula.forward)}" if formula else text)
            self.explained.add(record.kind)
        residuals = residual_children(module, record)
        stream = self.step.records[stream_names(self.step.trainer.model)[0]].outputs
        for child in inside:
            if full:
                self.module(child, full)
            elif not is_idle(self.modules[child], self.step.records[child].input_shape):
                self.row(child)
            own = child.removeprefix(name + ".")
            kept = self.step.records[child].outputs
            if kept and hasattr(module, "weights"):
                if child == inside[0]:
                    show_heads(self.lines, self.step, module, inside[0])
                if own == ("rotary" if rotary is not None else inside[0].removeprefix(name + ".")):
                    show_weights(self.lines, self.step, module, inside[0])
            if kept and own in residuals[:-1]:  # the sum with the last one is the module's output
                stream = [X + Y for X, Y in zip(stream, kept, strict=True)]
                self.sum(f"  + {own}", record, stream)
        self.row(name)

    def row(self, name: str) -> None:
        module, record = self.modules[name], self.step.records[name]
        self.lines.numbers(name, record.output_shape, record.output, self.words(module, record))

    def sum(self, name: str, record: Record, arrays: list[np.ndarray]) -> None:
        """The residual stream after an addition; it is not the output of a module."""
        self.lines.numbers(name, record.output_shape, stats_of_all(arrays), "the residual stream with this added")

    def words(self, module: Module, record: Record) -> str:
        """What a module does: its class and sizes, its formula when the class comes up first, and its zeros."""
        kind, details = record.kind, module.extra_repr()
        text = f"{kind} {details}" if details else kind
        formula = formula_of(module)
        if formula and kind not in self.explained:
            text += ": " + ", ".join(" ".join(line.split()) for line in formula.forward)
        self.explained.add(kind)
        if record.outputs and not module._params and not any(module.children()):
            text += f"; {zeros(record)}"
        return text


def walk_forward(lines: Lines, step: TracedStep, head: Head) -> None:
    show_batch(lines, step)
    lines.head([f"{'output':<{SHAPE}}", f"{'mean':>{NUMBER}}", f"{'std':>{NUMBER}}"], "what it does")
    forward = Forward(lines, step, dict(step.trainer.model.named_modules()))
    for run in alike(step.records.values(), lambda record: (record.kind, record.output_shape, record.n_params)):
        for group in run:
            new = any(record.kind not in forward.explained for record in group)
            forward.module(group[0].name, full=new)  # a block like an earlier one in a few lines
    show_loss(lines, step, head)


def residual_children(module: Module, record: Record) -> list[str]:
    """The names of the modules inside whose outputs are added to the residual stream."""
    cost = cost_of(module, Call(record.input_shape))
    return [child.name for child in cost.children if child.residual] if cost else []


def zeros(record: Record) -> str:
    """How much of an activation passes almost nothing on."""
    count = sum(A.size for A in record.outputs)
    near = sum(int((np.abs(A) < NEAR_0).sum()) for A in record.outputs) / count
    below = sum(int((A < 0).sum()) for A in record.outputs) / count
    return f"{near:.1%} within {NEAR_0} of 0, {below:.1%} below"


def show_batch(lines: Lines, step: TracedStep) -> None:
    x, y = step.batches[-1]
    k = len(step.batches)
    lines.row("x", [shape(x)], f"token ids: {len(x)} sequences of {x.shape[1]:,} tokens")
    if k > 1:
        lines.words(f"the last of this step's {k} micro-batches. Shapes, Q, K, V and x[0] are of this one; all other "
                    f"numbers cover all {k}", indent=4)
    for name, ids in (("x[0]  ids", x[0, :SHOWN]), ("y[0]  targets", y[0, :SHOWN])):
        lines.row(name, [f"{id:>7}" for id in ids])
        texts = token_texts(step.trainer.dataset.tokenizer, ids, 7)
        lines.row("      as text", [padded(text, 7, right=True) for text in texts])
    lines.words("The targets are x shifted by one: from each token the model predicts the next.")
    lines.lines.append("")
