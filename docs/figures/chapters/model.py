"""Figures of model.md."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure

from chapters.canvas import BACKWARD, FORWARD, SMALL, WIDTH, arrow, box, drawing, figure, write
from numpygpt import GPT, trace
from numpygpt.plots.style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, VERMILLION, dress, new_figure
from numpygpt.training.presets import read_preset


@figure
def model() -> Figure:
    """The whole model: forward up on the left, backward down on the right."""
    page, ax = drawing(6.4)
    rows = [("token ids", "(B, T)", "", 4), ("embedding + positions", "(B, T, C)", "adds to dE; $dW_{pos}$", 13),
            ("first block", "(B, T, C)", "its dW, db", 22), ("...", "", "", 28.5), ("last block", "(B, T, C)",
            "its dW, db", 35), ("last LayerNorm", "(B, T, C)", "d\u03b3, d\u03b2", 44),
            ("head: X E\u1d40", "(B, T, $n_{vocab}$)", "dE", 53)]
    for name, shape, gradients, y in rows:
        if name == "...":
            write(ax, 38, y, "\u22ee", size=14)
        else:
            box(ax, 38, y, name, 34, 5.4)
        if shape:
            write(ax, 26, y + 4.4, shape, FORWARD)
        if gradients:
            write(ax, 61, y, gradients, BACKWARD, ha="left")
            arrow(ax, (55.2, y), (60, y), BACKWARD)
    ends = [y for *_, y in rows]
    for low, high in pairwise(ends):
        gap_low, gap_high = (1.2 if low == 28.5 else 2.8), (1.2 if high == 28.5 else 2.8)
        arrow(ax, (36, low + gap_low), (36, high - gap_high), FORWARD)
        if low > 4:
            arrow(ax, (44, high - gap_high), (44, low + gap_low), BACKWARD)
    arrow(ax, (36, 55.8), (36, 59.4), FORWARD)
    arrow(ax, (44, 59.4), (44, 55.8), BACKWARD)
    write(ax, 25, 61, "logits \u2192 loss L", FORWARD)
    write(ax, 60, 61, "dlogits = (P \u2212 onehot) / $n_c$,  $n_c$ targets", BACKWARD)
    return page


def cached_by(preset: str = "quick") -> dict[str, int]:
    """Return the bytes that each kind of layer caches in a training step of a preset."""
    config = read_preset(preset)
    net = GPT(replace(config.model, vocab_size=65))
    x = np.zeros((config.batch_size, config.model.max_len), int)
    with trace(net) as t:
        net.loss(x, x)
    found: dict[str, int] = {}
    for record in t:
        kind = re.sub(r"^blocks\.\d+\.", "block: ", record.name)
        if record.cached:
            found[kind] = found.get(kind, 0) + record.cached
    return found


@figure
def cached() -> Figure:
    """What the modules of `quick` cache, all blocks together."""
    sizes = {name: size / 1e6 for name, size in cached_by().items()}
    page = new_figure((WIDTH, 0.9 + 0.3 * len(sizes)))
    ax = page.subplots()
    kinds = {"attn": BLUE, "ffn": VERMILLION, "norm": GREEN, "ln": GREEN, "drop": PURPLE}
    colours = [next((colour for word, colour in kinds.items() if word in name), ORANGE) for name in sizes]
    places = np.arange(len(sizes))[::-1]
    ax.barh(places, list(sizes.values()), color=colours, height=0.7)
    for place, size in zip(places, sizes.values(), strict=True):
        ax.text(size + 0.03, place, f"{size:.2f}", va="center", fontsize=SMALL, color=INK)
    dress(ax, "", "MB cached in one step of the preset quick, all blocks together", "")
    ax.set_yticks(places, list(sizes), fontsize=SMALL)
    ax.set_xlim(0, max(sizes.values()) * 1.12)
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0, labelcolor=INK)
    ax.spines["left"].set_color(GREY)
    return page
