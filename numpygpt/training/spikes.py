"""Detect gradient spikes: steps whose gradient is far larger than those before. `skip_spikes` leaves them out."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from statistics import median
from typing import Any

from numpygpt.training.checkpoint_header import is_count

MAX_NORMS = 100  # norms that are remembered; a new one is compared with their median
MIN_NORMS = 20  # until there are this many norms, nothing is a spike
MAX_IN_A_ROW = 10  # after this many spikes in a row, the gradient has grown for good


class Spikes:
    """Decides which steps to skip. Call `is_spike(norm)` once per step, with the gradient's norm before clipping.

        norm > factor * median(the last 100 norms)

    The median hardly moves when one norm in a hundred is huge, so skipped norms are remembered like the others. After
    ten spikes in a row the norms are forgotten, `gave_up` is True until the next call, and the next twenty steps are
    taken to measure again. `skipped` counts the steps that were left out.
    """

    def __init__(self, factor: float):
        self.factor = factor
        self.norms: deque[float] = deque(maxlen=MAX_NORMS)
        self.skipped, self.in_a_row, self.gave_up = 0, 0, False

    def is_spike(self, norm: float) -> bool:
        spike = len(self.norms) >= MIN_NORMS and norm > self.factor * median(self.norms)
        self.norms.append(norm)
        self.in_a_row = self.in_a_row + 1 if spike else 0
        self.skipped += spike
        self.gave_up = self.in_a_row >= MAX_IN_A_ROW
        if self.gave_up:
            self.norms.clear()
            self.in_a_row = 0
        return spike

    def state_dict(self) -> dict[str, Any]:
        return {"norms": list(self.norms), "skipped": self.skipped, "in_a_row": self.in_a_row}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned. Raises ValueError for anything else: a checkpoint may be untrusted."""
        norms, counts = state.get("norms"), (state.get("skipped"), state.get("in_a_row"))
        numbers = isinstance(norms, list) and len(norms) <= MAX_NORMS and all(
            type(norm) is float and norm >= 0 for norm in norms)
        if not numbers or not all(map(is_count, counts)):
            raise ValueError("invalid gradient-norm history: the checkpoint is damaged or from another program")
        self.norms = deque(state["norms"], maxlen=MAX_NORMS)
        self.skipped, self.in_a_row = state["skipped"], state["in_a_row"]
