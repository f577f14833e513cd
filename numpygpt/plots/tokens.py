"""A text in which each token stands on the colour of its loss."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from functools import cached_property

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure

from numpygpt.inspection.score import TextScores
from numpygpt.plots.glyphs import drawable_in
from numpygpt.plots.style import FONT, GREY, INK, SIZE, head
from numpygpt.tokenizer import Tokenizer
from numpygpt.tokenizer.display import text_tokens
from numpygpt.utils.colour import arranged, width

COLUMNS, FEWEST = 80, 60  # cells of a line at most; a text of shorter lines has fewer cells, and larger letters
LETTERS, LINE = 880, 1280  # points, over the cells of a line: the letters, and from line to line
REST = 1.7  # inches: title and colour bar
FAMILY = "DejaVu Sans Mono"  # comes with matplotlib
COLOUR_MAP = "magma_r"  # from paper to dark, like the terminal's scale: what is no surprise reads like a page
SPACE = 2.0  # bits from which a space gets its sign

Line = list[tuple[int, list[str]]]  # which token, and its signs that stand there


@dataclass(frozen=True)
class Page:
    """The text's first lines, and the number of its tokens that stand in them."""

    lines: list[Line]
    count: int
    numbered: bool  # whether the font lacks a character, which is then shown by its number

    @cached_property
    def columns(self) -> int:
        """The cells of a line."""
        return max(FEWEST, *(sum(width(sign) for _, part in line for sign in part) for line in self.lines), 0)


def lay_out(tokenizer: Tokenizer, ids: np.ndarray, most: int) -> Page:
    """The tokens in at most `most` lines, which end where the text has a new line."""
    tokens = list(text_tokens(tokenizer, ids[: most * COLUMNS].tolist()))  # each takes a cell or more
    shown = [[drawable_in(FAMILY, sign) for sign in token] for token in tokens]
    lines = arranged(shown, COLUMNS)[:most]
    count = lines[-1][-1][0] + 1 if lines else 0
    return Page(lines, count, shown[:count] != tokens[:count])


def draw_tokens(figure: Figure, page: Page, text: TextScores, title: str, words: str) -> None:
    """The page with `words` above it, a colour bar below, and `title` over all."""
    ax, below = figure.subplots(2, 1, height_ratios=[len(page.lines) * LINE / page.columns, FONT])
    top = scale_top(text.bits)
    colours = matplotlib.colormaps[COLOUR_MAP].with_extremes(bad="white")
    boxes = draw_page(ax, page, text.bits, colours, Normalize(0, top))
    beyond = bool(np.nanmax(text.bits) > top)
    bar = figure.colorbar(boxes, cax=below, orientation="horizontal", extend="max" if beyond else "neither")
    bar.set_label("loss of a token (bits)", fontsize=FONT, color=INK)
    bar.ax.tick_params(labelsize=FONT - 1, colors=INK, labelcolor=INK)
    bar.outline.set(edgecolor=GREY, linewidth=0.6)
    ax.set_title(textwrap.fill(words, 130), loc="left", fontsize=FONT - 1, color=GREY).set_parse_math(False)
    head(figure, title)


def size(page: Page) -> tuple[float, float]:
    """Of the figure, in inches."""
    return SIZE[0], len(page.lines) * LINE / page.columns / 72 + REST


def scale_top(bits: np.ndarray) -> float:
    """Where the colours end: at whole bits that one token in a hundred is above, not at the one that is highest."""
    return max(4.0, math.ceil(np.nanpercentile(bits, 99)))


def draw_page(ax: Axes, page: Page, bits: np.ndarray, colours: Colormap, norm: Normalize) -> PolyCollection:
    """A box for each token, its letters in their cells. Without a prediction the box is white."""
    shapes, values = [], []
    for y, line in enumerate(page.lines):
        x = 0
        for at, part in line:
            gap = int(part[0] == " ")  # a space that belongs to no token
            start = x = x + gap
            for sign in part[gap:]:
                write(ax, sign, x, y, bits[at], LETTERS / page.columns, colours(norm(bits[at])))
                x += width(sign)
            shapes.append([(start, y + 0.06), (x, y + 0.06), (x, y + 0.94), (start, y + 0.94)])
            values.append(bits[at])
    boxes = PolyCollection(shapes, cmap=colours, norm=norm, edgecolor="white", linewidth=1)
    boxes.set_array(np.ma.masked_invalid(values))
    ax.add_collection(boxes)
    ax.set(xlim=(0, page.columns), ylim=(len(page.lines), 0))
    ax.axis("off")
    return boxes


def write(ax: Axes, sign: str, x: int, y: int, bits: float, font: float, box: tuple[float, ...]) -> None:
    """A sign in its cells, light on a dark box. A space shows only where it is a surprise."""
    if sign == "·" and bits < SPACE:
        return
    dark = 0.2126 * box[0] + 0.7152 * box[1] + 0.0722 * box[2] < 0.5
    words = ax.text(x + width(sign) / 2, y + 0.5, sign, family=FAMILY, fontsize=font, ha="center",
                    va="center_baseline", color="white" if dark else INK)  # fmt: skip
    words.set(parse_math=False, in_layout=False)
