"""The end of the walk: the update, and how far it moves each parameter."""

from __future__ import annotations

import math

from numpygpt.inspection.step import TracedStep
from numpygpt.inspection.walk.lines import NUMBER, Lines, cell, number

USUAL_RATIO = 1e-3  # of a step to the weights that it changes


def walk_update(lines: Lines, step: TracedStep) -> None:
    c, numbers = step.trainer.config, step.numbers
    total = numbers["grad_norm"]
    if c.clip and total > c.clip:
        clipped = f"above clip {c.clip:g}, so all are scaled by {c.clip:g}/norm = {number(c.clip / total)}"
    else:
        clipped = f"within clip {c.clip:g}, so unchanged" if c.clip else "clipping is off"
    model = step.trainer.model
    learned = sum(grad.size for grad in model.grads().values())
    frozen = f"; {model.n_params() - learned:,} frozen parameters have none" if learned < model.n_params() else ""
    lines.row("gradient norm", [number(total)], f"of all {learned:,} gradients{frozen}; {clipped}")
    lines.row("learning rate", [number(numbers["lr"])], schedule(step))
    lines.row(c.optimizer, [], rule(step))
    lines.head(2 * [f"{'':<6} {'norm':>{NUMBER}} {'step':>{NUMBER}} {'step/norm':>{NUMBER}} "])
    for owner in dict.fromkeys(key.rsplit(".", 1)[0] for key in step.weights):
        own = [key for key in step.weights if key.rsplit(".", 1)[0] == owner]
        lines.row(owner, [f"{key.removeprefix(owner + '.'):<6} {cell(step.weights[key])} {cell(step.steps[key])} "
                          f"{cell(step.ratio(key))} " for key in own])
    show_smallness(lines, step)


def show_smallness(lines: Lines, step: TracedStep) -> None:
    ratios = [ratio for ratio in map(step.ratio, step.weights) if not math.isnan(ratio)]
    c, done = step.trainer.config, step.trainer.step
    if max(ratios) < USUAL_RATIO and done < c.warmup:
        lines.words("step/norm is tiny because the learning rate is: after warm-up it will be "
                    f"{c.warmup / done:g} times as high.")
    if len(ratios) < len(step.weights):
        lines.words("-: all of the parameter was 0 before.")


def schedule(step: TracedStep) -> str:
    c, done = step.trainer.config, step.trainer.step
    if done <= c.warmup:
        return f"warm-up: step {done:,} of {c.warmup:,} takes {done}/{c.warmup} of {c.lr:g}"
    return f"step {done:,} on the cosine from {c.lr:g} (step {c.warmup:,}) to {c.min_lr:g} (step {c.steps:,})"


def rule(step: TracedStep) -> str:
    c = step.trainer.config
    if c.optimizer == "sgd":
        return f"v <- {c.momentum:g} v + g; W <- W - lr v" if c.momentum else "W <- W - lr g"
    decay = f"matrices times 1 - {c.weight_decay:g} lr; " if c.optimizer == "adamw" and c.weight_decay else ""
    return decay + "W <- W - lr mhat / (sqrt(vhat) + eps): about lr per number"
