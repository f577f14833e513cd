"""How long a run still takes."""

from __future__ import annotations

from collections import deque
from statistics import median

COLD = 5  # the first steps of a session, in which memory is allocated and caches are cold: they say nothing of the rest
RECENT = 200  # steps that count: the estimate follows the machine's present speed
SURE = 20  # steps after which there is an estimate
FORWARD = 3  # a token of training takes so many times as long as one of evaluation: forward, and back twice that


class Clock:
    """Estimates the time left from what the steps and evaluations of this session took, in seconds.

        left = steps median(recent steps) + tokens (seconds of the last evaluation / its tokens) + evaluations rest

    `rest` is the time that the last evaluation took to save and to sample. Before the first evaluation, its tokens are
    assumed to take a third of the time of training tokens. A step trains on `step_tokens` tokens.
    """

    def __init__(self, step_tokens: int):
        self.step_tokens = step_tokens
        self.recent: deque[float] = deque(maxlen=RECENT)
        self.steps = 0
        self.token_time: float | None = None
        self.rest = 0.0

    def step(self, seconds: float) -> None:
        self.steps += 1
        if self.steps > COLD:
            self.recent.append(seconds)

    def evaluation(self, tokens: int, seconds: float, rest: float) -> None:
        """An evaluation took `seconds` to read `tokens`, and `rest` for everything else."""
        self.token_time, self.rest = seconds / tokens, rest

    def left(self, steps: int, evaluations: int, tokens: int) -> float | None:
        """Seconds for so many steps, and evaluations that read `tokens` in all; None before it can be told."""
        if self.steps < SURE:
            return None
        step = median(self.recent)
        token = step / self.step_tokens / FORWARD if self.token_time is None else self.token_time
        return steps * step + tokens * token + evaluations * self.rest
