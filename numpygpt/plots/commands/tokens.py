"""./plot.py tokens: a text in which each token stands on the colour of its loss."""

from __future__ import annotations

import argparse
import math
import textwrap
from argparse import Namespace
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure

from numpygpt.data.user_text import read_ids
from numpygpt.inspection.score import TextScores, score_text
from numpygpt.inspection.surprise import shorten_middle
from numpygpt.plots.glyphs import drawable
from numpygpt.plots.heat import colour_bar, dark
from numpygpt.plots.loaded import add_run, load_model
from numpygpt.plots.output import NewFigure, Output
from numpygpt.plots.style import FONT, GREY, INK, SIZE, head, picture
from numpygpt.tokenizer import Tokenizer
from numpygpt.tokenizer.display import text_tokens
from numpygpt.utils import cli
from numpygpt.utils.colour import arranged, width
from numpygpt.utils.paths import display_path
from numpygpt.utils.units import bits_of

LINES, MAX_LINES = 28, 200
MAX_COLUMNS, MIN_COLUMNS = 80, 60  # cells of a line; a text of short lines has fewer cells, and larger letters
LETTER_POINTS, LINE_POINTS = 880, 1280  # divided by the cells of a line: size of the letters, height of a line
MARGIN = 1.7  # inches: title and colour bar
FAMILY = ["DejaVu Sans Mono", "DejaVu Sans"]  # the second for what the first lacks
COLOUR_MAP = "magma_r"  # from paper to dark, like the terminal's colours: what is no surprise looks like a page

Line = list[tuple[int, list[str]]]  # which token, and its signs in this line


@dataclass(frozen=True)
class Page:
    """The text's first lines, and how many tokens they have."""

    lines: list[Line]
    count: int
    numbered: bool  # whether the font lacks a character, which is then shown by its number

    @cached_property
    def columns(self) -> int:
        return max(MIN_COLUMNS, *(sum(width(sign) for _, part in line for sign in part) for line in self.lines), 0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=cli.name, help="the text, or standard input (-)")
    add_run(parser)
    parser.add_argument("--lines", metavar="N", type=int, default=LINES,
                        help=f"lines of the text to draw, at most {MAX_LINES}")


def make(args: Namespace, new_figure: NewFigure) -> Output:
    if not 1 <= args.lines <= MAX_LINES:
        raise ValueError(f"--lines must be between 1 and {MAX_LINES}, got {args.lines}")
    if Path(args.file).is_dir():
        raise ValueError(f"{display_path(args.file)} is a folder: the text's file comes first, then the run")
    loaded = load_model(args)
    given = read_ids(loaded.tokenizer, args.file)
    ids = given.ids
    page = lay_out(loaded.tokenizer, ids, args.lines)
    n_bytes = given.n_bytes
    if page.count < len(ids):
        n_bytes = len(loaded.tokenizer.decode(ids[: page.count]).encode("utf-8"))
    with given.noted():
        scored = score_text(loaded.model, loaded.tokenizer, given.start, ids[: page.count], n_bytes=n_bytes)
    name = "standard input" if args.file == "-" else shorten_middle(Path(args.file).name, 40)
    loss, notes = in_numbers(scored), remarks(page, scored, len(ids))
    figure = new_figure(size(page))
    draw_tokens(figure, page, scored, f"{drawable(name)}: {loss}", f"Model: {loaded.name}. {' '.join(notes)}")
    lines = [loaded.line, *(f"note: {note}" for note in given.notes), f"{name}: {loss}", *notes]
    return picture(figure, loaded.place("tokens.png"), lines)


def in_numbers(scored: TextScores) -> str:
    loss = scored.scores.loss
    return f"mean loss {loss:.3f} nats = {bits_of(loss):.2f} bits per token, {scored.bits_per_byte:.2f} bits per byte"


def remarks(page: Page, scored: TextScores, count: int) -> list[str]:
    lines = "line" if len(page.lines) == 1 else f"{len(page.lines)} lines"
    words = [f"{count:,} tokens."]
    if page.count < count:
        words = [f"Only the first {lines}, {page.count:,} of {count:,} tokens, are drawn and counted."]
    if math.isnan(scored.bits[0]):
        words.append("The first token has no prediction.")
    if page.numbered:
        words.append("A character that the font lacks is shown by its number.")
    return words


def lay_out(tokenizer: Tokenizer, ids: np.ndarray, most: int) -> Page:
    """Arrange the tokens in at most `most` lines, which end where the text has a new line."""
    tokens = list(text_tokens(tokenizer, ids[: most * MAX_COLUMNS].tolist()))  # each takes a cell or more
    shown = [[drawable(sign) for sign in token] for token in tokens]
    lines = arranged(shown, MAX_COLUMNS)[:most]
    count = lines[-1][-1][0] + 1 if lines else 0
    return Page(lines, count, shown[:count] != tokens[:count])


def size(page: Page) -> tuple[float, float]:
    return SIZE[0], len(page.lines) * LINE_POINTS / page.columns / 72 + MARGIN


def draw_tokens(figure: Figure, page: Page, text: TextScores, title: str, facts: str) -> None:
    """Draw the page, with a colour bar below, and the title and the facts above."""
    ax, below = figure.subplots(2, 1, height_ratios=[len(page.lines) * LINE_POINTS / page.columns, FONT])
    top = scale_top(text.bits)
    colours = matplotlib.colormaps[COLOUR_MAP].with_extremes(bad="white")
    boxes = draw_page(ax, page, text.bits, colours, Normalize(0, top))
    beyond = bool(np.nanmax(text.bits) > top)
    colour_bar(figure, boxes, None, "loss of a token (bits)", cax=below, orientation="horizontal",
               extend="max" if beyond else "neither")
    ax.set_title(textwrap.fill(facts, 130), loc="left", fontsize=FONT - 1, color=GREY).set_parse_math(False)
    head(figure, title)


def scale_top(bits: np.ndarray) -> float:
    """Return where the colours end: the whole number of bits that one token in a hundred exceeds."""
    return max(4.0, math.ceil(np.nanpercentile(bits, 99)))


def draw_page(ax: Axes, page: Page, bits: np.ndarray, colours: Colormap, norm: Normalize) -> PolyCollection:
    """Draw a box for each token, with its letters in their cells. A token without a prediction has a white box."""
    shapes, values = [], []
    for y, line in enumerate(page.lines):
        x = 0
        for at, part in line:
            gap = int(part[0] == " ")  # a space that belongs to no token
            start = x = x + gap
            for sign in part[gap:]:
                write(ax, sign, x, y, LETTER_POINTS / page.columns, colours(norm(bits[at])))
                x += width(sign)
            shapes.append([(start, y + 0.06), (x, y + 0.06), (x, y + 0.94), (start, y + 0.94)])
            values.append(bits[at])
    boxes = PolyCollection(shapes, cmap=colours, norm=norm, edgecolor="white", linewidth=1)
    boxes.set_array(np.ma.masked_invalid(values))
    ax.add_collection(boxes)
    ax.set(xlim=(0, page.columns), ylim=(len(page.lines), 0))
    ax.axis("off")
    return boxes


def write(ax: Axes, sign: str, x: int, y: int, font: float, box: tuple[float, ...]) -> None:
    """Write a sign into its cells, light on a dark box; the signs of spaces and new lines are faint."""
    words = ax.text(x + width(sign) / 2, y + 0.5, sign, family=FAMILY, fontsize=font, ha="center",
                    va="center_baseline", color="white" if dark(box) else INK, alpha=0.5 if sign in "·⏎" else 1.0)
    words.set(parse_math=False, in_layout=False)
