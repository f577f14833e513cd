"""Draw the paths of four optimisers in a narrow valley, L(x, y) = ((x - 1)^2 + 50 (y - 0.4)^2) / 2.

Writes assets/pictures/valley.png, or the file that --out names.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository: it runs without installing it

import numpy as np
from matplotlib.axes import Axes

from numpygpt.nn import Module
from numpygpt.optim import SGD, Adam, AdamW, Optimizer
from numpygpt.plots.style import BLUE, GREEN, GREY, INK, PURPLE, VERMILLION, aside, dress, legend, new_figure, save
from numpygpt.utils.paths import ROOT

CURVATURE, LOWEST = np.array([[1.0, 50.0]]), np.array([[1.0, 0.4]])
START, STEPS = np.array([[0.0, 0.75]]), 40
OPTIMIZERS: dict[str, tuple[str, Callable[[Module], Optimizer]]] = {
    "SGD, lr 0.038": (PURPLE, lambda m: SGD(m, 0.038)),
    "SGD, lr 0.02, momentum 0.8": (GREEN, lambda m: SGD(m, 0.02, momentum=0.8)),
    "Adam, lr 0.1": (VERMILLION, lambda m: Adam(m, 0.1, (0.9, 0.99))),
    "AdamW, lr 0.1, decay 0.3": (BLUE, lambda m: AdamW(m, 0.1, (0.9, 0.99), weight_decay=0.3)),
}


def height(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the loss."""
    (a, b), (x0, y0) = CURVATURE[0], LOWEST[0]
    return (a * (x - x0) ** 2 + b * (y - y0) ** 2) / 2


class Point(Module):
    """A model of two parameters, W = [[x, y]]. It is a matrix, so that weight decay applies."""

    W: np.ndarray
    dW: np.ndarray

    def __init__(self, start: np.ndarray = START):
        self.param("W", start.astype(np.float64))

    def loss(self) -> float:
        return float(height(*self.W[0]))

    def backward(self) -> None:
        self.dW += CURVATURE * (self.W - LOWEST)


def path(make: Callable[[Module], Optimizer], steps: int = STEPS) -> np.ndarray:
    """Return the points that the optimiser visits: (steps + 1, 2)."""
    point = Point()
    optimizer, places = make(point), [point.W[0].copy()]
    for _ in range(steps):
        optimizer.zero_grad()
        point.backward()
        optimizer.step()
        places.append(point.W[0].copy())
    return np.array(places)


def draw_path(ax: Axes, name: str) -> list[Any]:
    """Draw one panel; return the entries of the legend."""
    colour, make = OPTIMIZERS[name]
    places = path(make)
    x, y = np.meshgrid(np.linspace(-0.15, 1.5, 200), np.linspace(0, 0.82, 200))
    ax.contour(x, y, height(x, y), levels=[0.03, 0.1, 0.3, 0.8, 1.8, 3.2],
               colors=[GREY], linewidths=0.6, alpha=0.6)
    ax.plot(*places.T, "-o", color=colour, markersize=2.8, linewidth=1.2)
    marks = [(*ax.plot(*places[0], "o", color=INK, markersize=6, linestyle=""), "start"),
             (*ax.plot(*LOWEST[0], "*", color=INK, markersize=10, linestyle=""), "lowest point")]
    dress(ax, name, "x: curvature 1", "y: curvature 50")
    aside(ax, f"loss {height(*places[-1]):.1g} after {STEPS} steps")
    ax.grid(False)
    ax.set_xlim(-0.15, 1.5)
    ax.set_ylim(0, 0.82)
    ax.set_aspect("equal")  # so that Adam's 45 degrees look like 45 degrees
    return marks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "assets/pictures/valley.png", metavar="FILE",
                        help="picture to write")
    out = parser.parse_args().out.absolute()
    figure = new_figure((11.0, 6.6))
    for ax, name in zip(figure.subplots(2, 2).flat, OPTIMIZERS, strict=True):
        marks = draw_path(ax, name)
    legend(figure, marks, loc="outside lower center", ncols=2)
    save(figure, out)
    print(f"wrote {out.relative_to(ROOT) if out.is_relative_to(ROOT) else out}")


if __name__ == "__main__":
    main()
