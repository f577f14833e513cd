"""Gradients and activations down the depth of a model: norms, norms by position, and distributions of the entries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator, NullFormatter

from numpygpt.inspection.flow import ResidualFlow, common_range
from numpygpt.plots.heat import colour_bar, draw_heat, label_step
from numpygpt.plots.style import BLUE, FONT, GREEN, INK, VERMILLION, dress, head

BINS = 120
UNIT = "nats per unit of X"
HEIGHT = 0.85  # of a distribution, where the next one begins at 1


def size(n_layers: int) -> tuple[float, float]:
    """Of the figure, in inches: each layer has its line in every panel."""
    return 9.6, float(np.clip(4.4 + 0.8 * n_layers, 6.6, 16))


def draw_gradients(figure: Figure, flow: ResidualFlow, title: str) -> None:
    """Two panels of norms over three of distributions. Down is deeper in all of them, as the forward pass goes."""
    n_layers = len(flow.middle)
    blocks = [f"block {i}" for i in range(n_layers)]
    places = ["embedding", *blocks]
    halves: Any = figure.subfigures(2, 1, height_ratios=(1, 1.25))
    above, below = halves
    norms, heat = above.subplots(1, 2, width_ratios=(1, 1.6))
    inches = figure.get_figheight() * 0.35  # of a panel's height
    draw_norms(norms, flow.norms, places, inches)
    draw_positions(above, heat, flow.norms_by_position, places, inches)
    gradients, stream, middle = below.subplots(1, 3)
    draw_ridges(gradients, list(flow.gradients), places, VERMILLION, inches)
    dress_ridges(gradients, "Gradients", "dL/dX at the block's output / its std")
    draw_ridges(stream, list(flow.stream), places, BLUE, inches)
    dress_ridges(stream, "Activations", "X, the block's output / its std")
    draw_ridges(middle, flow.middle, blocks, GREEN, inches)
    dress_ridges(middle, "Inside the feed-forward", "output of the activation / its std")
    below.supxlabel("each distribution of entries to its own height and in units of its own standard deviation (std); "
                    "at most 0.5 % of one lies outside", fontsize=FONT - 1, color=INK)
    head(figure, title)


def draw_norms(ax: Axes, norms: np.ndarray, places: Sequence[str], inches: float) -> None:
    """The norm over the whole batch, a point for each place, between whole powers of ten."""
    low, high = (float(10.0**end) for end in (np.floor(np.log10(norms.min())), np.ceil(np.log10(1.01 * norms.max()))))
    ax.plot(norms, range(len(norms)), "o-", color=VERMILLION, linewidth=1.6, markersize=5, label="norm of dL/dX")
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    ax.xaxis.set_minor_formatter(NullFormatter())
    for i in range(0, len(norms), label_step(len(norms), inches, FONT)):
        norm = norms[i]
        left = norm > np.sqrt(low * high)  # its number goes where there is room
        ax.annotate(f"{norm:.3g}", (norm, i), xytext=(-7 if left else 7, 3), textcoords="offset points",
                    ha="right" if left else "left", va="bottom", fontsize=FONT - 2, color=INK,
                    bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5})  # fmt: skip
    depth_axis(ax, places, inches)
    dress(ax, "Norm of dL/dX", f"norm over the batch ({UNIT})", "")
    ax.margins(x=0)


def draw_positions(figure: SubFigure, ax: Axes, norms: np.ndarray, places: Sequence[str], inches: float) -> None:
    """The same by position: norms (L + 1, T)."""
    known = norms[norms > 0]
    low, high = float(known.min()), float(max(known.max(), 1.5 * known.min()))
    image = draw_heat(ax, np.where(norms > 0, norms, np.nan), LogNorm(low, high))
    depth_axis(ax, places, inches)
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    dress(ax, "The same, by position", "position in the context (token)", "")
    ax.grid(False)
    bar = colour_bar(figure, image, ax, f"norm ({UNIT})", FONT - 1)
    ticks = np.geomspace(low, high, 5).tolist()
    bar.set_ticks(ticks, labels=[f"{tick:.2g}" for tick in ticks])
    bar.minorticks_off()


def depth_axis(ax: Axes, places: Sequence[str], inches: float) -> None:
    """The places from top to bottom, as many named as stand clear."""
    step = label_step(len(places), inches, FONT)
    ax.set_yticks(range(0, len(places), step), places[::step])
    ax.set_ylim(len(places) - 0.5, -0.5)


def draw_ridges(ax: Axes, arrays: Sequence[np.ndarray], names: Sequence[str], colour: str, inches: float) -> None:
    """A distribution for each array, in units of its own standard deviation, so that their shapes compare where their
    sizes differ. Exact zeros are counted in words: their bar would hide the rest."""
    spreads = [float(array.std(dtype=np.float64)) for array in arrays]
    scaled = [array / (spread or 1) for array, spread in zip(arrays, spreads, strict=True)]
    edges = np.linspace(*widened(common_range(scaled)), BINS + 1)
    for i, array in enumerate(scaled):
        counts, _ = np.histogram(array[array != 0], edges)
        heights = HEIGHT * counts / max(counts.max(), 1)
        ax.stairs(i - heights, edges, baseline=i, fill=True, color=colour, alpha=0.55, zorder=2 + i)
        ax.stairs(i - heights, edges, baseline=i, color=colour, linewidth=0.9, zorder=2 + i, label=names[i])
    for i in range(0, len(arrays), label_step(len(arrays), inches, 2 * (FONT - 2))):  # two lines each
        zeros = np.mean(arrays[i] == 0)
        words = f"std {spreads[i]:.2g}" + (f"\n{zeros:.0%} are 0" if zeros > 0.005 else "")
        ax.annotate(words, (1, i), xycoords=("axes fraction", "data"), xytext=(2, 0), textcoords="offset points",
                    ha="left", va="bottom", fontsize=FONT - 2, color=INK)  # fmt: skip
    depth_axis(ax, names, inches)
    ax.set_ylim(len(names) - 0.7, -1.15)


def widened(limits: tuple[float, float]) -> tuple[float, float]:
    low, high = limits
    return (low, high) if high > low else (low - 1, high + 1)


def dress_ridges(ax: Axes, title: str, x: str) -> None:
    dress(ax, title, x, "")
    ax.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", "\N{MINUS SIGN}"))
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
