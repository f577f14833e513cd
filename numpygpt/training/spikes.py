"""Steps whose gradient is far beyond what came before, which `--skip-spikes` leaves out."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from statistics import median
from typing import Any

from numpygpt.training.checkpoint_header import is_count

REMEMBERED = 100  # norms; their median is the measure
LEAST = 20  # norms before anything is a spike
IN_A_ROW = 10  # skipped steps, after which this is no spike but how the gradient is now


class Spikes:
    """Says which steps to skip: `is_spike(norm)` is asked once a step, with the gradient's norm before clipping.

        norm > factor * median(the last 100 norms)

    The median hardly moves when one norm in a hundred is huge, so that a skipped norm can be remembered with the
    others. After ten spikes in a row the norms are forgotten: the next twenty steps are taken and make a new measure,
    and `gave_up` is True until the next question. `skipped` counts the steps that were left out.
    """

    def __init__(self, factor: float):
        self.factor = factor
        self.norms: deque[float] = deque(maxlen=REMEMBERED)
        self.skipped, self.in_a_row, self.gave_up = 0, 0, False

    def is_spike(self, norm: float) -> bool:
        spike = len(self.norms) >= LEAST and norm > self.factor * median(self.norms)
        self.norms.append(norm)
        self.in_a_row = self.in_a_row + 1 if spike else 0
        self.skipped += spike
        self.gave_up = self.in_a_row >= IN_A_ROW
        if self.gave_up:
            self.norms.clear()
            self.in_a_row = 0
        return spike

    def state_dict(self) -> dict[str, Any]:
        return {"norms": list(self.norms), "skipped": self.skipped, "in_a_row": self.in_a_row}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave. ValueError for anything else: a checkpoint may be a stranger's."""
        norms, counts = state.get("norms"), (state.get("skipped"), state.get("in_a_row"))
        numbers = isinstance(norms, list) and len(norms) <= REMEMBERED and all(
            type(norm) is float and norm >= 0 for norm in norms)
        if not numbers or not all(map(is_count, counts)):
            raise ValueError("its history of gradient norms is none: it is damaged, or of another program")
        self.norms = deque(state["norms"], maxlen=REMEMBERED)
        self.skipped, self.in_a_row = state["skipped"], state["in_a_row"]
