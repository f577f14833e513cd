"""./plot.py embeddings: the token vectors in two dimensions, and the nearest neighbours of some of them."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from numpygpt.data.statistics import token_counts
from numpygpt.inspection.neighbours import nearest, principal_components
from numpygpt.inspection.vocabulary import CLASSES, find_tokens, token_class
from numpygpt.plots.glyphs import token_label, token_labels
from numpygpt.plots.labels import place_labels
from numpygpt.plots.loaded import LoadedModel, add_run, load_model
from numpygpt.plots.output import NewFigure, Output
from numpygpt.plots.style import COLOURS, FONT, GREY, INK, dress, head, legend, picture
from numpygpt.tokenizer import Tokenizer
from numpygpt.tokenizer.display import token_cell

MAX_ROWS = 20  # tokens in the table, and neighbours of each
COLOUR = dict(zip(CLASSES, (*COLOURS[:5], COLOURS[6], GREY), strict=True))  # not sky blue: too light for words
MERGED = 3  # characters of a token worth showing, if its frequency is unknown
LETTER = 0.68  # width of a letter, as a fraction of the font's size
# Signs of one or two pixels: the picture also names them.
SIGNS = {"·": "space", "⏎": "new line", ".": "period", ",": "comma", "'": "apostrophe", "`": "backtick", '"': "quote",
         ":": "colon", ";": "semicolon", "-": "hyphen", "_": "underscore", "|": "bar"}


@dataclass(frozen=True)
class Plane:
    """Tokens to draw: `points` (N, 2) along the principal components, which explain `shares` (2,) of the variance, and
    the label and class of each."""

    points: np.ndarray
    shares: np.ndarray
    labels: list[str]
    classes: list[str]


@dataclass(frozen=True)
class Row:
    label: str
    near: list[tuple[str, float]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("--neighbours", metavar="TOKEN", nargs="+", action="extend",
                        help=r"list the nearest tokens of these, written as in the picture: ⏎ or '\n' is a new line, "
                             "' ' or · a space (default: the most frequent of each kind)")
    parser.add_argument("--nearest", type=int, default=5, metavar="N", help=f"neighbours of each, at most {MAX_ROWS}")
    parser.add_argument("--tokens", type=int, default=120, metavar="N", help="draw this many, the most frequent")


def make(args: Namespace, new_figure: NewFigure) -> Output:
    if not 1 <= args.nearest <= MAX_ROWS:
        raise ValueError(f"--nearest must be between 1 and {MAX_ROWS}, got {args.nearest}")
    if args.tokens < 3:
        raise ValueError(f"--tokens must be at least 3, got {args.tokens}")
    loaded = load_model(args)
    tokenizer, W = loaded.tokenizer, loaded.model.wte.W
    order, by = ranked(loaded)
    ids = order[: args.tokens]
    classes = [token_class(tokenizer, id) for id in ids]
    wanted = find_tokens(tokenizer, args.neighbours) if args.neighbours else typical(ids, classes)
    if len(wanted) > MAX_ROWS:
        raise ValueError(f"--neighbours takes at most {MAX_ROWS} tokens, got {len(wanted)}")
    near = {id: nearest(W, id, args.nearest) for id in wanted}
    rows = [Row(named(token_label(tokenizer, id)), [(named(token_label(tokenizer, int(other), 12)), float(cosine))
                                                    for other, cosine in zip(*near[id], strict=True)])
            for id in wanted]
    plane = Plane(*principal_components(W[ids]), list(map(named, token_labels(tokenizer, ids, most=12))), classes)
    figure = new_figure(size(rows))
    which = f"all {len(ids)} tokens" if len(ids) == len(W) else f"{len(ids):,} of {len(W):,} tokens ({by})"
    draw_embeddings(figure, plane, rows, f"Token vectors (wte): {loaded.name}", which)
    return picture(figure, loaded.place("embeddings.png"), [loaded.line, *table(tokenizer, near)])


def ranked(loaded: LoadedModel) -> tuple[list[int], str]:
    """Return the ids, the most frequent in the training text first, without those that never occur, and words for that.

    If the data folder is gone or has changed, or the model is pretrained: the ids in their order. A BPE tokenizer
    merged the most frequent pairs first; its single characters and fragments are left out.
    """
    try:
        dataset = loaded.dataset()
    except (FileNotFoundError, ValueError):
        tokenizer, ids = loaded.tokenizer, list(range(loaded.tokenizer.vocab_size))
        merged = [id for id in ids if len(tokenizer.token_text(id)) >= MERGED and token_class(tokenizer, id) != "other"]
        if tokenizer.kind == "bpe" and len(merged) >= 3:
            return merged, f"the first merges with {MERGED} characters or more"
        return ids, "the lowest ids"
    counts = token_counts(dataset.train, dataset.vocab_size)  # (V,)
    order = np.argsort(-counts, kind="stable")
    return order[: max(3, (counts > 0).sum())].tolist(), "the most frequent"


def typical(ids: list[int], classes: list[str]) -> list[int]:
    found: list[int] = []
    for kind in CLASSES[:-1]:
        found += [id for id, its in zip(ids, classes, strict=True) if its == kind][: 2 if kind == CLASSES[0] else 1]
    return found


def named(label: str) -> str:
    """Return the label of a token, with its name if the sign is hard to see."""
    return f"{label} {SIGNS[label]}" if label in SIGNS else label


def table(tokenizer: Tokenizer, near: dict[int, tuple[np.ndarray, np.ndarray]]) -> list[str]:
    lines = ["nearest by cosine:"]
    for id, (ids, cosines) in near.items():
        cells = [f"{token_cell(tokenizer, int(other), 12)} {cosine:.2f}"
                 for other, cosine in zip(ids, cosines, strict=True)]
        lines.append(f"  {token_cell(tokenizer, id, 12):<12} {'   '.join(cells)}")
    return lines


def size(rows: Sequence[Row]) -> tuple[float, float]:
    return 10.0, max(7.6, 1.8 + 0.19 * table_lines(rows))


def draw_embeddings(figure: Figure, plane: Plane, rows: Sequence[Row], title: str, which: str) -> None:
    """Draw the plane, and the table to its right. `which` says which tokens these are."""
    ax, table = figure.subplots(1, 2, width_ratios=(4.2, 1))
    first, second = plane.shares
    dress(ax, "Principal components", f"first component ({first:.1%} of the variance)",
          f"second component ({second:.1%} of the variance)")
    dots = ax.scatter(*plane.points.T, c=[COLOUR[kind] for kind in plane.classes], linewidths=0)
    ax.margins(0.05)
    draw_table(table, rows)
    entries: list[tuple[Artist, str]] = [
        (Line2D([], [], color=COLOUR[kind], linestyle="", marker="s", markersize=8), kind)
        for kind in CLASSES if kind in plane.classes
    ]
    legend(figure, entries, loc="outside lower left", ncols=len(entries), handletextpad=0.2, columnspacing=1.2)
    head(figure, title, f"{which}; these two axes show only {first + second:.0%} of the variance, so tokens that look "
                        "close may be far apart")
    figure.draw_without_rendering()  # the panels get their sizes
    on_point = write_labels(ax, plane)
    dots.set_sizes(np.where(on_point, 0, 7))  # a label on its point needs no dot


def write_labels(ax: Axes, plane: Plane) -> np.ndarray:
    """Write each label on its point, or near it with a line to the point. Returns which labels are on their point (N,).

    Without room a point has no label."""
    pixels = ax.transData.transform(plane.points)
    font = FONT if len(plane.labels) <= 200 else FONT - 2
    unit, to_points = font * ax.figure.dpi / 72, 72 / ax.figure.dpi
    sizes = [((len(label) + 0.6) * LETTER * unit, 1.25 * unit) for label in plane.labels]
    frame = ax.get_window_extent()
    places = place_labels(pixels, sizes, (frame.x0, frame.y0, frame.x1, frame.y1))
    for point, at, place, label, kind in zip(plane.points, pixels, places, plane.labels, plane.classes, strict=True):
        if place is not None:
            offset = tuple(np.subtract(place, at) * to_points)
            line = {"arrowstyle": "-", "color": COLOUR[kind], "linewidth": 0.5, "alpha": 0.5}
            words = ax.annotate(label, point, xytext=offset, textcoords="offset points", ha="center", va="center",
                                fontsize=font, color=COLOUR[kind], parse_math=False,
                                arrowprops=line if np.hypot(*offset) > font else None)
            words.set(in_layout=False, path_effects=[withStroke(linewidth=2, foreground="white")], zorder=3)
    if hidden := places.count(None):
        ax.set_xlabel(f"{ax.get_xlabel()}; {hidden:,} points have no room for a label")
    return np.array([place is not None and tuple(place) == tuple(at) for place, at in zip(places, pixels, strict=True)])


def draw_table(ax: Axes, rows: Sequence[Row]) -> None:
    ax.set_axis_off()
    ax.set_title("Nearest by cosine", loc="left", fontsize=FONT + 1, fontweight="bold", color=INK)
    lines, at = table_lines(rows), 0.5
    for row in rows:
        cell(ax, 0.0, 1 - at / lines, row.label, fontweight="bold")
        for i, (label, cosine) in enumerate(row.near, 1):
            cell(ax, 0.1, 1 - (at + i) / lines, label)
            cell(ax, 1.0, 1 - (at + i) / lines, f"{cosine:+.2f}".replace("-", "\N{MINUS SIGN}"), ha="right")
        at += len(row.near) + 1.5


def table_lines(rows: Sequence[Row]) -> float:
    """Return the number of lines of the table, at least 30 so that few rows stay close together."""
    return max(30.0, 0.5 + sum(len(row.near) + 1.5 for row in rows))


def cell(ax: Axes, x: float, y: float, words: str, **look: Any) -> None:
    ax.text(x, y, words, transform=ax.transAxes, va="top", fontsize=FONT, color=INK, parse_math=False, **look)
