"""Loss scaling, for gradients that are computed in float16."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

FIRST, MOST = 2.0**16, 2.0**24
GROW_EVERY = 2000  # steps


class LossScale:
    """A factor for the loss, so that small gradients are not rounded to 0 in float16, whose smallest number is 6e-8.

    Multiply the loss by `scale` before the backward pass, and divide the gradients by it before clipping, or in the
    same pass with `clip_grad_norm(..., scale=scale)`. Then call `update(finite)`: a gradient that is not finite halves
    the scale, and its step must be skipped (`skipped` counts them); after 2,000 good steps the scale doubles. It is
    always a power of 2, so that it rounds nothing by itself.
    Micikevicius et al. 2018, section 3.2.
    """

    def __init__(self, scale: float = FIRST):
        self.scale, self.good, self.skipped = scale, 0, 0

    def can_fall(self) -> bool:
        """Whether a smaller scale is left: a gradient that is not finite without one has another cause."""
        return self.scale > 1

    def update(self, finite: bool) -> None:
        self.good = self.good + 1 if finite else 0
        if not finite:
            self.scale = max(self.scale / 2, 1.0)
            self.skipped += 1
        elif self.good == GROW_EVERY:
            self.scale, self.good = min(2 * self.scale, MOST), 0

    def state_dict(self) -> dict[str, Any]:
        return {"scale": self.scale, "good": self.good, "skipped": self.skipped}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned. Raises ValueError for anything else: a checkpoint may be untrusted."""
        scale: Any = state.get("scale")
        counts = (state.get("good"), state.get("skipped"))
        power = type(scale) is float and 1 <= scale <= MOST and math.frexp(scale)[0] == 0.5
        if not power or not all(
                type(n) is int and 0 <= n < 1 << 63 for n in counts):
            raise ValueError("invalid loss scale: the checkpoint is damaged or from another program")
        self.scale, self.good, self.skipped = scale, state["good"], state["skipped"]
