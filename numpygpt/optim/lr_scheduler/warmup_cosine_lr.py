"""Linear warm-up, then a cosine down to a floor."""

from __future__ import annotations

import math
from collections.abc import Mapping

from numpygpt.optim.optimizer import Optimizer
from numpygpt.utils.checks import integer, number


def warmup_cosine(step: int, max_lr: float, min_lr: float, warmup: int, decay: int) -> float:
    """The learning rate of update `step`, counted from 0.

    max_lr (step + 1) / warmup while step < warmup; then min_lr + (max_lr - min_lr) (1 + cos(pi r)) / 2 with
    r = (step - warmup) / (decay - warmup); min_lr from step `decay` on.
    """
    if step < warmup:
        return max_lr * (step + 1) / warmup
    if step >= decay:
        return min_lr
    ratio = (step - warmup) / (decay - warmup)
    return min_lr + 0.5 * (max_lr - min_lr) * (1 + math.cos(math.pi * ratio))


class WarmupCosineLR:
    """Sets `optimizer.lr` for the coming update: see `warmup_cosine`. Call `step()` after each update.

    Parameters: `max_lr` (default the optimiser's lr), `min_lr`, `warmup` and `decay` in steps, warmup <= decay.
    Loshchilov and Hutter 2017, and the warm-up of Goyal et al. 2017. Raises ValueError for values out of range.
    """

    def __init__(self, optimizer: Optimizer, warmup: int, decay: int, min_lr: float = 0.0, max_lr: float | None = None):
        if not isinstance(optimizer, Optimizer):
            raise ValueError(f"WarmupCosineLR needs the optimiser first, got {type(optimizer).__name__}: write "
                             "WarmupCosineLR(optimizer, warmup, decay)")
        warmup, decay = integer("warmup", warmup), integer("decay", decay)
        max_lr, min_lr = number("max_lr", optimizer.lr if max_lr is None else max_lr), number("min_lr", min_lr)
        if not 0 <= warmup <= decay:
            raise ValueError(f"warm-up must be between 0 and the {decay} steps of the decay, got {warmup}"
                             + (": the order is WarmupCosineLR(optimizer, warmup, decay)" if warmup > decay else ""))
        if not 0 <= min_lr <= max_lr:
            raise ValueError(f"min_lr must be between 0 and max_lr {max_lr}, got {min_lr}")
        optimizer.check_lr(max_lr)
        self.optimizer, self.max_lr, self.min_lr, self.warmup, self.decay = optimizer, max_lr, min_lr, warmup, decay
        self.load_state_dict({"step": 0})

    def step(self) -> None:
        """Advance to the next update."""
        self.load_state_dict({"step": self.current + 1})

    def state_dict(self) -> dict[str, int]:
        """The number of updates done."""
        return {"step": self.current}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Set the number of updates done."""
        step = state.get("step") if isinstance(state, Mapping) else None
        if type(step) is not int or step < 0:
            raise ValueError(f"the state of a schedule is {{\"step\": number of updates}}, got {state!r:.80}")
        self.current = step
        self.optimizer.lr = warmup_cosine(self.current, self.max_lr, self.min_lr, self.warmup, self.decay)
