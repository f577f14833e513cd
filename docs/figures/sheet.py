#!/usr/bin/env python
"""Draws the formula sheet for print: every layer of docs/formulas.py on two pages of A4.

    python docs/figures/sheet.py                       assets/formulas.pdf
    python docs/figures/sheet.py --out PATH            another file (.pdf)

The file holds a digest of its content, so that a test can tell when it is out of date.
"""

import argparse
import hashlib
import io
import re
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository: it runs without installing it
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import formulas
import matplotlib
from matplotlib.backends.backend_pdf import PdfPages

from numpygpt.plots.output import write_file
from numpygpt.plots.style import BLUE, GREY, GRID, INK, VERMILLION, check_suffix, new_figure
from numpygpt.utils.paths import ROOT

PAGES, A4 = 2, (8.27, 11.69)  # inches, upright
LEFT, RIGHT, TOP, BOTTOM = 0.045, 0.955, 0.892, 0.035  # of a page
COLUMNS = (LEFT, 0.225, 0.655)  # layer and shapes; formulas; the rest
LINE, GAP = 0.0138, 0.0135  # height of a line, space between layers
WIDE, WIDEST = 46, 64  # characters of a line in the last column, and of a formula
GREEK = {"gamma", "beta", "alpha", "theta", "pi"}
KEY = ("dX is dL/dX, dY the gradient from above. Blue: forward. Orange: backward. B sequences of T tokens,",
       "N = B T rows, C features, H heads, F hidden features. A circle is an element-wise product; without a sign",
       "it is a matrix product, or a number times an array. Σ sums over the axes that the result lacks. In",
       "parentheses, and for Softmax, Σ and mean run over the last axis. FLOPs: forward; backward, without the layers",
       "inside. Year, section: the source.")
ELEMENTWISE = {  # products in the formulas of the layers that get a circle
    "X s,": "X ∘ s,", "dY s (1 + X (1": "dY ∘ s ∘ (1 + X ∘ (1", "X/2 (1": "X/2 ∘ (1",
    "dX = dY ∂Y": "dX = dY ∘ ∂Y", "2 Y (1 - s) ∂": "2 Y ∘ (1 - s) ∘ ∂",
    "Y (dY - Σ dY Y)": "Y ∘ (dY - Σ dY ∘ Y)", "P (dP - Σ dP P)": "P ∘ (dP - Σ dP ∘ P)",
    "gamma Xhat": "gamma ∘ Xhat", "mean) rstd": "mean) ∘ rstd", "Xhat = X rstd": "Xhat = X ∘ rstd",
    "dY Xhat": "dY ∘ Xhat", "dY gamma": "dY ∘ gamma", "rstd (dXhat": "rstd ∘ (dXhat",
    "Xhat mean(dXhat Xhat)": "Xhat ∘ mean(dXhat ∘ Xhat)", "X mask": "X ∘ mask", "dY mask": "dY ∘ mask",
    "act(G) U": "act(G) ∘ U", "dA act(G)": "dA ∘ act(G)", "dA U": "dA ∘ U",
    **{f"{name}{i} {wave}": f"{name}{i} ∘ {wave}" for name in ("X", "dY") for i in "₁₂" for wave in ("cos", "sin")},
}


class Line(NamedTuple):
    text: str
    colour: str = INK
    size: float = 7.2
    weight: str = "normal"
    maths: bool = False


# -- a formula as matplotlib's mathtext --------------------------------------------------------------------------------

TOKEN = re.compile(r"(?P<root>√)|(?P<power>\^\()|(?P<word>[A-Za-z][A-Za-z0-9_.]*)|(?P<space> +)|(?P<other>\+=|.)")
SIGNS = {"ᵀ": r"^{\mathsf{T}}", "²": "^{2}", "³": "^{3}", "₁": "_{1}", "₂": "_{2}", "Σ": r"\Sigma", "∂": r"\partial ",
         "π": r"\pi ", "·": r"\cdot ", "∘": r"\circ ", "+=": "{+}{=}", "'": r"\prime "}


def typeset(formula):
    """A formula such as `dX = dY Wᵀ` in mathtext."""
    return f"${pieces(formula)}$"


def pieces(text):
    out, at = "", 0
    while at < len(text):
        found = TOKEN.match(text, at)
        at = found.end()
        if found["root"]:
            inside, at = argument(text, at)
            out += rf"\sqrt{{{pieces(inside)}}}"
        elif found["power"]:
            inside, at = argument(text, at - 1)
            out += f"^{{{pieces(inside)}}}"
        elif found["word"]:
            out += word(found["word"])
        elif found["space"]:
            out += r"\ " if len(found["space"]) == 1 else r"\quad "
        else:
            out += SIGNS.get(found["other"], found["other"])
    return out


