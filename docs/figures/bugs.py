"""Train a small character model correctly, and with each bug of docs/backprop/bugs.md.

Reads data/shakespeare_char, which ./datagen.py makes; writes assets/outputs/bugs.md and assets/pictures/bugs.png.
Each bug is trained with AdamW and with SGD on two seeds, 800 steps per run, one process per core.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "backprop"))

import numpy as np
import wrong
from matplotlib.axes import Axes

from numpygpt import GPT, nn
from numpygpt.data import DEFAULT_FOLDER, DataLoader, TokenDataset, eval_batches
from numpygpt.optim import SGD, AdamW, clip_grad_norm
from numpygpt.optim.lr_scheduler import WarmupCosineLR
from numpygpt.parallel.threads import blas_threads
from numpygpt.plots.series import smooth
from numpygpt.plots.style import BLUE, FONT, INK, VERMILLION, aside, dress, legend, new_figure, save
from numpygpt.utils.cores import cores
from numpygpt.utils.paths import ROOT

SIZES = {"max_len": 32, "d_model": 32, "n_heads": 4, "n_layers": 2}
BATCH, STEPS, WARMUP, CLIP, EVALUATED = 12, 800, 50, 1.0, 8192  # sequences, steps, steps, norm, tokens
SEEDS = (0, 1)
OPTIMIZERS = {"AdamW": lambda model: AdamW(model, 1e-2, (0.9, 0.99), weight_decay=0.1),
              "SGD": lambda model: SGD(model, 0.3, momentum=0.9)}


class Bug(NamedTuple):
    """How a model or its training is broken, and the correct run to compare it with."""

    name: str
    swap: tuple[type, type] | None = None  # replace layers of the first class by the second
    right: str = "correct"
    model: type[GPT] = GPT
    zero_grad: bool = True
    shifted: bool = True


RIGHT = (Bug("correct"), Bug("correct, dropout 0.2"), Bug("correct, padded"))
BUGS = (
    Bug("transposed key gradient", (nn.MultiHeadAttention, wrong.KeyTransposed)),
    Bug("missing scale on dQ", (nn.MultiHeadAttention, wrong.ScaleForgotten)),
    Bug("softmax's diagonal only", (nn.MultiHeadAttention, wrong.DiagonalOnly)),
    Bug("LayerNorm with constant statistics", (nn.LayerNorm, wrong.ConstantStatistics)),
    Bug("= for += with tied weights", (nn.Embedding, wrong.Overwrites)),
    Bug("last one wins in the embedding", (nn.Embedding, wrong.LastOneWins)),
    Bug("mean for sum over the rows", (nn.Linear, wrong.Averaged)),
    Bug("residual path forgotten", (nn.TransformerBlock, wrong.NoWayAround)),
    Bug("blocks not reversed", model=wrong.NotReversed),
    Bug("half of GELU's slope", (nn.GELU, wrong.HalfSlope)),
    Bug("float64 creeping in", (nn.GELU, wrong.WideGELU)),
    Bug("dropout scaled twice", (nn.Dropout, wrong.ScaledTwice), "correct, dropout 0.2"),
    Bug("dropout active in evaluation", (nn.Dropout, wrong.AlwaysDrops), "correct, dropout 0.2"),
    Bug("all rows, in backward alone", (nn.CrossEntropyLoss, wrong.AllRowsBackward), "correct, padded"),
    Bug("all rows, in forward too", (nn.CrossEntropyLoss, wrong.AllRows), "correct, padded"),
    Bug("missing causal mask", (nn.MultiHeadAttention, wrong.NoMask)),
    Bug("targets not shifted", shifted=False),
    Bug("forgotten zero_grad", zero_grad=False),
)


class Result(NamedTuple):
    losses: np.ndarray  # of each training batch, as the run reports it
    reported: float  # validation loss, computed by the run's own (broken) code
    true: float  # validation loss of its weights in the correct model


def trained(bug: Bug, optimizer: str, seed: int, folder: Path = DEFAULT_FOLDER, steps: int = STEPS) -> Result:
    data, padded = TokenDataset.load(folder), "padded" in (bug.name + bug.right)
    dropout = 0.2 if "dropout" in bug.right + bug.name else 0.0
    model = bug.model(vocab_size=data.vocab_size, **SIZES, dropout=dropout, seed=seed)
    if bug.swap:
        wrong.swap(model, *bug.swap)
    update = OPTIMIZERS[optimizer](model)
    schedule = WarmupCosineLR(update, min(WARMUP, steps), steps, update.lr / 10)
    loader, rng = DataLoader(data.train, BATCH, SIZES["max_len"], seed), np.random.default_rng(seed)
    losses = np.full(steps, np.nan)
    with blas_threads(1), np.errstate(all="ignore"):
        for step in range(steps):
            x, y = loader.next_batch()
            _, losses[step] = model(x, targets=targets(bug, x, y, rng if padded else None))
            model.backward()
            clip_grad_norm(model, CLIP)
            update.step()
            if bug.zero_grad:
                update.zero_grad()
            schedule.step()
        right = GPT(vocab_size=data.vocab_size, **SIZES)
        right.load_state_dict(model.state_dict())
        tokens = data.val[:EVALUATED]
        return Result(losses, evaluated(model, tokens, bug, padded), evaluated(right, tokens, RIGHT[0], False))


def targets(bug: Bug, x: np.ndarray, y: np.ndarray, rng: np.random.Generator | None) -> np.ndarray:
    """Return the targets of a batch. With a generator, pad each sequence with -1 after a random length."""
    y = (y if bug.shifted else x).copy()
    if rng is not None:
        y[np.arange(y.shape[1]) >= rng.integers(1, y.shape[1] + 1, (len(y), 1))] = -1
    return y


def evaluated(model: GPT, tokens: np.ndarray, bug: Bug, padded: bool) -> float:
    model.eval()
    rng = np.random.default_rng(0) if padded else None
    total = count = 0.0
    for x, y in eval_batches(tokens, 64, SIZES["max_len"]):
        y = targets(bug, x, np.where(y < 0, 0, y), rng)
        total += model(x, targets=y)[1] * (y >= 0).sum()
        count += (y >= 0).sum()
    return float(total / count)


def all_runs() -> dict[tuple[str, str, int], Result]:
    tasks = [(bug, name, seed) for bug in (*RIGHT, *BUGS) for name in OPTIMIZERS for seed in SEEDS]
    with ProcessPoolExecutor(cores()) as pool:
        results = pool.map(trained, *zip(*tasks, strict=True))
        return {(bug.name, name, seed): result for (bug, name, seed), result in zip(tasks, results, strict=True)}


def table(found: dict[tuple[str, str, int], Result]) -> str:
    """Return the table of docs/backprop/bugs.md; each number is the mean over the seeds."""
    head = [f"{name}: {what}" for name in OPTIMIZERS for what in ("last training losses", "validation as reported",
                                                                 "its weights in the correct model")]
    lines = [f"| run | {' | '.join(head)} |", "|---" * (len(head) + 1) + "|"]
    for bug in (*RIGHT, *BUGS):
        runs = [[found[bug.name, name, seed] for seed in SEEDS] for name in OPTIMIZERS]
        cells = [np.mean([value(run) for run in some]) for some in runs for value in VALUES]
        lines.append(f"| {bug.name} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |")
    spread = max(np.ptp([value(found[bug.name, name, seed]) for seed in SEEDS])
                 for bug in RIGHT for name in OPTIMIZERS for value in VALUES)
    return "\n".join(lines) + f"\n\nThe two seeds of a correct run differ by at most {spread:.2f}.\n"


LOW = 1.5  # a training loss that the correct model does not reach
VALUES: tuple[Any, ...] = (lambda run: run.losses[-30:].mean(), lambda run: run.reported, lambda run: run.true)


def panel(ax: Axes, bug: Bug, found: dict[tuple[str, str, int], Result], limits: tuple[float, float]) -> list[Any]:
    """Draw the training loss with AdamW on the first seed, correct and with the bug."""
    dress(ax, "", "", "")
    ax.set_title(bug.name, loc="left", fontsize=FONT, color=INK)
    entries = []
    # the correct run is a wide, pale line, which shows beside the other one where both agree
    for label, key, look in (("correct", bug.right, {"color": BLUE, "linewidth": 4.5, "alpha": 0.45}),
                             ("with the bug", bug.name, {"color": VERMILLION, "linewidth": 1.4})):
        (line,) = ax.plot(smooth(found[key, "AdamW", SEEDS[0]].losses, 15), **look)
        entries.append((line, label))
    ax.set_ylim(limits)
    return entries


def draw(found: dict[tuple[str, str, int], Result], path: Path) -> None:
    """Draw a panel per bug. Bugs with a loss that no correct model reaches come last and have their own scale."""
    figure = new_figure((9.0, 11.0))
    panels = figure.subplots(-(-len(BUGS) // 3), 3, sharex=True)
    low = {bug: found[bug.name, "AdamW", SEEDS[0]].losses[-30:].mean() < LOW for bug in BUGS}
    for ax, bug in zip(panels.flat, sorted(BUGS, key=low.__getitem__), strict=False):
        entries = panel(ax, bug, found, (0, 4.4) if low[bug] else (2, 3.6))
        if low[bug]:
            aside(ax, "from 0")
    for ax in panels[-1]:
        ax.set_xlabel("step", fontsize=FONT - 1, color=INK)
    for ax in panels[:, 0]:
        ax.set_ylabel("training loss", fontsize=FONT - 1, color=INK)
    legend(figure, entries, loc="outside lower center", ncols=2)
    save(figure, path)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    start = time.perf_counter()
    found = all_runs()
    (ROOT / "assets/outputs/bugs.md").write_text(table(found), encoding="utf-8")
    draw(found, ROOT / "assets/pictures/bugs.png")
    print(table(found), end="")
    print(f"{len(found)} runs in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
