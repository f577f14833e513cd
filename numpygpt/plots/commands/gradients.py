"""./plot.py gradients: norms and distributions of gradients and activations through the depth of a model."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator, NullFormatter

from numpygpt.data import DataLoader
from numpygpt.inspection.flow import ResidualFlow, common_range, flow
from numpygpt.inspection.summary import summary
from numpygpt.models import GPT
from numpygpt.plots.glyphs import drawable
from numpygpt.plots.heat import colour_bar, draw_heat, label_step
from numpygpt.plots.loaded import LoadedModel, add_run, given_ids, load_model
from numpygpt.plots.output import NewFigure, Output
from numpygpt.plots.style import BLUE, FONT, GREEN, GREY, INK, VERMILLION, dress, head, picture
from numpygpt.utils import cli

MAX_SEQUENCES = 256
MAX_BYTES = 3_000_000_000  # of cached activations, which are in memory at once
BINS = 120
UNIT = "nats per unit of X"
RIDGE = 0.85  # height of a distribution; the next one begins at 1
FOOTNOTE = ("Each distribution is scaled to the same height and to its own standard deviation (std): compare shapes.\n"
            "At most 0.5 % of the values lie outside the frame.")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("--text", metavar="FILE", type=cli.name,
                        help="take the batch from this text, or from standard input (-) (default: the validation "
                             "text of the run)")
    parser.add_argument("--batch-size", type=int, default=8, metavar="N",
                        help=f"sequences, at most {MAX_SEQUENCES}: more give smoother distributions")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="draws the sequences from the text")


def make(args: Namespace, new_figure: NewFigure) -> Output:
    if not 1 <= args.batch_size <= MAX_SEQUENCES:
        raise ValueError(f"--batch-size must be between 1 and {MAX_SEQUENCES}, got {args.batch_size}")
    if args.seed < 0:
        raise ValueError(f"--seed must be at least 0, got {args.seed}")
    loaded = load_model(args)
    tokens, where, notes = text_of(loaded, args.text)
    context = context_for(loaded.model, args.batch_size)
    if context < min(loaded.model.max_len, len(tokens) - 1):
        notes.append(f"note: {args.batch_size:,} sequences of the whole context of {loaded.model.max_len:,} tokens "
                     f"would need too much memory; each has {context:,} tokens here")
    x, y = batch(tokens, context, args.batch_size, args.seed)
    found = flow(loaded.model, x, y)
    if not found.norms.all():
        raise ValueError("a gradient of this model is 0 everywhere, so a logarithmic axis cannot show its norm")
    facts = f"{len(x):,} x {x.shape[1]:,} tokens of {where}, loss {found.loss:.3f} nats per token"
    figure = new_figure(size(len(found.middle)))
    draw_gradients(figure, found, f"Gradients: {loaded.name}", drawable(facts))
    names = ["embedding", *(f"block {i}" for i in range(len(found.middle)))]
    lines = [f"{name:<10} norm of dL/dX {norm:.3e}" for name, norm in zip(names, found.norms, strict=True)]
    return picture(figure, loaded.place("gradients.png"), [loaded.line, *notes, facts, *lines])


def text_of(loaded: LoadedModel, path: str | None) -> tuple[np.ndarray, str, list[str]]:
    """Return the ids to take a batch from, words for their source, and notes for the user."""
    if path is not None:
        ids, notes = given_ids(loaded.tokenizer, path)
        return ids, "standard input" if path == "-" else path, notes
    try:
        return loaded.dataset().val, "the validation text", []
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f"{error}; with --text FILE the batch comes from a text of your own") from error


def context_for(model: GPT, batch_size: int) -> int:
    """Return the model's context, or the largest half, quarter, ... of it at which the activations fit MAX_BYTES."""
    context = model.max_len
    while context > 1 and summary(model, batch_size, context).cached > MAX_BYTES:
        context //= 2
    return context


