"""The model as boxes from ids to loss: values go down, gradients come up, and one block stands for all."""

from __future__ import annotations

from collections.abc import Iterable

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from numpygpt.inspection.blueprint import Blueprint, Part
from numpygpt.plots.style import BLUE, FONT, GREY, INK, VERMILLION, head

WIDTH = 9.4  # inches, as are all places below; y grows downwards
LEFT, RIGHT = 0.85, 4.45  # of the boxes
DOWN, UP = 1.2, 4.1  # of the arrows, forward and backward
SKIP_DOWN, SKIP_UP = 0.55, 4.68  # of the residual stream's, which go past the layers
WORDS = 4.95  # where the gradients' formulas begin
LINE, PAD, GAP = 0.19, 0.1, 0.36  # a line of text; above and below it in a box; between two boxes
TOP = 1.4  # of the first box: above it are the title and what the colours and letters mean
FILL = {"learned": "#E8F1F8", "fixed": "#F4F4F4", "block": "#FAFAF5"}
SMALL = FONT - 1


class Sheet:
    """Where the drawing has come to, from top to bottom."""

    def __init__(self, ax: Axes):
        self.ax, self.y = ax, TOP

    def box(self, part: Part) -> tuple[float, float]:
        """A layer, and at its right its gradient. (top, foot)"""
        top, lines = self.y, 1 + len(part.forward)
        foot = top + 2 * PAD + LINE * max(lines, len(part.backward))
        frame(self.ax, LEFT, top, RIGHT, foot, FILL["learned" if part.n_params else "fixed"])
        short = part.name.removeprefix("blocks.0.")
        self.words(LEFT + 0.1, top + PAD, f"{short}", weight="bold")
        self.words(LEFT + 0.2 + 0.085 * len(short), top + PAD, part.kind, colour=GREY)
        if part.n_params:
            self.words(RIGHT - 0.1, top + PAD, f"{part.n_params:,}", ha="right")
        for i, line in enumerate(part.forward, 1):
            self.words(LEFT + 0.1, top + PAD + LINE * i, line, colour=BLUE)
        if part.inside:
            self.words(RIGHT - 0.1, top + PAD + 2 * LINE, part.inside, ha="right")
        middle = (top + foot) / 2
        for i, line in enumerate(part.backward):
            self.words(WORDS, middle + LINE * (i - len(part.backward) / 2), line, colour=VERMILLION)
        self.y = foot
        return top, foot

    def arrows(self, label: str, size: float = GAP, backward: bool = True) -> float:
        """To the next box, down and up, and between them what goes there. The y of its middle."""
        arrow(self.ax, DOWN, self.y, self.y + size, BLUE)
        if backward:
            arrow(self.ax, UP, self.y + size, self.y, VERMILLION)
        middle = self.y + size / 2
        font = SMALL if len(label) <= 36 else SMALL * 36 / len(label)
        self.words((DOWN + UP) / 2, middle, label, ha="center", va="center", size=font)
        self.y += size
        return middle

    def heads(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Q, K and V beside each other, each with its own way down and up."""
        width = (RIGHT - LEFT) / 3
        top, foot = self.y + 0.24, self.y + 0.24 + 2 * PAD + 2 * LINE
        for i, (name, shape) in enumerate(shapes.items()):
            x = LEFT + width * (i + 0.5)
            frame(self.ax, x - width / 2 + 0.04, top, x + width / 2 - 0.04, foot, "white")
            self.words(x, top + PAD, name, ha="center", weight="bold")
            words = numbers(shape)
            self.words(x, top + PAD + LINE, words, ha="center", size=SMALL * min(1, 16 / len(words)))
            for above, below in ((self.y, top), (foot, foot + 0.24)):
                arrow(self.ax, x - 0.2, above, below, BLUE)
                arrow(self.ax, x + 0.2, below, above, VERMILLION)
        self.y = foot + 0.24

    def skip(self, fork: float, top: float, foot: float) -> None:
        """The residual stream past a branch, from where it parts at y = `fork` to the addition's box, and back."""
        at = (top + foot) / 2
        self.ax.plot([DOWN, SKIP_DOWN, SKIP_DOWN], [fork, fork, at], color=BLUE, linewidth=1.6)
        arrow(self.ax, SKIP_DOWN, at, at, BLUE, to=LEFT)
        self.ax.plot([RIGHT, SKIP_UP, SKIP_UP], [at, at, fork], color=VERMILLION, linewidth=1.6)
        arrow(self.ax, SKIP_UP, fork, fork, VERMILLION, to=UP)

    def words(self, x: float, y: float, text: str, colour: str = INK, ha: str = "left", va: str = "top",
              weight: str = "normal", size: float = SMALL) -> None:
        self.ax.text(x, y, text, color=colour, ha=ha, va=va, fontweight=weight, fontsize=size, parse_math=False)


def height(plan: Blueprint) -> float:
    """Of the figure, in inches: what the drawing takes."""
    return draw(Sheet(Figure().add_axes((0, 0, 1, 1))), plan)


def draw_architecture(figure: Figure, plan: Blueprint, title: str) -> None:
    """In a figure WIDTH inches wide and `height(plan)` high."""
    figure.set_layout_engine("none")
    ax = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(height(plan), 0))
    ax.set_axis_off()
    draw(Sheet(ax), plan)
    head(figure, title)
    figure.suptitle(figure.get_suptitle(), y=1 - 0.15 / height(plan))


