"""Which steps of a run are skipped: those whose gradient overflowed in float16, and spikes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from numpygpt.optim import LossScale
from numpygpt.training.config import Config
from numpygpt.training.spikes import Spikes


class Skipping:
    """The rules of a configuration: `loss_scale` with products in float16, `spikes` with `skip_spikes`; else None.

    A skipped step changes no parameter and no moment. True if there is a rule.
    """

    def __init__(self, c: Config):
        self.loss_scale = LossScale() if c.precision == "float16" else None
        self.spikes = Spikes(c.skip_spikes) if c.skip_spikes else None

    @property
    def rules(self) -> dict[str, LossScale | Spikes]:
        """The rules by their name in a checkpoint."""
        return {name: rule for name, rule in vars(self).items() if rule is not None}

    def __bool__(self) -> bool:
        return bool(self.rules)

    @property
    def scale(self) -> float:
        """The gradients of the coming step are those of this times the loss, until they are clipped."""
        return self.loss_scale.scale if self.loss_scale else 1.0

    @property
    def skipped(self) -> int:
        """How many steps were skipped so far."""
        return sum(rule.skipped for rule in self.rules.values())

    def is_overflow(self, norm: float) -> bool:
        """Whether a gradient of this norm may be finite with a smaller scale."""
        return not math.isfinite(norm) and self.loss_scale is not None and self.loss_scale.can_fall()

    def skips(self, norm: float) -> bool:
        """Whether to skip the step whose gradient has this norm before clipping. Once per step."""
        if self.loss_scale is not None:
            self.loss_scale.update(math.isfinite(norm))
            if not math.isfinite(norm):
                return True  # it says nothing about spikes
        return self.spikes is not None and self.spikes.is_spike(norm)

    def state_dict(self) -> dict[str, Any]:
        return {name: rule.state_dict() for name, rule in self.rules.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned. A rule that the state lacks starts from its defaults: it was switched on
        later. Raises ValueError for anything else: a checkpoint may be untrusted."""
        for name, rule in self.rules.items():
            if isinstance(state.get(name), dict):
                rule.load_state_dict(state[name])
