"""./plot.py attention: what each token attends to, in every layer and head or in some of them."""

from __future__ import annotations

import argparse
import math
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from numpygpt.inspection.probe import attention_weights
from numpygpt.inspection.surprise import shorten_middle
from numpygpt.plots.glyphs import one_line, token_labels
from numpygpt.plots.heat import LINE, colour_bar, draw_heat, fits, legend_of, number_cells, token_ticks
from numpygpt.plots.loaded import add_prompt, add_run, given_prompt, load_model
from numpygpt.plots.output import NewFigure, Output
from numpygpt.plots.style import FONT, INK, head, picture

BAR = "attention weight (rows sum to 1)\nhatched: cannot look ahead"
NORM = PowerNorm(0.5, 0, 1)  # square root: most weights are small, and their differences matter
TICKS = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1)
PAGE, MARGIN = 9.0, 2.4  # inches: up to this width letters keep their size; room beside the panels
MIN_FONT = 7.6  # points of a token's letters; smaller, only every n-th token is named
MAX_NUMBERED = 16  # tokens, up to which the cells of a single head have room for numbers
MAX_TOKENS = 1024  # of a picture: it has hardly more dots
MAX_PANELS = 144  # more heads become small pictures without axes of their own


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    add_prompt(parser, "the text whose tokens attend to each other")
    parser.add_argument("--layer", type=int, metavar="N", help="draw only this layer, counted from 0")
    parser.add_argument("--head", type=int, metavar="N", help="draw only this head, counted from 0, of each layer")


def make(args: Namespace, new_figure: NewFigure) -> Output:
    loaded = load_model(args)
    model, tokenizer = loaded.model, loaded.tokenizer
    layers = chosen("layer", args.layer, len(model.blocks))
    heads = chosen("head", args.head, model.config.n_heads)
    ids, notes = given_prompt(tokenizer, args)
    most, why = min((model.max_len, "the model's context"), (MAX_TOKENS, "as many as fit"))
    if len(ids) > most:
        notes.append(f"note: the text has {len(ids):,} tokens; the picture shows the first {most:,}, {why}")
        ids = ids[:most]
    weights = attention_weights(model, ids, layers)[:, heads]  # (L, H, T, T) of those to draw
    plan = layout(len(layers), len(heads))
    figure = new_figure(plan.size)
    if plan.bands:
        notes.append(f"note: {weights[:, :, 0, 0].size:,} heads, so each is small: --layer N draws one layer, "
                     "--head N one head of each")
    text = shorten_middle(one_line(tokenizer.decode(ids).rstrip("\ufffd")), 50)
    draw_attention(figure, weights, token_labels(tokenizer, ids, most=10), layers, heads, f"Attention: {loaded.name}",
                   f"“{text}”")
    return picture(figure, loaded.place("attention.png"), [loaded.line, *notes])


def chosen(name: str, given: int | None, count: int) -> list[int]:
    """Return all of them, or the one that was asked for."""
    if given is None:
        return list(range(count))
    if not 0 <= given < count:
        raise ValueError(f"--{name} {given}: this model's {name}s are 0 to {count - 1}")
    return [given]


@dataclass(frozen=True)
class Layout:
    """`rows` x `columns` panels of about `side` inches: layers x heads, or, if `wrapped`, one after the other, or, in
    `bands` below each other, heads x layers."""

    rows: int
    columns: int
    side: float
    wrapped: bool
    bands: int = 0

    @property
    def font(self) -> float:
        """Points. A wide picture is shown scaled down to the width of a page, so its letters are larger."""
        wide = self.columns * self.side + MARGIN
        return FONT * max(1.0, self.columns * self.side / (PAGE - MARGIN) if wide > PAGE else 0.0)

    @property
    def size(self) -> tuple[float, float]:
        grown = self.font / FONT
        if self.bands:
            return self.columns * self.side + 1.8, self.rows * self.side + 0.45 * self.bands + 1.2
        return (max(self.columns * self.side + MARGIN * grown, 6.4),
                max(self.rows * self.side + 2.1 * grown, 4.4 * grown))


def layout(n_layers: int, n_heads: int) -> Layout:
    """Arrange the panels: layers below each other and heads side by side; one layer, or one head, in a square; very
    many in bands that together are about as high as wide."""
    if n_layers * n_heads > MAX_PANELS:
        bands = max(1, round(math.sqrt(n_layers / n_heads)))
        columns, rows = math.ceil(n_layers / bands), n_heads * bands
        return Layout(rows, columns, float(np.clip(10 / max(columns, rows), 0.4, 0.75)), wrapped=False, bands=bands)
    if n_layers > 1 and n_heads > 1:
        return Layout(n_layers, n_heads, float(np.clip(min(8.4 / n_heads, 12 / n_layers), 0.75, 2.8)), wrapped=False)
    count = n_layers * n_heads
    columns = math.ceil(math.sqrt(count))
    return Layout(math.ceil(count / columns), columns, float(np.clip(6.6 / columns, 1.6, 6.6)), wrapped=True)