def batch(tokens: np.ndarray, context: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return x, y (B, T): different windows as long as the context; fewer or shorter ones from a short text."""
    if len(tokens) < 2:
        raise ValueError("the text has a single token, and a loss needs a next token: give a longer text")
    loader = DataLoader(tokens, 1, min(context, len(tokens) - 1), seed)
    loader.batch_size = min(size, len(loader.order))
    return loader.next_batch()


def size(n_layers: int) -> tuple[float, float]:
    return 9.6, float(np.clip(4.6 + 0.8 * n_layers, 6.8, 16))


def draw_gradients(figure: Figure, flow: ResidualFlow, title: str, facts: str = "") -> None:
    """Draw two panels of norms above three of distributions. In all of them, deeper layers are lower."""
    blocks = [f"block {i}" for i in range(len(flow.middle))]
    places = ["embedding", *blocks]
    halves: Any = figure.subfigures(2, 1, height_ratios=(1, 1.25))
    above, below = halves
    norms, heat = above.subplots(1, 2, width_ratios=(1, 1.6))
    inches = figure.get_figheight() * 0.35  # of a panel's height
    draw_norms(norms, flow.norms, places, inches)
    draw_positions(above, heat, flow.norms_by_position, places, inches)
    gradients, stream, middle = below.subplots(1, 3)
    draw_ridges(gradients, list(flow.gradients), places, VERMILLION, inches)
    draw_ridges(stream, list(flow.stream), places, BLUE, inches)
    draw_ridges(middle, flow.middle, blocks, GREEN, inches)
    dress(gradients, "Gradients", "dL/dX of the output X / std", "")
    dress(stream, "Activations", "output X / std", "")
    dress(middle, "Inside the feed-forward", "output of the activation / std", "")
    below.supxlabel(FOOTNOTE, fontsize=FONT - 1, color=GREY)
    head(figure, title, facts)


def draw_norms(ax: Axes, norms: np.ndarray, places: Sequence[str], inches: float) -> None:
    """Draw the norm over the whole batch, a point for each place, between whole powers of ten."""
    low, high = (float(10.0**end) for end in (np.floor(np.log10(norms.min())), np.ceil(np.log10(1.01 * norms.max()))))
    ax.plot(norms, range(len(norms)), "o-", color=VERMILLION, linewidth=1.6, markersize=5, label="norm of dL/dX")
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    ax.xaxis.set_minor_formatter(NullFormatter())
    for i in range(0, len(norms), label_step(len(norms), inches, FONT)):
        write_beside(ax, f"{norms[i]:.3g}", i, va="center")
    depth_axis(ax, places, inches)
    dress(ax, "Norm of dL/dX", f"norm over the batch ({UNIT})", "")
    ax.margins(x=0)


def write_beside(ax: Axes, words: str, row: int, va: str) -> None:
    ax.annotate(words, (1, row), xycoords=("axes fraction", "data"), xytext=(3, 0), textcoords="offset points",
                ha="left", va=va, fontsize=FONT - 2, color=INK)


def draw_positions(figure: SubFigure, ax: Axes, norms: np.ndarray, places: Sequence[str], inches: float) -> None:
    known = norms[norms > 0]
    low, high = float(known.min()), float(max(known.max(), 1.5 * known.min()))
    image = draw_heat(ax, np.where(norms > 0, norms, np.nan), LogNorm(low, high))
    depth_axis(ax, places, inches)
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    dress(ax, "Norm of dL/dX by position", "position in the context", "")
    ax.grid(False)
    bar = colour_bar(figure, image, ax, f"norm ({UNIT})", FONT - 1)
    ticks = np.geomspace(low, high, 5).tolist()
    bar.set_ticks(ticks, labels=[f"{tick:.2g}" for tick in ticks])
    bar.minorticks_off()


def depth_axis(ax: Axes, places: Sequence[str], inches: float) -> None:
    """Name the places from top to bottom, as many as have room."""
    step = label_step(len(places), inches, FONT)
    ax.set_yticks(range(0, len(places), step), places[::step])
    ax.set_ylim(len(places) - 0.5, -0.5)


def draw_ridges(ax: Axes, arrays: Sequence[np.ndarray], names: Sequence[str], colour: str, inches: float) -> None:
    """Draw the distribution of each array in units of its own standard deviation, so that shapes compare although
    sizes differ. Exact zeros are only counted: their bar would flatten the rest."""
    spreads = [float(array.std(dtype=np.float64)) for array in arrays]
    scaled = [array / (spread or 1) for array, spread in zip(arrays, spreads, strict=True)]
    low, high = common_range(scaled)
    edges = np.linspace(*((low, high) if high > low else (low - 1, high + 1)), BINS + 1)
    for i, array in enumerate(scaled):
        counts, _ = np.histogram(array[array != 0], edges)
        heights = RIDGE * counts / max(counts.max(), 1)
        ax.stairs(i - heights, edges, baseline=i, fill=True, color=colour, alpha=0.55, zorder=2 + i)
        ax.stairs(i - heights, edges, baseline=i, color=colour, linewidth=0.9, zorder=2 + i, label=names[i])
    for i in range(0, len(arrays), label_step(len(arrays), inches, 2 * (FONT - 2))):  # two lines each
        zeros = np.mean(arrays[i] == 0)
        write_beside(ax, f"std {spreads[i]:.2g}" + (f"\n{zeros:.0%} are 0" if zeros > 0.005 else ""), i, va="bottom")
    depth_axis(ax, names, inches)
    ax.set_ylim(len(names) - 0.7, -1.15)
    ax.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
