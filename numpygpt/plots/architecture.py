"""The model as nested boxes from ids to loss: values go down, gradients come up. Beside them, the formulas."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from functools import lru_cache

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Circle, FancyBboxPatch
from matplotlib.textpath import TextPath

from numpygpt.inspection.blueprint import Blueprint, Part
from numpygpt.plots.style import BLUE, FONT, GREY, INK, VERMILLION, head

WIDTH = 9.4  # inches, as all places below; y grows downwards
LEFT, RIGHT = 0.25, 4.95  # of the boxes
FORMULAS = 5.2  # where the column of formulas begins
TOP = 1.05  # of the first box, below the title and the legend
LINE, BOX, GAP, FORK = 0.19, 0.28, 0.3, 0.22  # a line of text, a box, the gaps between boxes and below a header
INSET = 0.35  # of the arrows, from the sides of a box
INDENT = 0.13, 0.36  # of the boxes inside a box, without and with residual connections
COLUMN = 57  # letters in a line of formulas
FILL = {"learned": "#E3EEF7", "fixed": "#F4F4F4", "container": "#FAFAF5"}
SMALL = FONT - 1
MIN_SHRINK = 0.85  # of letters that need room


def draw_architecture(figure: Figure, plan: Blueprint, title: str) -> None:
    figure.set_layout_engine("none")
    total = height(plan)
    ax = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(total, 0))
    ax.set_axis_off()
    draw(ax, plan)
    head(figure, title)
    figure.suptitle(figure.get_suptitle(), y=1 - 0.15 / total)


def height(plan: Blueprint) -> float:
    return draw(Figure().add_axes((0, 0, 1, 1)), plan)


def draw(ax: Axes, plan: Blueprint) -> float:
    """Draw everything. Returns the y of its end."""
    words(ax, LEFT, 0.5, "↓ forward: values, with their shapes", BLUE)
    words(ax, LEFT + 2.75, 0.5, "↑ backward: gradients of the same shapes", VERMILLION)
    words(ax, WIDTH - LEFT, 0.5, "numbers in the boxes: parameters", GREY, ha="right")
    boxes = Boxes(ax)
    boxes.arrows(LEFT, RIGHT, f"ids {shape(plan.input_shape)}", backward=False)
    seen: set[str] = set()
    for part in plan.parts:
        boxes.part(part, LEFT, RIGHT, expand=not kinds(part) <= seen)  # a block like an earlier one stays closed
        seen |= kinds(part)
        boxes.arrows(LEFT, RIGHT, shape(part.shape) if part.shape else "L, one number; dL/dL = 1")
    end = max(boxes.y, draw_formulas(ax, plan)) + 0.15
    counts = {**plan.counts, "all": sum(plan.counts.values())}
    text = "parameters:  " + ",  ".join(f"{name} {count:,}" for name, count in counts.items())
    words(ax, WIDTH / 2, end, text, ha="center", size=fitting(text, WIDTH - 2 * LEFT))
    return end + LINE + 0.12


def draw_formulas(ax: Axes, plan: Blueprint) -> float:
    """Each class once: its name, its forward lines, its backward lines. Returns the y of the end."""
    y = TOP - 0.25
    for kind, formula in plan.formulas.items():
        words(ax, FORMULAS, y, kind[:COLUMN], weight="bold")
        y += LINE
        lines = [(line, BLUE) for line in formula.forward] + [(line, VERMILLION) for line in formula.backward] \
            if formula else [("the class has no formula", GREY)]
        for line, colour in lines:
            for text in textwrap.wrap(line, COLUMN, subsequent_indent="    "):
                words(ax, FORMULAS + 0.12, y, text, colour)
                y += LINE
        y += 0.12
    return y


class Boxes:
    """Draws boxes and arrows from top to bottom; `y` is where the next one goes."""

    def __init__(self, ax: Axes):
        self.ax, self.y = ax, TOP - 0.3

    def part(self, part: Part, left: float, right: float, expand: bool = True) -> None:
        inside = part.inside if expand else ()
        top = self.y
        self.title(part, left, right)
        self.y += BOX
        if inside:
            self.inside(inside, left, right)
        fill = "container" if inside else "learned" if part.n_params else "fixed"
        self.ax.add_patch(FancyBboxPatch(
            (left, top), right - left, self.y - top, boxstyle="round,pad=0,rounding_size=0.06", facecolor=FILL[fill],
            edgecolor=GREY, linewidth=0.9, zorder=part.name.count(".") / 10))

    def title(self, part: Part, left: float, right: float) -> None:
        """Name, class and sizes at the left; the number of parameters at the right. Sizes without room go below."""
        own = part.name.rpartition(".")[2] if not part.name.rpartition(".")[2].isdigit() else part.name
        count = f"{part.n_params:,}" if part.n_params else f"uses {part.shared}" if part.shared else ""
        several, count = (f", {part.repeats} of them", f"{count} each") if part.repeats > 1 else ("", count)
        kind = (f"{part.kind}  {part.details}" if part.details else part.kind) + several
        y, name, room = self.y + BOX / 2, wide(own, "bold") + 0.1, right - left - 0.4 - wide(count)
        if part.details and name + wide(kind) > room / MIN_SHRINK:
            kind = part.kind + several
            size = fitting(part.details, right - left - 0.3 - name)
            words(self.ax, left + 0.1 + name, y + LINE, part.details, GREY, va="center", size=size)
            self.y += LINE
        size = SMALL * min(1, room / (name + wide(kind)))
        words(self.ax, left + 0.1, y, own, weight="bold", va="center", size=size)
        words(self.ax, left + 0.1 + name * size / SMALL, y, kind, GREY, va="center", size=size)
        words(self.ax, right - 0.1, y, count, ha="right", va="center")

    def inside(self, parts: Iterable[Part], left: float, right: float) -> None:
        """The parts inside a box, with the residual connections around them."""
        parts = list(parts)
        indent = INDENT[any(part.residual for part in parts)]
        inner = left + indent, right - indent
        before: dict[str, float] = {}  # own name of a part -> the middle of the arrows into it
        middle = self.arrows(*inner, "", FORK)
        for i, part in enumerate(parts):
            before[part.name.rpartition(".")[2]] = middle
            self.part(part, *inner)
            last = i == len(parts) - 1
            middle = self.arrows(*inner, "" if last else shape(part.shape), FORK if last else GAP)
            if part.residual in before:
                self.residual(left, right, *inner, before[part.residual], middle)

    def arrows(self, left: float, right: float, label: str, gap: float = GAP, backward: bool = True) -> float:
        """To the next box, down and up, with a label between them. Returns the y of the middle."""
        arrow(self.ax, left + INSET, self.y, self.y + gap, BLUE)
        if backward:
            arrow(self.ax, right - INSET, self.y + gap, self.y, VERMILLION)
        middle = self.y + gap / 2
        size = fitting(label, right - left - 1)
        words(self.ax, (LEFT + RIGHT) / 2, middle, label, ha="center", va="center", size=size)
        self.y += gap
        return middle

    def residual(self, left: float, right: float, inner_left: float, inner_right: float, fork: float,
                 join: float) -> None:
        """The stream around a branch, from `fork` to the addition at `join`, and its gradient back."""
        sides = (left + 0.14, inner_left + INSET, BLUE), (right - 0.14, inner_right - INSET, VERMILLION)
        for side, x, colour in sides:
            self.ax.plot([x, side, side, x], [fork, fork, join, join], color=colour, linewidth=1.4, zorder=5)
            at = join if colour == BLUE else fork  # where two values, or two gradients, are added
            self.ax.add_patch(Circle((x, at), 0.065, facecolor="white", edgecolor=colour, linewidth=1.2, zorder=6))
            words(self.ax, x, at, "+", colour, ha="center", va="center_baseline", weight="bold", size=SMALL - 1)


def kinds(part: Part) -> set[str]:
    return {part.kind}.union(*map(kinds, part.inside))


def shape(sizes: Iterable[int]) -> str:
    return f"({', '.join(map(str, sizes))})"


def fitting(text: str, room: float) -> float:
    """The largest font size, at most SMALL, at which the text has room."""
    return SMALL * min(1, room / max(wide(text), 1e-9))


@lru_cache
def wide(text: str, weight: str = "normal") -> float:
    """The width of a text in inches, at the size SMALL."""
    if not text.strip():
        return 0.0
    plain = text.replace("$", "S")  # a dollar sign would start a formula
    return TextPath((0, 0), plain, size=SMALL, prop=FontProperties(weight=weight)).get_extents().width / 72


def words(ax: Axes, x: float, y: float, text: str, colour: str = INK, ha: str = "left", va: str = "top",
          weight: str = "normal", size: float = SMALL) -> None:
    ax.text(x, y, text, color=colour, ha=ha, va=va, fontweight=weight, fontsize=size, parse_math=False, zorder=7)


def arrow(ax: Axes, x: float, start: float, end: float, colour: str) -> None:
    ax.annotate("", (x, end), (x, start), zorder=5,
                arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 1.4, "shrinkA": 0, "shrinkB": 0})
