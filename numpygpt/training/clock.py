"""Estimate how long a run still takes."""

from __future__ import annotations

from collections import deque
from statistics import median

COLD_STEPS = 5  # the first steps of a session allocate memory and fill caches: their times are ignored
RECENT_STEPS = 200  # the estimate uses the last steps only, so it follows the machine's present speed
MIN_STEPS = 20  # there is no estimate before this many steps
TRAINING_COST = 3  # training on a token takes 3 times as long as evaluating it: forward, and backward twice that


class Clock:
    """Estimates the time left, in seconds, from the steps and evaluations of this session.

        left = steps median(recent steps) + tokens (seconds of the last evaluation / its tokens) + evaluations rest

    `rest` is the time that the last evaluation took to save and to sample. A step trains on `step_tokens` tokens; until
    an evaluation was timed, evaluating a token is assumed to take a third of the time of training on it.
    """

    def __init__(self, step_tokens: int):
        self.step_tokens = step_tokens
        self.recent: deque[float] = deque(maxlen=RECENT_STEPS)
        self.steps = 0
        self.token_time: float | None = None
        self.rest = 0.0

    def step(self, seconds: float) -> None:
        self.steps += 1
        if self.steps > COLD_STEPS:
            self.recent.append(seconds)

    def evaluation(self, tokens: int, seconds: float, rest: float) -> None:
        """Record an evaluation: `seconds` to read `tokens`, and `rest` for everything else."""
        self.token_time, self.rest = seconds / tokens, rest

    def left(self, steps: int, evaluations: int, tokens: int) -> float | None:
        """Return the seconds for these steps, and for evaluations that read `tokens` in total; None if it is too early
        to tell."""
        if self.steps < MIN_STEPS:
            return None
        step = median(self.recent)
        token = step / self.step_tokens / TRAINING_COST if self.token_time is None else self.token_time
        return steps * step + tokens * token + evaluations * self.rest
