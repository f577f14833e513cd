"""Train the package's GPT with your own RMSNorm, SwiGLU and label smoothing in it.

    python docs/exercises/swap.py                       all three of docs/exercises
    python docs/exercises/swap.py rmsnorm swiglu        some of them
    python docs/exercises/swap.py --all                 the solutions: none, each alone, and all three, on three seeds;
                                                        writes assets/outputs/exercises.md

Reads data/shakespeare_char, which ./datagen.py makes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import marker  # first: it finds the package
import numpy as np

from numpygpt import GPT
from numpygpt.data import DEFAULT_FOLDER, DataLoader, TokenDataset, eval_batches
from numpygpt.nn import CrossEntropyLoss
from numpygpt.optim import AdamW, clip_grad_norm
from numpygpt.optim.lr_scheduler import WarmupCosineLR
from numpygpt.parallel.threads import blas_threads
from numpygpt.utils.paths import ROOT

HERE = Path(__file__).resolve().parent
SIZES = {"max_len": 32, "d_model": 32, "n_heads": 4, "n_layers": 2}
BATCH, STEPS, LR, EVALUATED = 12, 800, 1e-2, 8192  # sequences, steps, peak learning rate, tokens


def rmsnorm(model: GPT, folder: Path) -> None:
    RMSNorm = marker.step(folder / "x", 13).RMSNorm
    for block in model.blocks:
        block.norm1, block.norm2 = RMSNorm(SIZES["d_model"]), RMSNorm(SIZES["d_model"])
    model.norm_f = RMSNorm(SIZES["d_model"])


def swiglu(model: GPT, folder: Path) -> None:
    SwiGLU = marker.step(folder / "x", 14).SwiGLU
    for i, block in enumerate(model.blocks):
        block.ffn = SwiGLU(SIZES["d_model"], rng=i)


def smoothing(model: GPT, folder: Path) -> None:
    model.criterion = marker.step(folder / "x", 15).SmoothedCrossEntropy(0.1)


def small(model: GPT, folder: Path) -> None:
    """Draw all matrices again with GPT-2's standard deviations, including those that were swapped in: 0.02, divided by
    sqrt(2 n_layers) for those that write to the residual stream."""
    rng = np.random.default_rng(0)
    for name, param in model.named_parameters():
        if param.ndim >= 2:
            std = 0.02 / (2 * SIZES["n_layers"]) ** 0.5 if name.endswith("proj.W") else 0.02
            param[...] = std * rng.standard_normal(param.shape, np.float32)


def wide(model: GPT, folder: Path) -> None:
    """Draw the first matrix of each feed-forward network with SwiGLU's standard deviation, 1/sqrt(C)."""
    for i, block in enumerate(model.blocks):
        block.ffn.fc.W = np.random.default_rng(i).standard_normal(block.ffn.fc.W.shape) / SIZES["d_model"] ** 0.5


SWAPS = {"rmsnorm": rmsnorm, "swiglu": swiglu, "smoothing": smoothing}
CONTROLS = {"small": small, "wide": wide}
ROWS = {"nothing": [], "nothing, but W1 starts at 1/sqrt(C)": ["wide"], "RMSNorm": ["rmsnorm"], "SwiGLU": ["swiglu"],
        "SwiGLU, all matrices start at 0.02": ["swiglu", "small"], "label smoothing 0.1": ["smoothing"],
        "all three": list(SWAPS)}


def trained(names: list[str], folder: Path, data: TokenDataset, steps: int = STEPS, seed: int = 0) -> tuple[GPT, float]:
    """Train a model; return it and its plain cross-entropy on validation tokens, whatever its criterion was."""
    model = GPT(vocab_size=data.vocab_size, **SIZES, seed=seed)
    for name in names:
        (SWAPS | CONTROLS)[name](model, folder)
    optimizer = AdamW(model, LR, (0.9, 0.99), weight_decay=0.1)
    schedule = WarmupCosineLR(optimizer, min(30, steps), steps, LR / 10)
    loader = DataLoader(data.train, BATCH, SIZES["max_len"], seed)
    for _ in range(steps):
        x, y = loader.next_batch()
        model(x, targets=y)  # uses model.criterion; model.loss(x, y) does not
        model.backward()
        clip_grad_norm(model, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    model.eval().criterion = CrossEntropyLoss()
    batches = [(model(x, targets=y)[1] * (y >= 0).sum(), (y >= 0).sum())
               for x, y in eval_batches(data.val[:EVALUATED], 64, SIZES["max_len"])]
    total, count = np.sum(batches, axis=0)
    return model, float(total / count)


def table(data: TokenDataset, steps: int = STEPS, seeds: tuple[int, ...] = (0, 1, 2)) -> str:
    """Return the table of the solutions: a row for each choice, a column for each seed."""
    lines = ["| swapped in | parameters | " + " | ".join(f"seed {seed}" for seed in seeds) + " |",
             "|---" * (2 + len(seeds)) + "|"]
    for label, names in ROWS.items():
        runs = [trained(names, HERE / "solutions", data, steps, seed) for seed in seeds]
        losses = " | ".join(f"{loss:.3f}" for _, loss in runs)
        lines.append(f"| {label} | {runs[0][0].n_params():,} | {losses} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="LAYER", help=f"any of {', '.join(SWAPS)}; without one, all three")
    parser.add_argument("--solutions", action="store_true", help="use the layers of docs/exercises/solutions")
    parser.add_argument("--all", action="store_true", help="train with the solutions: none, each alone, all three")
    args = parser.parse_args()
    if unknown := set(args.names) - set(SWAPS):
        parser.error(f"{', '.join(sorted(unknown))}: choose from {', '.join(SWAPS)}")
    data = TokenDataset.load(DEFAULT_FOLDER)
    with blas_threads(1):
        if args.all:
            (ROOT / "assets/outputs/exercises.md").write_text(text := table(data), encoding="utf-8")
            print(text, end="")
            return
        names = args.names or list(SWAPS)
        try:
            _, loss = trained(names, HERE / "solutions" if args.solutions else HERE, data)
        except NotImplementedError as blank:
            parser.exit(1, f"still blank, {marker.place(blank)}:\n  {blank}\n")
        print(f"{', '.join(names)}: validation loss {loss:.3f} after {STEPS} steps")


if __name__ == "__main__":
    main()
