"""Train a small character model with four optimisers, at five learning rates, with and without warm-up and clipping.

Reads data/shakespeare_char, which ./datagen.py makes; writes assets/outputs/optimizers.md and
assets/pictures/optimizers.png. 88 runs of 400 steps, one process per core.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository: it runs without installing it

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from numpygpt import GPT
from numpygpt.data import DEFAULT_FOLDER, DataLoader, TokenDataset, eval_batches
from numpygpt.optim import SGD, Adam, AdamW, Optimizer, clip_grad_norm
from numpygpt.optim.lr_scheduler import WarmupCosineLR
from numpygpt.parallel.threads import blas_threads
from numpygpt.plots.series import smooth
from numpygpt.plots.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    dress,
    legend,
    new_figure,
    save,
)
from numpygpt.utils.cores import cores
from numpygpt.utils.paths import ROOT

SIZES = {"max_len": 32, "d_model": 64, "n_heads": 4, "n_layers": 2}
BATCH, STEPS, WARMUP, CLIP, EVALUATED = 8, 400, 40, 1.0, 16_384  # sequences, steps, steps, norm, tokens
BETAS = (0.9, 0.99)

MAKERS: dict[str, Callable[[GPT, float], Optimizer]] = {
    "SGD": lambda model, lr: SGD(model, lr),
    "SGD, momentum 0.9": lambda model, lr: SGD(model, lr, momentum=0.9),
    "Adam": lambda model, lr: Adam(model, lr, BETAS),
    "AdamW, decay 0.1": lambda model, lr: AdamW(model, lr, BETAS, weight_decay=0.1),
}
COLOURS = dict(zip(MAKERS, (PURPLE, GREEN, VERMILLION, BLUE), strict=True))
ADAPTIVE = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
RATES = {"SGD": (0.1, 0.3, 1.0, 3.0, 10.0), "SGD, momentum 0.9": (0.01, 0.03, 0.1, 0.3, 1.0),
         "Adam": ADAPTIVE, "AdamW, decay 0.1": ADAPTIVE}
VARIANTS = {"warm-up and clipping": (True, True), "clipping alone": (False, True), "warm-up alone": (True, False),
            "neither": (False, False)}
BOTH = "warm-up and clipping"


class Task(NamedTuple):
    """One run."""

    optimizer: str
    lr: float
    variant: str
    seed: int = 0


class Result(NamedTuple):
    losses: np.ndarray  # of each training batch; nan from the first step that was not finite
    val: float  # mean over the first EVALUATED validation tokens; nan if the run diverged
    seconds: float  # of processor time


def trained(task: Task, folder: Path = DEFAULT_FOLDER, steps: int = STEPS) -> Result:
    """Train the model as the task says, on one core."""
    start, data = time.process_time(), TokenDataset.load(folder)
    model = GPT(vocab_size=data.vocab_size, **SIZES, seed=task.seed)
    optimizer = MAKERS[task.optimizer](model, task.lr)
    warmup, clip = VARIANTS[task.variant]
    schedule = WarmupCosineLR(optimizer, min(WARMUP, steps) if warmup else 0, steps, task.lr / 10)
    loader = DataLoader(data.train, BATCH, SIZES["max_len"], task.seed)
    losses = np.full(steps, np.nan)
    with blas_threads(1), np.errstate(all="ignore"):
        for step in range(steps):
            loss = model.loss(*loader.next_batch())
            model.backward()
            norm = clip_grad_norm(model, CLIP if clip else math.inf)
            if not (math.isfinite(loss) and math.isfinite(norm)):
                return Result(losses, math.nan, time.process_time() - start)
            losses[step] = loss
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
        return Result(losses, evaluated(model, data.val[:EVALUATED]), time.process_time() - start)


def evaluated(model: GPT, tokens: np.ndarray) -> float:
    model.eval()
    batches = [(model.loss(x, y), (y >= 0).sum()) for x, y in eval_batches(tokens, 64, SIZES["max_len"])]
    return float(sum(loss * count for loss, count in batches) / sum(count for _, count in batches))


def all_runs() -> dict[Task, Result]:
    """Train the grid on seed 0, then each optimiser at its best learning rate on two more seeds."""
    grid = [Task(name, lr, variant) for name in MAKERS for variant in VARIANTS for lr in RATES[name]]
    with ProcessPoolExecutor(cores()) as pool:
        found = dict(zip(grid, pool.map(trained, grid), strict=True))
        more = [best(found, name)._replace(seed=seed) for name in MAKERS for seed in (1, 2)]
        return found | dict(zip(more, pool.map(trained, more), strict=True))


def best(found: dict[Task, Result], name: str, variant: str = BOTH) -> Task:
    """Return the run of the grid with the lowest validation loss."""
    tasks = [Task(name, lr, variant) for lr in RATES[name]]
    return min(tasks, key=lambda task: math.inf if math.isnan(found[task].val) else found[task].val)


def tables(found: dict[Task, Result]) -> str:
    """Return the tables of docs/OPTIMIZERS.md."""
    head = "optimiser", "best learning rate", "training loss, last 50 steps", "validation loss", "with two other seeds"
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name in MAKERS:
        task = best(found, name)
        others = ", ".join(f"{found[task._replace(seed=seed)].val:.3f}" for seed in (1, 2))
        result = found[task]
        lines.append(f"| {name} | {task.lr:g} | {result.losses[-50:].mean():.3f} | {result.val:.3f} | {others} |")
    for name in MAKERS:
        lines += ["", f"| {name} | " + " | ".join(f"{lr:g}" for lr in RATES[name]) + " |",
                  "|---" * (1 + len(RATES[name])) + "|"]
        for variant in VARIANTS:
            values = [found[Task(name, lr, variant)].val for lr in RATES[name]]
            cells = ["diverged" if math.isnan(value) else f"{value:.3f}" for value in values]
            lines.append(f"| {variant} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def curves(ax: Axes, found: dict[Task, Result]) -> None:
    """Draw the training loss of each optimiser at its best learning rate."""
    dress(ax, "Each at its best learning rate", "step", "training loss, mean of 20 steps")
    entries = []
    for name in MAKERS:
        task = best(found, name)
        (line,) = ax.plot(smooth(found[task].losses, 20), color=COLOURS[name], linewidth=1.6)
        entries.append((line, f"{name}, lr {task.lr:g}"))
    ax.set_ylim(2.3, 4.3)
    legend(ax, entries, loc="upper right")


def sweep(ax: Axes, found: dict[Task, Result], lines: dict[str, list[Task]], looks: dict[str, dict]) -> None:
    """Draw validation loss against learning rate; a cross at the top marks a run that diverged."""
    ax.set_xscale("log")
    top, entries, crosses = 3.5, [], 0
    for label, tasks in lines.items():
        rates = np.array([task.lr for task in tasks])
        values = np.array([found[task].val for task in tasks])
        lost = np.isnan(values)
        (line,) = ax.plot(rates, np.where(lost, np.nan, values), marker="o", markersize=4, **looks[label])
        for rate in rates[lost]:
            ax.plot(rate, top - 0.02, "x", markersize=7, color=line.get_color())
        entries.append((line, label))
        crosses += lost.sum()
    if crosses:
        entries.append((Line2D([], [], color=GREY, linestyle="", marker="x", markersize=7), "diverged"))
    ax.set_ylim(2.3, top)
    ax.margins(x=0.05)
    legend(ax, entries, loc="upper left")


def draw(found: dict[Task, Result], path: Path) -> None:
    figure = new_figure((11.0, 8.0))
    panels = figure.subplots(2, 2)
    curves(panels[0, 0], found)
    ax = panels[0, 1]
    dress(ax, "Effect of the learning rate", "peak learning rate", "validation loss")
    sweep(ax, found, {name: [Task(name, lr, BOTH) for lr in RATES[name]] for name in MAKERS},
          {name: {"color": COLOURS[name]} for name in MAKERS})
    # other colours than those of the optimisers
    looks = dict(zip(VARIANTS, ({"color": BLACK}, {"color": ORANGE, "linestyle": "--"}, {"color": SKY},
                                {"color": GREY, "linestyle": "--"}), strict=True))
    for ax, name in zip(panels[1], ("SGD, momentum 0.9", "Adam"), strict=True):
        dress(ax, f"{name}: with and without", "peak learning rate", "validation loss")
        sweep(ax, found, {variant: [Task(name, lr, variant) for lr in RATES[name]] for variant in VARIANTS}, looks)
    save(figure, path)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    found = all_runs()
    (ROOT / "assets/outputs/optimizers.md").write_text(tables(found), encoding="utf-8")
    draw(found, ROOT / "assets/pictures/optimizers.png")
    print(tables(found), end="")
    print(f"{len(found)} runs, {sum(result.seconds for result in found.values()):,.0f} s of processor time")


if __name__ == "__main__":
    main()
