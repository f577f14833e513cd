"""`train.py --trace`: one step of a run, from token ids to the loss, back, and on to the changed weights."""

from __future__ import annotations

import numpy as np

from numpygpt.inspection.step import WatchedStep, undone
from numpygpt.inspection.walk.backward import walk_backward
from numpygpt.inspection.walk.forward import kept, walk_forward
from numpygpt.inspection.walk.head import head_of
from numpygpt.inspection.walk.lines import Lines
from numpygpt.inspection.walk.update import walk_update
from numpygpt.training.trainer import Trainer
from numpygpt.utils.colour import BACKGROUNDS


def walk(trainer: Trainer, colour: bool = False) -> str:
    """The trainer's coming step in words and numbers, at most 100 columns wide. The trainer is left as it was.

    Raises ValueError where the run has no step left, NotFinite where the step fails.
    """
    c = trainer.config
    if trainer.step >= c.steps:
        raise ValueError(f"--trace shows the coming step, and the run has done all its {c.steps:,}: give more --steps")
    mint, ochre, lavender = BACKGROUNDS
    with undone(trainer), np.errstate(all="ignore"):
        step = WatchedStep(trainer, kept)
        lines = Lines(max(20, *(len(name) for name in step.records)), colour)
        head = head_of(step)
        lines.lines.append("")
        lines.heading(f"Step {trainer.step + 1:,} of {c.steps:,} with its numbers. The run begins with this very step.")
        lines.words("B sequences of T tokens, C wide, H heads, V tokens in the vocabulary. dY is dL/d(output), of the "
                    "output's shape; a norm is the root of the sum of squares.")
        lines.banner("Forward", "from token ids to the loss", mint)
        walk_forward(lines, step, head)
        lines.banner("Back", "the same modules in reverse. Each gets dY, makes its parameters' gradients, and returns "
                             "dX, which is the dY of the one before it", ochre)
        walk_backward(lines, step, head)
        step.apply()
        lines.banner("Update", "what the gradients do to the weights", lavender)
        walk_update(lines, step)
    return "\n".join(lines.lines) + "\n"
