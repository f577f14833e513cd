"""Figures of OPTIMIZERS.md: the learning rate over a run."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from chapters.canvas import FORWARD, SMALL, WIDTH, figure, plot
from numpygpt.optim.lr_scheduler import warmup_cosine
from numpygpt.plots.style import GREY, new_figure
from numpygpt.training.presets import read_preset

QUICK = read_preset("quick")
MAX_LR, MIN_LR, WARMUP, STEPS = QUICK.lr, QUICK.min_lr, QUICK.warmup, QUICK.steps


def rates() -> np.ndarray:
    """Return the learning rate of each step of the preset `quick`."""
    return np.array([warmup_cosine(step, MAX_LR, MIN_LR, WARMUP, STEPS) for step in range(STEPS + 1)])


@figure
def schedule() -> Figure:
    """Warm-up and cosine."""
    page = new_figure((WIDTH, 3.5))
    ax = page.subplots()
    rate, half = rates(), (WARMUP + STEPS) // 2
    ax.plot(rate, color=FORWARD, linewidth=2)
    for step, words, place in [(WARMUP, f"warm-up ends: {MAX_LR:g}", (12, 6)),
                               (half, f"halfway: {rate[half]:.4f}", (10, 6)), (STEPS, f"end: {MIN_LR:.5f}", (0, 20))]:
        ax.plot(step, rate[step], "o", color=FORWARD, markersize=7, clip_on=False)
        ax.annotate(words, (step, rate[step]), place, textcoords="offset points", fontsize=SMALL,
                    ha="right" if step == STEPS else "left")
    ax.axvline(WARMUP, color=GREY, linewidth=1, linestyle=":")
    plot(ax, "", "step", "learning rate")
    ax.set_ylim(0, 1.12 * MAX_LR)
    ax.set_yticks([0, MAX_LR / 3, 2 * MAX_LR / 3, MAX_LR])
    return page