def draw(sheet: Sheet, plan: Blueprint) -> float:
    """All of it; how far down it goes."""
    parts = plan.parts
    explain(sheet, plan)
    sheet.words(DOWN, sheet.y - 0.05, "ids (B, T) = " + numbers(parts["wte"].shape[:2]), va="bottom")
    sheet.arrows("", backward=False)
    sheet.box(parts["wte"])
    sheet.arrows(label(parts["wte"]))
    sheet.box(parts["wpe"])
    draw_block(sheet, plan)
    sheet.arrows(label(parts["blocks.0.add2"]), 0.5)
    for name in ("norm_f", "head", "criterion"):
        sheet.box(parts[name])
        sheet.arrows(label(parts[name]) if name != "criterion" else "L, one number; dL/dL = 1")
    count(sheet, plan)
    return sheet.y


def explain(sheet: Sheet, plan: Blueprint) -> None:
    """What the colours, the letters and the numbers mean."""
    sheet.words(LEFT, 0.45, "↓ forward: values, their shapes between the arrows", BLUE)
    sheet.words(WORDS, 0.45, "↑ backward: dX is dL/dX, and has the shape of X", VERMILLION)
    for i, (letter, (size, what)) in enumerate(plan.sizes.items()):
        sheet.words(LEFT + 2.1 * (i % 4), 0.45 + LINE * (1.2 + i // 4), f"{letter} = {size:,}  {what}")
    sheet.words(RIGHT - 0.1, TOP + GAP - 0.04, "parameters", ha="right", va="bottom", colour=GREY)


def draw_block(sheet: Sheet, plan: Blueprint) -> None:
    """From the values above the first block to those that leave it."""
    parts = {name.removeprefix("blocks.0."): part for name, part in plan.parts.items()}
    top = sheet.y + 0.25
    each = plan.counts["blocks"] // plan.n_layers
    times = f"block: {plan.n_layers} of them, one after the other" if plan.n_layers > 1 else "block: one"
    sheet.words(WORDS, top + 0.08, times, weight="bold")
    sheet.words(WORDS, top + 0.08 + LINE, f"{each:,} parameters" + " each" * (plan.n_layers > 1))
    fork = sheet.arrows(label(parts["wpe"]), 0.9)
    sheet.box(parts["norm1"])
    sheet.arrows(label(parts["norm1"]))
    sheet.box(parts["attn.qkv"])
    sheet.heads({name: plan.heads[name] for name in "QKV"})
    sheet.box(parts["attn"])
    sheet.arrows(label(parts["attn"]))
    sheet.box(parts["attn.proj"])
    sheet.arrows(label(parts["attn.proj"]))
    sheet.skip(fork, *sheet.box(parts["add1"]))
    fork = sheet.arrows(label(parts["add1"]), 0.5)
    for name in ("norm2", "ffn.fc", "ffn.act", "ffn.proj"):
        sheet.box(parts[name])
        sheet.arrows(label(parts[name]))
    sheet.skip(fork, *sheet.box(parts["add2"]))
    frame(sheet.ax, 0.3, top, WIDTH - 0.2, sheet.y + 0.12, FILL["block"], zorder=0)


def count(sheet: Sheet, plan: Blueprint) -> None:
    """Learned numbers by component, and all of them."""
    sheet.y += 0.1
    for i, (name, size) in enumerate([*plan.counts.items(), ("all parameters", sum(plan.counts.values()))]):
        x = LEFT + 1.4 * i
        sheet.words(x, sheet.y, f"{plan.n_layers} {name}" if name == "blocks" else name, weight="bold")
        sheet.words(x, sheet.y + LINE, f"{size:,}")
    sheet.y += 2 * LINE + 0.2


def label(part: Part) -> str:
    return f"{part.letters} = {numbers(part.shape)}"


def frame(ax: Axes, left: float, top: float, right: float, foot: float, colour: str, zorder: float = 1) -> None:
    ax.add_patch(FancyBboxPatch((left, top), right - left, foot - top, boxstyle="round,pad=0,rounding_size=0.06",
                                facecolor=colour, edgecolor=GREY, linewidth=0.9, zorder=zorder))  # fmt: skip


def arrow(ax: Axes, x: float, start: float, end: float, colour: str, to: float | None = None) -> None:
    """Up or down at x, or with `to` sideways."""
    ax.annotate("", (x if to is None else to, end), (x, start),
                arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 1.6, "shrinkA": 0, "shrinkB": 0})


def numbers(shape: Iterable[int]) -> str:
    return f"({', '.join(map(str, shape))})"
