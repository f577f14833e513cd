"""What each token attends to: a panel a head, the token that looks down the side, what it looks at along the foot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from numpygpt.plots.heat import LINE, colour_bar, draw_heat, fits, legend_of, number_cells, token_ticks
from numpygpt.plots.style import FONT, INK, head

LOOKS, AT = "looks from (query)", "at (key)"
BAR = "attention weight (rows sum to 1)\nhatched: cannot look ahead"
NORM = PowerNorm(0.5, 0, 1)  # by the square root: most weights are small, and differences among them matter
TICKS = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1)
PAGE, MARGIN = 9.0, 2.4  # inches: up to this width letters keep their size; what stands left and right of the panels
LEAST = 7.6  # points of a token's letters, before only every n-th token is named
NUMBERED = 16  # up to so many tokens the numbers of a single head have room in its cells


@dataclass(frozen=True)
class Layout:
    """`rows` x `columns` panels of about `side` inches: layers x heads, or, `wrapped`, one after the other."""

    rows: int
    columns: int
    side: float
    wrapped: bool

    @property
    def font(self) -> float:
        """Points. A picture is shown scaled to the width of a page, so letters, and the room for them, grow with it."""
        wide = self.columns * self.side + MARGIN
        return FONT * max(1.0, self.columns * self.side / (PAGE - MARGIN) if wide > PAGE else 0.0)

    @property
    def size(self) -> tuple[float, float]:
        """Of the figure, in inches: at least so much that title and colour bar have room."""
        grown = self.font / FONT
        return (max(self.columns * self.side + MARGIN * grown, 6.4),
                max(self.rows * self.side + 1.9 * grown, 4.2 * grown))  # fmt: skip


@dataclass(frozen=True)
class Edges:
    """Whether a panel stands in the first row, the first column, the last row."""

    top: bool
    left: bool
    foot: bool


def layout(n_layers: int, n_heads: int) -> Layout:
    """Layers below each other and heads side by side; those of one layer, or of one head, in a square."""
    if n_layers > 1 and n_heads > 1:
        return Layout(n_layers, n_heads, float(np.clip(min(8.4 / n_heads, 12 / n_layers), 0.75, 2.8)), wrapped=False)
    count = n_layers * n_heads
    columns = math.ceil(math.sqrt(count))
    return Layout(math.ceil(count / columns), columns, float(np.clip(6.6 / columns, 1.6, 6.6)), wrapped=True)


def draw_attention(figure: Figure, weights: np.ndarray, labels: Sequence[str], layers: Sequence[int],
                   heads: Sequence[int], title: str) -> None:
    """`weights` (L, H, T, T) of the whole model, of which `layers` and `heads` are drawn; `labels`: T tokens as words.
    The figure should have the size that `layout` gives."""
    plan, pairs = layout(len(layers), len(heads)), [(layer, h) for layer in layers for h in heads]
    figure.set_layout_engine("constrained", w_pad=0.05, h_pad=0.05, wspace=0.02, hspace=0.02)
    panels = figure.subplots(plan.rows, plan.columns, squeeze=False)
    for ax in panels.flat[len(pairs) :]:
        ax.remove()
    shown = panels.flat[: len(pairs)]
    for i, (ax, (layer, h)) in enumerate(zip(shown, pairs, strict=True)):
        image = draw_head(ax, weights[layer, h])
        edges = Edges(i < plan.columns, i % plan.columns == 0, i // plan.columns == plan.rows - 1)
        label_tokens(ax, labels, plan, edges)
        name_panel(ax, layer, h, plan, edges)
        if len(pairs) == 1 and len(labels) <= NUMBERED:
            number_cells(ax, weights[layer, h], image, min(11.0, 110 / len(labels)))
    figure.supylabel(LOOKS, fontsize=plan.font, color=INK)
    figure.supxlabel("     ".join([AT, *legend_of(shown_words(labels, plan))]), fontsize=plan.font, color=INK)
    shrink = min(1.0, 4.2 * plan.font / FONT / plan.size[1])
    bar = colour_bar(figure, image, shown.tolist(), BAR, plan.font, shrink=shrink, aspect=40)
    bar.set_ticks(TICKS, labels=[f"{tick:g}" for tick in TICKS])
    head(figure, title)
    figure.suptitle(figure.get_suptitle(), fontsize=plan.font + 3)


def draw_head(ax: Axes, P: np.ndarray) -> AxesImage:
    """P (T, T). What a token cannot see, the tokens after it, is left empty: no weight, rather than one of 0."""
    return draw_heat(ax, np.where(np.tri(len(P), dtype=bool), P, np.nan), NORM)


def label_tokens(ax: Axes, labels: Sequence[str], plan: Layout, edges: Edges) -> None:
    """Tokens at the outer edges only: they are the same in every panel. Where the panels are small, their numbers."""
    words, inches = shown_words(labels, plan), 0.85 * plan.side
    most, grown = plan.font + (2 if plan.rows * plan.columns == 1 else -1), plan.font / FONT
    font = float(np.clip(72 * inches / (LINE * len(labels)), LEAST * grown, most))  # smaller rather than left out
    ax.tick_params(left=False, labelleft=False, bottom=False, labelbottom=False)
    if edges.left:
        ax.tick_params(left=True, labelleft=True)
        token_ticks(ax, "y", words, inches, font)
    if edges.foot:
        ax.tick_params(bottom=True, labelbottom=True)
        token_ticks(ax, "x", words, inches, font)


def shown_words(labels: Sequence[str], plan: Layout) -> Sequence[str]:
    """The tokens, or none where a panel has room for numbers only."""
    return labels if plan.side > 1.3 else [""] * len(labels)


def name_panel(ax: Axes, layer: int, h: int, plan: Layout, edges: Edges) -> None:
    """Its layer and head above it; in a grid the heads above the columns and the layers beside the rows."""
    if plan.wrapped:
        ax.set_title(f"layer {layer}, head {h}", fontsize=plan.font, color=INK)
        return
    if edges.top:
        word = "head " if edges.left or fits(["head 00"], plan.side, plan.font) else ""
        ax.set_title(f"{word}{h}", fontsize=plan.font, color=INK)
    if edges.left:
        word = "layer " if edges.top or fits(["layer 00"], plan.side, plan.font) else ""
        ax.set_ylabel(f"{word}{layer}", fontsize=plan.font, color=INK)
