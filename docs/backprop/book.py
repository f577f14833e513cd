"""What the examples of the chapters share: printing, random arrays, finite differences, and a small GPT to train.

The examples import it by name, so run them in this folder: `cd docs/backprop`, then open Python or Jupyter.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from numpygpt import GPT
from numpygpt.nn import Module
from numpygpt.optim import AdamW, Optimizer
from numpygpt.verify.check import Report

SQUARES = " ".join(str(n * n) for n in range(1000))
STORY = "the cat sat on the mat. a dog ran at the cat. the rat ate the oat. " * 40


def show(name: str, array: np.ndarray, digits: int = 4) -> None:
    """Print an array, rounded."""
    print(name, "=", (np.round(array, digits) + 0.0).tolist())  # + 0.0 makes 0 of -0


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Return an array of normal numbers, the same at each call."""
    return np.random.default_rng(seed).standard_normal(shape)


def verdict(report: Report) -> None:
    """Print what a gradient check found: for each incorrect gradient its worst entry and, if known, the cause."""
    print(f"{report.module}: {'correct' if report.ok else 'INCORRECT'} ({report.entries} entries)")
    for check in report.failures:
        place = ", ".join(map(str, check.index))
        print(f"  {check.name}[{place}]: expected {check.expected + 0.0:.4f}, got {check.got + 0.0:.4f}")
        for part in filter(None, check.cause.split("; ")):
            print(textwrap.fill(part, 118, initial_indent="    ", subsequent_indent="      "))


def slopes(layer: Callable[[np.ndarray], np.ndarray], X: np.ndarray, G: np.ndarray, h: float = 1e-4) -> np.ndarray:
    """Return dL/dX by finite differences, one entry at a time, for L = sum(G * layer(X))."""
    found = np.empty_like(X)
    for place in np.ndindex(X.shape):
        def L(step: float, place: tuple[int, ...] = place) -> float:
            moved = X.copy()
            moved[place] += step
            return float(np.sum(G * layer(moved)))
        found[place] = (8 * (L(h) - L(-h)) - (L(2 * h) - L(-2 * h))) / (12 * h)
    return found


def swap(model: Module, right: type[Module], wrong: type[Module]) -> None:
    """Give every layer of class `right` the methods of `wrong`; its arrays stay."""
    for _, layer in list(model.named_modules()):
        if type(layer) is right:
            object.__setattr__(layer, "__class__", wrong)


def train(right: type[Module] | None = None, wrong: type[Module] | None = None, *, text: str = SQUARES,
          steps: int = 200, seed: int = 0, optimizer: type[Optimizer] = AdamW, lr: float = 3e-3, ignored: int = 0,
          **config) -> tuple[GPT, np.ndarray]:
    """Train a GPT of two layers and 16 features on the characters of `text`; return it and its loss at each step.

    With `right` and `wrong`, each layer of class `right` gets the backward of class `wrong`. The first `ignored`
    targets of each sequence do not count. `config` changes the model.
    """
    letters = sorted(set(text))
    ids = np.array([letters.index(letter) for letter in text])
    sizes = {"max_len": 16, "d_model": 16, "n_heads": 2, "n_layers": 2, "seed": seed, "dtype": "float64"}
    model = GPT(vocab_size=len(letters), **sizes | config)
    if right is not None and wrong is not None:
        swap(model, right, wrong)
    update, rng, losses = optimizer(model, lr=lr), np.random.default_rng(seed), []
    for _ in range(steps):
        window = ids[rng.integers(0, len(ids) - 17, (8, 1)) + np.arange(17)]  # (8, 17)
        x, y = window[:, :-1], window[:, 1:].copy()
        y[:, :ignored] = -1
        losses.append(model.loss(x, y))
        model.backward()
        update.step()
        update.zero_grad()
    return model, np.array(losses)


def curve(name: str, losses: np.ndarray) -> None:
    """Print the first loss and the means of the 50 losses in the middle and at the end."""
    middle = len(losses) // 2
    print(f"{name:<30} {losses[0]:5.2f} -> {losses[middle - 50 : middle].mean():.2f} -> {losses[-50:].mean():.2f}")