def argument(text, at):
    """What is in the parentheses that open at `at`, or else the word there, and where it ends."""
    if text[at] != "(":
        found = re.compile(r"\w+").match(text, at)
        return found[0], found.end()
    depth = 0
    for end in range(at, len(text)):
        depth += (text[end] == "(") - (text[end] == ")")
        if depth == 0:
            return text[at + 1 : end], end + 1
    raise ValueError(f"{text}: a parenthesis is not closed")


def word(name):
    """A name: a variable is italic, with `d` before it a gradient, anything longer a word."""
    d, rest = ("d", name[1:]) if re.fullmatch(r"d(gamma|beta|Xhat|W_pos|[A-Zb])", name) else ("", name)
    if rest in GREEK:
        return f"{d}\\{rest} "
    if rest == "Xhat":
        return rf"{d}\hat{{X}}"
    if re.fullmatch(r"[dnW]_[a-z]+", rest):
        return rf"{d}{rest[0]}_{{\mathrm{{{rest[2:]}}}}}"
    if len(rest) == 1:
        return d + rest
    return rf"\mathrm{{{name}}}".replace("_", r"\_").replace(".", r".\hspace{-0.2}")  # no space after the dot


# -- the pages ---------------------------------------------------------------------------------------------------------


def circled(text):
    """A formula of a layer with a circle in each element-wise product."""
    for plain, circle in ELEMENTWISE.items():
        text = text.replace(plain, circle)
    return text


def columns(row):
    """The three columns of a layer: lists of lines."""
    name = [Line(row.name, weight="bold", size=8.5), *(Line(shape, GREY) for shape in row.shapes)]
    maths = [Line(typeset(part), colour, 9, maths=True)
             for colour, given in ((BLUE, row.forward), (VERMILLION, row.backward))
             for text in map(circled, given)
             for part in (text.split(",  ") if len(text) > WIDEST else [text])]
    forward, backward = row.flops
    flops = [f"FLOPs {forward}" + f"; {backward}" * (backward != forward)]
    if len(flops[0]) > WIDE - 4:
        flops = [f"FLOPs {forward};", backward]
    words = ["caches " + ", ".join(row.cached), *flops, row.invariant, row.source]
    rest = [Line(part, INK if text == row.invariant else GREY) for text in words for part in textwrap.wrap(text, WIDE)]
    return name, maths, rest


def height(row):
    return max(map(len, columns(row))) * LINE + GAP


def split(rows):
    """The layers of each page: as even as their order allows."""
    total = sum(map(height, rows))
    cuts = range(1, len(rows))
    cut = min(cuts, key=lambda k: abs(sum(map(height, rows[:k])) - total / PAGES))
    return rows[:cut], rows[cut:]


def page(rows, number):
    """A figure of one page."""
    figure = new_figure(A4)
    figure.set_layout_engine("none")

    def write(x, y, line, **more):
        text = figure.text(x, y, line.text, color=line.colour, fontsize=line.size, fontweight=line.weight, **more)
        text.set(parse_math=line.maths, math_fontfamily="stix")

    write(LEFT, 0.957, Line("NumpyGPT: every gradient", weight="bold", size=13))
    write(RIGHT, 0.957, Line(f"page {number} of {PAGES}", GREY), ha="right")
    for i, line in enumerate(KEY):
        write(LEFT, 0.943 - i * 0.0105, Line(line, GREY))
    y = TOP
    for row in rows:
        rule = matplotlib.lines.Line2D((LEFT, RIGHT), (y, y), color=GRID, linewidth=0.8)
        figure.add_artist(rule)
        for x, lines in zip(COLUMNS, columns(row), strict=True):
            for i, line in enumerate(lines):
                write(x, y - GAP / 3 - (i + 1) * LINE, line)
        y -= height(row)
    if y < BOTTOM:
        raise ValueError(f"page {number} is too long: {y:.3f} of its height is left")
    return figure


def digest(rows):
    """Changes with what the sheet shows."""
    return hashlib.sha256(repr((rows, KEY, ELEMENTWISE)).encode()).hexdigest()[:16]


def draw(path):
    """Write the sheet."""
    rows = formulas.rows()
    write_pdf(path, "Formula sheet", digest(rows), [page(part, number) for number, part in enumerate(split(rows), 1)])


def write_pdf(path, title, keywords, pages):
    """Write figures as the pages of a PDF. The same content gives the same bytes."""
    check_suffix(path, (".pdf",))
    file = io.BytesIO()
    with matplotlib.rc_context({"pdf.fonttype": 42}):
        with PdfPages(file, metadata={"CreationDate": None, "Title": title, "Keywords": keywords}) as pdf:
            for figure in pages:
                pdf.savefig(figure)
    write_file(path, file.getvalue())


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "assets" / "formulas.pdf", metavar="PATH")
    args = parser.parse_args(argv)
    draw(args.out)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
