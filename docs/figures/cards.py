#!/usr/bin/env python
"""Draws the cards of docs/TEACHING.md for print: the board and eight cards on one page of A4.

    python docs/figures/cards.py                       assets/cards.pdf
    python docs/figures/cards.py --out PATH            another file (.pdf)
"""

import argparse
import re
from pathlib import Path

import sheet
from matplotlib.patches import Rectangle

from numpygpt.plots.style import BLUE, GREY, INK, new_figure
from numpygpt.utils.paths import ROOT

PAGE = ROOT / "docs" / "TEACHING.md"
LEFT, WIDTH, FORWARD = 0.06, 0.88, 0.27  # of a page
FIELD, CARD = 0.105, 0.085  # heights of a row of the board and of a card
BOARD, CARDS = 0.885, 0.445  # where they begin


def tables():
    """The rows of the board, and the texts of the cards, as the page has them."""
    section = PAGE.read_text(encoding="utf-8").split("## Cards for attention")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:2] == "| "]
    board = [row for row in rows if len(row) == 2][1:]
    return board, [cell for row in rows if len(row) == 4 for cell in row if cell != "card"]


def page():
    """The figure. A dashed line is to be cut."""
    board, cards = tables()
    figure = new_figure(sheet.A4)
    figure.set_layout_engine("none")

    def box(x, y, width, height, style="-"):
        figure.add_artist(Rectangle((x, y), width, height, facecolor="none", edgecolor=GREY, linestyle=style))

    def write(x, y, text, size=13, colour=INK, **more):
        figure.text(x, y, text, fontsize=size, color=colour, va="center", math_fontfamily="stix", **more)

    write(LEFT, 0.945, "Attention backward: lay the cards", 16, weight="bold")
    words = "Begin with the last line of forward. A circle is an element-wise product. Three cards are left over."
    write(LEFT, 0.915, words, 9.5, GREY)
    for i, (forward, wanted) in enumerate(board):
        y = BOARD - (i + 1) * FIELD
        box(LEFT, y, FORWARD, FIELD)
        write(LEFT + FORWARD / 2, y + FIELD / 2, sheet.typeset(forward), 14, BLUE, ha="center")
        names = re.findall(r"d[A-Z]", wanted)
        for k, name in enumerate(names):
            width = (WIDTH - FORWARD) / len(names)
            box(LEFT + FORWARD + k * width, y, width, FIELD)
            write(LEFT + FORWARD + 0.01 + k * width, y + FIELD - 0.015, sheet.typeset(f"{name} ="))
    write(LEFT, CARDS + 0.03, "Cut along the dashed lines.", 9.5, GREY)
    for i, card in enumerate(cards):
        x, y = LEFT + i % 3 * WIDTH / 3, CARDS - (i // 3 + 1) * CARD
        box(x, y, WIDTH / 3, CARD, "--")
        write(x + WIDTH / 6, y + CARD / 2, sheet.typeset(card), 13, ha="center")
    return figure


def draw(path):
    """Write the page."""
    sheet.write_pdf(path, "Cards", digest(), [page()])


def digest():
    """Changes with what the page shows."""
    return sheet.digest(tables())


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "assets" / "cards.pdf", metavar="PATH")
    args = parser.parse_args(argv)
    draw(args.out)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