def draw_attention(figure: Figure, weights: np.ndarray, labels: Sequence[str], layers: Sequence[int],
                   heads: Sequence[int], title: str, facts: str = "") -> None:
    """Draw the weights (L, H, T, T) of these L `layers` and H `heads`. `labels` are the T tokens. The figure should
    have the size that `layout` gives."""
    plan, pairs = layout(len(layers), len(heads)), [(layer, h) for layer in layers for h in heads]
    if plan.bands:
        return draw_bands(figure, weights, plan, layers, heads, title, facts)
    figure.set_layout_engine("constrained", w_pad=0.05, h_pad=0.05, wspace=0.02, hspace=0.02)
    panels = figure.subplots(plan.rows, plan.columns, squeeze=False)
    for ax in panels.flat[len(pairs) :]:
        ax.remove()
    shown = panels.flat[: len(pairs)]
    words = labels if plan.side > 1.3 else [""] * len(labels)  # small panels have room for numbers only
    seen, each = np.tri(len(labels), dtype=bool), weights.reshape(-1, *weights.shape[2:])
    for i, (ax, (layer, h), panel) in enumerate(zip(shown, pairs, each, strict=True)):
        # the tokens ahead are left empty: a token cannot attend to them, which is not a weight of 0
        image = draw_heat(ax, np.where(seen, panel, np.nan), NORM)
        left, bottom = i % plan.columns == 0, i // plan.columns == plan.rows - 1
        label_tokens(ax, words, plan, left, bottom)
        name_panel(ax, layer, h, plan, top=i < plan.columns, left=left)
        if len(pairs) == 1 and len(labels) <= MAX_NUMBERED:
            number_cells(ax, panel, image, min(11.0, 110 / len(labels)))
    figure.supylabel("from (query)", fontsize=plan.font, color=INK)
    figure.supxlabel("     ".join(["to (key)", *legend_of(words)]), fontsize=plan.font, color=INK)
    shrink = min(1.0, 4.2 * plan.font / FONT / plan.size[1])
    bar = colour_bar(figure, image, shown.tolist(), BAR, plan.font, shrink=shrink, aspect=40)
    bar.set_ticks(TICKS, labels=[f"{tick:g}" for tick in TICKS])
    head(figure, title, facts, plan.font)


def draw_bands(figure: Figure, weights: np.ndarray, plan: Layout, layers: Sequence[int], heads: Sequence[int],
               title: str, facts: str) -> None:
    """Draw each head as a small picture: layers side by side, heads below each other, in bands of layers."""
    T, H = weights.shape[-1], len(heads)
    cell = T + max(2, T // 8)  # a picture, and the gap to the next one
    figure.set_layout_engine("constrained", h_pad=0.05, hspace=0.02)
    axes = figure.subplots(plan.bands, 1, squeeze=False)[:, 0]
    for band, ax in enumerate(axes):
        some = range(band * plan.columns, min((band + 1) * plan.columns, len(layers)))
        tiles = np.full((H, cell, plan.columns, cell), np.nan, np.float32)
        tiles[:, :T, : len(some), :T] = np.where(np.tri(T, dtype=bool), weights[some], np.nan).transpose(1, 2, 0, 3)
        image = draw_heat(ax, tiles.reshape(H * cell, -1), NORM)
        ax.patch.set(hatch=None)
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0, labelsize=FONT - 1, labeltop=True, labelbottom=False)
        middle = (T - 1) / 2
        ax.set_xticks([middle + i * cell for i in range(len(some))], [str(layers[i]) for i in some])
        ax.set_yticks([middle + i * cell for i in range(H)], [str(h) for h in heads])
        ax.set_title("layer", loc="left", fontsize=FONT, color=INK)
        ax.set_ylabel("head", fontsize=FONT, color=INK)
    figure.supxlabel(f"In each picture: rows are the {T:,} tokens that attend (queries), columns those attended to "
                     "(keys)", fontsize=FONT, color=INK)
    bar = colour_bar(figure, image, axes.tolist(), BAR.replace("hatched", "white"), shrink=0.5, aspect=40)
    bar.set_ticks(TICKS, labels=[f"{tick:g}" for tick in TICKS])
    head(figure, title, facts)


def label_tokens(ax: Axes, words: Sequence[str], plan: Layout, left: bool, bottom: bool) -> None:
    """Write the tokens, or their numbers, at the outer edges only: they are the same in every panel."""
    inches, grown = 0.85 * plan.side, plan.font / FONT
    most = plan.font + (2 if plan.rows * plan.columns == 1 else -1)
    font = float(np.clip(72 * inches / (LINE * len(words)), MIN_FONT * grown, most))  # rather smaller than left out
    ax.tick_params(left=left, labelleft=left, bottom=bottom, labelbottom=bottom)
    if left:
        token_ticks(ax, "y", words, inches, font)
    if bottom:
        token_ticks(ax, "x", words, inches, font)


def name_panel(ax: Axes, layer: int, h: int, plan: Layout, top: bool, left: bool) -> None:
    """Write layer and head above a panel; in a grid, heads above the columns and layers beside the rows."""
    if plan.wrapped:
        ax.set_title(f"layer {layer}, head {h}", fontsize=plan.font, color=INK)
        return
    if top:
        word = "head " if left or fits(["head 00"], plan.side, plan.font) else ""
        ax.set_title(f"{word}{h}", fontsize=plan.font, color=INK)
    if left:
        word = "layer " if top or fits(["layer 00"], plan.side, plan.font) else ""
        ax.set_ylabel(f"{word}{layer}", fontsize=plan.font, color=INK)
