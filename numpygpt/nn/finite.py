"""Parameters and results that are NaN or infinite."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


class NotFinite(RuntimeError):
    """A loss, a gradient, a parameter or a model's output is NaN or infinite."""


def not_finite(named: Iterable[tuple[str, np.ndarray]]) -> str | None:
    """The name of the first array that has a NaN or an infinity; None if all are finite."""
    return next((name for name, array in named if not np.isfinite(array).all()), None)


def check_logits(logits: np.ndarray, params: Iterable[tuple[str, np.ndarray]]) -> None:
    """Raise NotFinite if logits (..., n_vocab) give no probabilities. The message names the parameter that caused it.

    A user's own head may forbid tokens with -inf, as long as the parameters are finite and one token is left.
    """
    if np.isfinite(logits).all():
        return
    name = not_finite(params)
    if name is not None:
        raise NotFinite(f"the model's output is not finite, because the parameter {name} is not: its training "
                        "diverged. Use an earlier checkpoint, or train with a lower learning rate")
    if not np.isfinite(logits.max(axis=-1)).all():
        raise NotFinite("the model's output is not finite, although its parameters are: a layer overflows, or divides "
                        "by zero. numpygpt.training.diagnose.first_not_finite finds the first such layer")
