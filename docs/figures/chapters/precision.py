"""Figures of precision.md."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from chapters.canvas import SMALL, TEXT, drawing, figure, write
from numpygpt.plots.style import BLUE, GREY, INK, VERMILLION

FORMATS = {"float32": (8, 23), "TF32": (8, 10), "bfloat16": (8, 7), "float16": (5, 10)}  # bits: exponent, fraction


def properties(exponent: int, fraction: int) -> tuple[float, float, float]:
    """Return (smallest number above 0, largest number, relative rounding error) of a binary format."""
    bias = 2 ** (exponent - 1) - 1
    return 2.0 ** (1 - bias - fraction), (2 - 2.0**-fraction) * 2.0**bias, 2.0 ** -(fraction + 1)


@figure
def formats() -> Figure:
    """The bits of four formats, and what they can hold."""
    page, ax = drawing(3.2)
    x0, side, height = 12, 1.3, 3.4
    for x, words in ((12, "sign, exponent, fraction"), (60.5, "smallest"), (68.5, "largest"), (76, "rounding")):
        write(ax, x, 28.5, words, GREY, SMALL, ha="left" if x == 12 else "center")
    for row, (name, (exponent, fraction)) in enumerate(FORMATS.items()):
        y = 22 - 5.6 * row
        write(ax, 9.5, y + height / 2, name, size=TEXT, ha="right")
        for bit in range(1 + exponent + fraction):
            colour = GREY if bit == 0 else VERMILLION if bit <= exponent else BLUE
            place = bit + 8 - exponent  # aligned where the exponent ends
            ax.add_patch(Rectangle((x0 + side * place, y), side, height, facecolor=colour, edgecolor="white",
                                   linewidth=0.8))
        for at, value in zip((60.5, 68.5, 76), properties(exponent, fraction), strict=True):
            number = f"{value:,.0f}" if 1 < value < 1e6 else f"{value:.0e}".replace("e-", "e\u2212").replace("e+", "e")
            write(ax, at, y + height / 2, number, size=SMALL)
    write(ax, 9.5, 1.6, "exponent", VERMILLION, SMALL, ha="right")
    write(ax, 10.5, 1.6, "sets the range,", INK, SMALL, ha="left")
    write(ax, 25, 1.6, "fraction", BLUE, SMALL, ha="left")
    write(ax, 32.5, 1.6, "sets how finely numbers are spaced", INK, SMALL, ha="left")
    return page
