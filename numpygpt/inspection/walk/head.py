"""The end of the walk forward: from the last states to the loss."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from numpygpt.inspection.stats import Stats, add
from numpygpt.inspection.step import TracedStep
from numpygpt.inspection.trace import Record
from numpygpt.inspection.walk.lines import SHOWN, Lines, token_texts
from numpygpt.nn.backend import to_host
from numpygpt.nn.functional import cross_entropy, cross_entropy_backward, row_slices, rows, softmax
from numpygpt.nn.modules.loss import chunk_rows


@dataclass
class Head:
    """What the head computes from the last hidden states, and the gradient of the loss with respect to its logits."""

    logits: Stats
    probability: float  # of the target, mean over all targets
    dlogits: Stats
    dE: np.ndarray  # (n_vocab, C), the head's term in the gradient of its table


def head_of(step: TracedStep) -> Head:
    """Compute the head's numbers, a chunk of rows at a time: like the step itself, this never holds all logits."""
    model = step.trainer.model
    E = to_host(model.head.embedding.W)  # (n_vocab, C)
    scores: Stats | None = None
    gradient: Stats | None = None
    probability, targets, dE = 0.0, 0, np.zeros_like(E)
    for i, (_, y) in enumerate(step.batches):
        X, t = rows(of_batch(step.records["norm_f"], step, i)), y.reshape(-1)  # (N, C), (N,)
        counted = max(int((t != model.ignore_index).sum()), 1)
        for s in row_slices(len(t), 1, chunk_rows(len(E))):
            logits = X[s] @ E.T
            scores = add(scores, Stats.of(logits))
            _, P = cross_entropy(logits, t[s], model.ignore_index)
            right = t[s] != model.ignore_index
            probability, targets = probability + float(P[right, t[s][right]].sum()), targets + int(right.sum())
            dlogits = cross_entropy_backward(P, t[s], model.ignore_index)
            dlogits /= counted * len(step.batches)
            gradient = add(gradient, Stats.of(dlogits))
            dE += dlogits.T @ X[s]
    if scores is None or gradient is None:
        raise ValueError("a step needs at least one token")
    return Head(scores, probability / max(targets, 1), gradient, dE)


def show_loss(lines: Lines, step: TracedStep, head: Head) -> None:
    model, (x, y) = step.trainer.model, step.batches[-1]
    V = len(model.head.embedding.W)
    tied = "E = wte.W" if model.head.embedding is model.wte else "E its own"
    lines.numbers("head", (*x.shape, V), head.logits, f"logits = X E^T, one per token; {tied}")
    t = min(SHOWN, x.shape[1]) - 1
    last = of_batch(step.records["norm_f"], step, len(step.batches) - 1)[0, t]  # (C,)
    P = softmax(last @ to_host(model.head.embedding.W).T)
    token, right, best = token_texts(step.trainer.dataset.tokenizer, np.array([x[0, t], y[0, t], P.argmax()]), 12)
    lines.row("  softmax", [], f"probability of the target: {head.probability:.2%} on average")
    lines.words(f'after token {t}, "{token}": {P[y[0, t]]:.2%} for "{right}"; likeliest: "{best}", {P.max():.2%}', 11)
    lines.row("loss", [f"{step.loss:.6f}"], f"mean -ln(probability of the target); uniform: ln {V:,} = "
                                            f"{math.log(V):.6f}")


def of_batch(record: Record, step: TracedStep, i: int) -> np.ndarray:
    """The stored output of batch i, (B, ...): those of all workers, in order."""
    return np.concatenate(record.outputs[i :: len(step.batches)])
