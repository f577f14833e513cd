"""Heat maps with tokens on their axes: colours, labels that do not overlap, numbers in the cells, colour bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import AxesImage
from matplotlib.text import Text

from numpygpt.plots.style import FONT, GREY, INK

COLOUR_MAP = "cividis"  # from dark to bright, for every eye and in print without colour
LINE = 1.25  # height of a line of text, in font sizes
EMPTY = "#BBBBBB"  # the hatching of empty cells


def draw_heat(ax: Axes, values: np.ndarray, norm: Normalize) -> AxesImage:
    """Draw `values` (rows, columns), the first row on top. A cell with a NaN is white and hatched."""
    ax.patch.set(facecolor="white", edgecolor=EMPTY, hatch="////", linewidth=0)
    image = ax.imshow(np.ma.masked_invalid(values), cmap=COLOUR_MAP, norm=norm, aspect="auto", interpolation="nearest")
    ax.tick_params(length=2, colors=INK, labelcolor=INK)
    ax.spines[:].set(color=GREY, linewidth=0.6)
    return image


def token_ticks(ax: Axes, axis: Literal["x", "y"], labels: Sequence[str], inches: float, font: float) -> None:
    """Label each row or column, or every n-th with its number: as many as have room on `inches`."""
    step = label_step(len(labels), inches, font)
    at = range(0, len(labels), step)
    shown = [f"{i}  {labels[i]}".rstrip() if step > 1 or not labels[i] else labels[i] for i in at]
    upright = axis == "y" or fits(shown, inches / len(labels) * step, font)
    words: dict[str, Any] = {"fontsize": font, "parse_math": False}
    if axis == "y":
        ax.set_yticks(at, shown, **words)
    else:
        ax.set_xticks(at, shown, rotation=0 if upright else 90, **words)


def label_step(count: int, inches: float, font: float) -> int:
    """Return n such that labels of `font` points at every n-th row do not overlap."""
    needed = count * LINE * font / 72 / inches * 0.999
    return next(step * 10**power for power in range(9) for step in (1, 2, 5) if step * 10**power >= needed)


def fits(labels: Sequence[str], inches: float, font: float) -> bool:
    return max(map(len, labels)) * 0.62 * font / 72 < 0.9 * inches


def legend_of(labels: Sequence[str]) -> list[str]:
    """Explain the signs for white space, if the labels have any."""
    return [words for words in ("·  is a space", "⏎  is a new line") if any(words[0] in label for label in labels)]


def number_cells(ax: Axes, values: np.ndarray, image: AxesImage, font: float) -> list[Text]:
    """Write each number into its cell, light on dark and dark on light; nothing into empty cells."""
    texts, empty = [], np.ma.getmaskarray(np.ma.asarray(image.get_array()))
    for (row, column), value in np.ndenumerate(values):
        if not empty[row, column]:
            texts.append(ax.text(column, row, short(value), ha="center", va="center", fontsize=font,
                                 color="white" if dark(image.cmap(image.norm(value))) else INK))
    return texts


def short(value: float) -> str:
    """Write a number between 0 and 1 in two digits: .07, and 1 or 0."""
    rounded = f"{value:.2f}"
    return rounded.removeprefix("0") if 0 < float(rounded) < 1 else "0" if float(rounded) == 0 else rounded[0]


def dark(colour: Any) -> bool:
    """Whether a colour is so dark that letters on it should be white."""
    return 0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2] < 0.5


def colour_bar(figure: Figure | SubFigure, image: ScalarMappable, axes: Any, label: str, font: float = FONT,
               **place: Any) -> Colorbar:
    bar = figure.colorbar(image, ax=axes, **place)
    bar.set_label(label, fontsize=font, color=INK)
    bar.ax.tick_params(labelsize=font - 1, colors=INK, labelcolor=INK)
    bar.outline.set(edgecolor=GREY, linewidth=0.6)
    return bar
