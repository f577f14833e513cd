"""The end of the walk: the update, and how far it moves each parameter."""

from __future__ import annotations

import math

from numpygpt.inspection.step import WatchedStep
from numpygpt.inspection.walk.lines import NUMBER, Lines, cell, number

SMALL = 1e-3  # a healthy step changes weights by about this share of them


def walk_update(lines: Lines, step: WatchedStep) -> None:
    """Clipping, learning rate, and how far each parameter went."""
    c, numbers = step.trainer.config, step.numbers
    total = numbers["grad_norm"]
    if c.clip and total > c.clip:
        clipped = f"above --clip {c.clip:g}, so all times {c.clip:g}/norm = {number(c.clip / total)}"
    else:
        clipped = f"within --clip {c.clip:g}, so left as they are" if c.clip else "clipping is off (--clip 0)"
    lines.row("gradient norm", [number(total)], f"of all {len(step.trainer.model.flat().grads):,} numbers; {clipped}")
    lines.row("learning rate", [number(numbers["lr"])], schedule(step))
    lines.row(c.optimizer, [], rule(step))
    lines.head(2 * [f"{'':<6} {'norm':>{NUMBER}} {'step':>{NUMBER}} {'step/norm':>{NUMBER}} "])
    for owner in dict.fromkeys(key.rsplit(".", 1)[0] for key in step.weights):
        own = [key for key in step.weights if key.rsplit(".", 1)[0] == owner]
        lines.row(owner, [f"{key.removeprefix(owner + '.'):<6} {cell(step.weights[key])} {cell(step.steps[key])} "
                          f"{cell(step.ratio(key))} " for key in own])
    show_smallness(lines, step)


def show_smallness(lines: Lines, step: WatchedStep) -> None:
    """How to read the ratios."""
    ratios = [ratio for ratio in map(step.ratio, step.weights) if not math.isnan(ratio)]
    c, done = step.trainer.config, step.trainer.step
    if max(ratios) < SMALL and done < c.warmup:
        lines.words("step/norm is tiny because the learning rate is: after the warm-up it will be "
                    f"{c.warmup / done:g} times as high.")
    if len(ratios) < len(step.weights):
        lines.words("-: the parameter was all 0 before.")


def schedule(step: WatchedStep) -> str:
    """Why the learning rate is what it is."""
    c, done = step.trainer.config, step.trainer.step
    if done <= c.warmup:
        return f"warm-up: step {done:,} of {c.warmup:,} takes {done}/{c.warmup} of --lr {c.lr:g}"
    return f"step {done:,} on the cosine from {c.lr:g} (step {c.warmup:,}) to {c.min_lr:g} (step {c.steps:,})"


def rule(step: WatchedStep) -> str:
    """The optimiser in a formula."""
    c = step.trainer.config
    if c.optimizer == "sgd":
        return f"v <- {c.momentum:g} v + g; W <- W - lr v" if c.momentum else "W <- W - lr g"
    decay = f"matrices times 1 - {c.weight_decay:g} lr; " if c.optimizer == "adamw" and c.weight_decay else ""
    return decay + "W <- W - lr mhat / (sqrt(vhat) + eps): about lr a number"
