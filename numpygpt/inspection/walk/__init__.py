"""One training step in words and numbers: from token ids to the loss, back to the gradients, to the new weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from numpygpt.inspection.step import TracedStep, restored
from numpygpt.inspection.walk.backward import walk_backward
from numpygpt.inspection.walk.forward import needed, walk_forward
from numpygpt.inspection.walk.head import head_of
from numpygpt.inspection.walk.lines import Lines
from numpygpt.inspection.walk.update import walk_update
from numpygpt.utils.colour import BACKGROUNDS

if TYPE_CHECKING:
    from numpygpt.training.trainer import Trainer

__all__ = ["walk"]


def walk(trainer: Trainer, colour: bool = False) -> str:
    """Describe the trainer's next step, at most 100 columns wide. The trainer is left as it was.

    Raises ValueError if the run has no step left or several ranks, NotFinite if the step fails.
    """
    c = trainer.config
    if trainer.group.size > 1:
        raise ValueError(f"`trace` shows arrays of the whole batch, and each of the {trainer.group.size} ranks has a "
                         "part of it: run it in a single process, with `dry_run` to write nothing. With ranks, "
                         "`trace_every` writes the numbers of every layer")
    if trainer.step >= c.steps:
        raise ValueError(f"the run has done all its {c.steps:,} steps, so it has no next step to trace: give it more "
                         "steps")
    mint, ochre, lavender = BACKGROUNDS
    with restored(trainer), np.errstate(all="ignore"):
        step = TracedStep(trainer, needed(trainer.model))
        lines = Lines(max(20, *(len(name) for name in step.records)), colour)
        head = head_of(step)
        lines.lines.append("")
        lines.heading(f"Step {trainer.step + 1:,} of {c.steps:,} with its numbers. The run starts with this step.")
        lines.words("B sequences, T tokens, C features, H heads, V tokens in the vocabulary. dY is dL/d(output) and "
                    "has the output's shape. A norm is the square root of the sum of squares.")
        lines.banner("Forward", "from token ids to the loss", mint)
        walk_forward(lines, step, head)
        lines.banner("Back", "the same modules in reverse. Each receives dY, computes the gradients of its parameters, "
                             "and returns dX, which is the dY of the module before it", ochre)
        walk_backward(lines, step, head)
        step.apply()
        lines.banner("Update", "what the gradients do to the weights", lavender)
        walk_update(lines, step)
    return "\n".join(lines.lines) + "\n"
