"""Formatting of the walk through a step: numbers, shapes, and lines of at most 100 columns."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

import numpy as np

from numpygpt.inspection.stats import Stats
from numpygpt.inspection.surprise import fitted
from numpygpt.tokenizer import Tokenizer
from numpygpt.tokenizer.display import token_signs
from numpygpt.utils.colour import bold, paint, width

COLUMNS = 100
SHOWN = 8  # tokens of the first sequence
NUMBER = 9  # columns of the longest result of `number`
SHAPE = 13
MIN_WORDS = 30  # columns for words beside numbers; with less room they go below


class Lines:
    """Collects lines. `name` is the width of the first column; `colour` highlights headings."""

    def __init__(self, name: int, colour: bool):
        self.name, self.colour = name, colour
        self.lines: list[str] = []

    def banner(self, title: str, words: str, background: int) -> None:
        first, *more = textwrap.wrap(words, COLUMNS, initial_indent=" " * (len(title) + 2))
        start = paint(f"{title}:", background) if self.colour else f"{title}:"
        self.lines += ["", start + first[len(title) + 1 :], *more]

    def heading(self, text: str) -> None:
        self.lines += [bold(line) if self.colour else line for line in textwrap.wrap(text, COLUMNS)]

    def numbers(self, name: str, sizes: Sequence[int], stats: Stats | None, what: str) -> None:
        """A row with an array's shape, mean and standard deviation."""
        cells = [cell(stats.mean), cell(stats.std)] if stats else []
        self.row(name, [shape(sizes), *cells], what)

    def words(self, text: str, indent: int = 0) -> None:
        self.lines += textwrap.wrap(text, COLUMNS, initial_indent=" " * indent, subsequent_indent=" " * (indent + 2))

    def row(self, name: str, cells: Sequence[str], words: str = "") -> None:
        """A name, cells, and words beside them, or below them if there is no room."""
        line = f"{name:<{self.name}}"
        for cell in cells:
            if width(line) + 1 + width(cell) > COLUMNS:  # very large shapes, or deep names
                self.lines.append(line.rstrip())
                line = " " * self.name
            line += " " + cell
        line = line.rstrip()
        room = COLUMNS - width(line) - 2
        if not words or room < min(MIN_WORDS, width(words)):
            self.lines.append(line)
            self.words(words, indent=4)
            return
        first, *more = textwrap.wrap(words, room)
        self.lines += [f"{line}  {first}", *(" " * (COLUMNS - room) + text for text in more)]

    def head(self, cells: Sequence[str], words: str = "") -> None:
        self.row("", cells, words)
        self.heading(self.lines.pop())


def number(value: float) -> str:
    """Three or four significant digits: 0.02, 12.34, 1234, 1.23e-05."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}".replace("-0", "0")
    if 1e-3 <= abs(value) < 9999.5:
        return f"{value:#.4g}".rstrip(".")
    return f"{value:.2e}"


def cell(value: float) -> str:
    """A right-aligned number, or `-` for NaN."""
    return f"{'-' if math.isnan(value) else number(value):>{NUMBER}}"


def shape(array: np.ndarray | Sequence[int]) -> str:
    """(16,128,256)"""
    sizes = array.shape if isinstance(array, np.ndarray) else array
    return f"{'(' + ','.join(map(str, sizes)) + ')':<{SHAPE}}"


def token_texts(tokenizer: Tokenizer, ids: np.ndarray, columns: int) -> list[str]:
    """The text of each id, in visible signs, shortened to `columns`."""
    return [fitted(token_signs(tokenizer, int(id)), columns) for id in ids]
