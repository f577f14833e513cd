"""The walk back: from the loss to the gradient of every parameter."""

from __future__ import annotations

import math

import numpy as np

from numpygpt.inspection.step import TracedStep, norms
from numpygpt.inspection.tree import is_idle
from numpygpt.inspection.walk.head import Head
from numpygpt.inspection.walk.lines import NUMBER, SHAPE, Lines, cell, number, shape
from numpygpt.nn.backend import to_host
from numpygpt.nn.cost import formula_of


def walk_backward(lines: Lines, step: TracedStep, head: Head) -> None:
    model = step.trainer.model
    modules, tied = dict(model.named_modules()), model.head.embedding is model.wte
    parameter = f" {'':<6} {'mean':>{NUMBER}} {'norm':>{NUMBER - 1}}"
    lines.head([f"{'dY':<{SHAPE}}", f"{'norm':>{NUMBER}}", parameter, parameter])
    x, V = step.batches[-1][0], len(head.dE)
    lines.row("loss", [shape(()), cell(1)], "dL/dL = 1")
    lines.row("head", [shape((*x.shape, V)), cell(head.dlogits.norm), *gradients(step, "head.embedding")],
              f"dlogits = (softmax - onehot) / {x.size * len(step.batches):,} targets")
    into = "wte.W" if tied else "head.embedding.W"
    size = f"dlogits^T X has norm {number(norms({'dE': head.dE})['dE'])}, into {into}"
    lines.words(f"dX = dlogits E; dE = {size if model.head.embedding.trains('W') else 'none: ' + into + ' is frozen'}",
                indent=4)
    explained: set[str] = set()
    for name in step.backward_order:
        module, record = modules[name], step.records[name]
        if is_idle(module, record.input_shape):
            continue
        norm = record.gradient.norm / step.scale if record.gradient else math.nan
        lines.row(name, [shape(record.output_shape), cell(norm), *gradients(step, name)])
        formula = formula_of(module)
        if formula and record.kind not in explained:
            lines.words("; ".join(" ".join(line.split()) for line in formula.backward), indent=4)
        explained.add(record.kind)
    if tied and model.wte.trains("W"):
        show_tied(lines, step, head)


def gradients(step: TracedStep, name: str) -> list[str]:
    """Mean and norm of the gradient of each parameter that a module has itself."""
    grads = {key.rsplit(".", 1)[1]: grad for key, grad in step.trainer.model.grads().items()
             if key.rsplit(".", 1)[0] == name}
    means = {key: float(grad.mean(dtype=np.float64)) / step.scale for key, grad in grads.items()}
    return [f" {'d' + key:<6} {cell(mean)} {cell(step.grads[f'{name}.{key}'])[1:]}" for key, mean in means.items()]


def show_tied(lines: Lines, step: TracedStep, head: Head) -> None:
    found = norms({"head": head.dE, "lookups": to_host(step.trainer.model.grads()["wte.W"]) / step.scale - head.dE})
    lines.words(f"wte.W is used twice, so dW is a sum: the head's dE with norm {number(found['head'])}, and the "
                f"lookups' gradient with norm {number(found['lookups'])}; together {number(step.grads['wte.W'])}",
                indent=4)
