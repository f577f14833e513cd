"""The walk back: from the loss to the gradient of every parameter."""

from __future__ import annotations

import math

import numpy as np

from numpygpt.inspection.step import WatchedStep, norms
from numpygpt.inspection.trace import Record
from numpygpt.inspection.walk.head import Head
from numpygpt.inspection.walk.lines import NUMBER, SHAPE, Lines, cell, number, shape

FORMULAS = {  # by class, shown where it is met first
    "LayerNorm": "dgamma = sum dY Xhat, dbeta = sum dY; G = dY gamma: "
                 "dX = (G - mean G - Xhat mean(G Xhat)) / std",
    "TransformerBlock": "Y = H + ffn(norm2(H)) uses H twice: dH = dY + (dY back through ffn and norm2)",
    "MultiHeadAttention": "H = X + attn(norm1(X)) uses X twice: dX = dH + (dH back through attn and norm1)",
    "Dropout": "dX = dY mask: where it gave 0, no gradient passes",
    "Linear": "Y = X W + b: dW = X^T dY, db = sum of dY over the rows, dX = dY W^T",
    "GELU": "dX = dY gelu'(X), entry by entry",
    "ReLU": "dX = dY where X was above 0, else 0",
    "PositionalEmbedding": "dW[t] = sum over the batch of dY at place t; dX = dY",
    "SinusoidalEncoding": "nothing is learned here: dX = dY",
    "Embedding": "dW[id] = sum of dY over the places where the token stands",
}
ATTENTION = ("its dY is dQ, dK, dV side by side. O = P V: dV = P^T dO, dP = dO V^T. P = softmax(S): "
             "dS = P (dP - sum of dP P). S = Q K^T scale + mask: dQ = dS K scale, dK = dS^T Q scale")


def walk_backward(lines: Lines, step: WatchedStep, head: Head) -> None:
    model = step.trainer.model
    parameter = f" {'':<6} {'mean':>{NUMBER}} {'norm':>{NUMBER - 1}}"
    lines.head([f"{'dY':<{SHAPE}}", f"{'norm':>{NUMBER}}", parameter, parameter])
    x, V = step.batches[-1][0], len(head.dE)
    lines.row("loss", [shape(()), cell(1)], "dL/dL = 1")
    lines.row("head", [shape((*x.shape, V)), cell(head.dlogits.norm), *gradients(step, "head.embedding")],
              f"dlogits = (softmax - onehot) / {x.size * len(step.batches):,} targets")
    size = number(norms({"dE": head.dE})["dE"])
    name = "wte.W" if model.head.embedding is model.wte else "head.embedding.W"
    lines.words(f"dX = dlogits E; dE = dlogits^T X has norm {size}, into {name}", indent=4)
    explained: set[str] = set() if step.trainer.config.model.dropout else {"Dropout"}
    for at in backwards(list(step.records)):
        record = step.records[at]
        if record.kind == "FeedForward" or (record.kind == "Dropout" and at != "dropout" and "Dropout" in explained):
            continue  # its dY is that of the line above
        show_gradient(lines, step, at, record)
        explain(lines, at, record, explained)
    if model.head.embedding is model.wte:
        show_tied(lines, step, head)


def backwards(names: list[str]) -> list[str]:
    """Names in the order of the backward calls: a module before those inside it, and these in reverse."""
    found: list[str] = []
    for name in names:
        around = [other for other in found if name.startswith(other + ".")]
        found.insert(max(map(found.index, around)) + 1 if around else 0, name)
    return found


def show_gradient(lines: Lines, step: WatchedStep, name: str, record: Record) -> None:
    """A module's dY, and beside it its own parameters' gradients."""
    came = record.gradient.norm if record.gradient else math.nan
    title = f"{name.removesuffix('.attn')}  dH" if record.kind == "MultiHeadAttention" else name
    lines.row(title, [shape(record.output_shape), cell(came), *gradients(step, name)])


def gradients(step: WatchedStep, name: str) -> list[str]:
    """Mean and norm of the gradient of each parameter that a module has itself."""
    grads = {key.rsplit(".", 1)[1]: grad for key, grad in step.trainer.model.grads().items()
             if key.rsplit(".", 1)[0] == name}
    return [f" {'d' + key:<6} {cell(float(grad.mean(dtype=np.float64)))} {cell(step.grads[f'{name}.{key}'])[1:]}"
            for key, grad in grads.items()]


def explain(lines: Lines, name: str, record: Record, explained: set[str]) -> None:
    """The formula of a class of modules, once."""
    if record.kind in FORMULAS and record.kind not in explained:
        lines.words(FORMULAS[record.kind], indent=4)
        explained.add(record.kind)
    if name.endswith(".attn.qkv") and "attention" not in explained:
        lines.words(ATTENTION, indent=4)
        explained.add("attention")


def show_tied(lines: Lines, step: WatchedStep, head: Head) -> None:
    """The two uses of one table."""
    found = norms({"head": head.dE, "lookups": step.trainer.model.grads()["wte.W"] - head.dE})
    lines.words(f"wte.W has two uses, so dW is a sum: the head's dE, norm {number(found['head'])}, and that of the "
                f"lookups, norm {number(found['lookups'])}; together {number(step.grads['wte.W'])}", indent=4)
