"""The records of `--trace-every` by layer: gradient norms, and how far each update moves the weights."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from numpygpt.plots.runs import RunData
from numpygpt.plots.series import smooth
from numpygpt.plots.style import GREY, INK, aside
from numpygpt.plots.view import View, leave_empty

USUAL_RATIO = 1e-3  # of a step to the weights that it changes
BLOCK = re.compile(r"blocks\.([0-9]{1,3})\..+")  # a parameter of a block; drawing more blocks would take minutes
MAX_ENTRIES = 12  # blocks with a legend entry; the colours of the others lie between
LAYERS = {"wte": "embedding", "wpe": "embedding", "norm_f": "final norm", "head": "head"}
Table = dict[str, np.ndarray]
Entries = list[tuple[Artist, str]]


def parameters_by_layer(table: Table) -> dict[str, list[str]]:
    """{layer: its parameters} from the input to the output: embedding, each block, final norm, an untied head, others.

    The file may come from another program: a parameter that lacks one of its three columns is left out.
    """
    layers: dict[str, list[str]] = {}
    for column in table:
        name = column.removeprefix("grad/")
        if column.startswith("grad/") and f"weight/{name}" in table and f"update/{name}" in table:
            layers.setdefault(layer_of(name), []).append(name)
    blocks = sorted((layer for layer in layers if layer.startswith("block ")), key=lambda layer: int(layer.split()[1]))
    order = [layer for layer in ("embedding", *blocks, "final norm", "head", "others") if layer in layers]
    return {layer: layers[layer] for layer in order}


def layer_of(parameter: str) -> str:
    block = BLOCK.fullmatch(parameter)
    return f"block {int(block[1])}" if block else LAYERS.get(parameter.split(".")[0], "others")


def gradient_norm(table: Table, parameters: list[str]) -> np.ndarray:
    return np.sqrt(sum(table[f"grad/{name}"] ** 2 for name in parameters))


def update_ratio(table: Table, parameters: list[str]) -> np.ndarray:
    """|step| / |weights| of these parameters together; a row's `update/NAME` is the ratio of one parameter.

    A bias starts at 0 and then has no ratio, so its first step is left out.
    """
    steps, weights = np.zeros(len(table["step"])), np.zeros(len(table["step"]))
    for name in parameters:
        weight = table[f"weight/{name}"]
        steps += np.where(weight == 0, 0, weight * table[f"update/{name}"]) ** 2
        weights += weight**2
    return np.sqrt(np.divide(steps, weights, out=np.full(len(steps), np.nan), where=weights > 0))


def draw_layers(norm: Axes, ratio: Axes, run: RunData, view: View) -> Entries:
    """Draw a line per layer in both panels. Returns the legend entries; of many blocks only some have one."""
    table = run.metrics.trace
    layers = parameters_by_layer(table)
    looks = looks_of(list(layers))
    x, span = view.x(table), rows_of(table["step"], view.span)
    entries: Entries = []
    for layer, parameters in layers.items():
        for ax, values in ((norm, gradient_norm(table, parameters)), (ratio, update_ratio(table, parameters))):
            y = np.where(values > 0, smooth(values, span), np.nan)  # a log axis cannot show 0
            marker = "." if np.isfinite(y).sum() < 2 else None
            (line,) = ax.plot(x, y, linewidth=1.4, marker=marker, label=f"{run.name}: {layer}", **looks[layer])
        entries.append((line, layer))
    for ax in (norm, ratio):
        scale(ax)
    if ratio.get_yscale() == "log":
        low, high = ratio.get_ylim()
        ratio.set_ylim(min(low, USUAL_RATIO / 2), max(high, USUAL_RATIO * 2))
        ratio.axhline(USUAL_RATIO, color=INK, linewidth=1.2, linestyle=(0, (2, 2)), label="usual")
        aside(ratio, "dashed: 0.001, a rule of thumb")
    return entries if len(layers) <= MAX_ENTRIES + 3 else thinned(entries)


def looks_of(layers: list[str]) -> dict[str, dict[str, Any]]:
    """Blocks go from dark to light with depth; the layers before and after them are grey or dashed."""
    blocks = [layer for layer in layers if layer.startswith("block ")]
    shades = colormaps["viridis"](np.linspace(0, 0.88, max(2, len(blocks))))  # its yellow end is invisible on white
    looks: dict[str, dict[str, Any]] = {
        block: {"color": to_hex(shade), "linestyle": "-"} for block, shade in zip(blocks, shades, strict=False)
    }
    looks |= {"embedding": {"color": GREY, "linestyle": "--"}, "final norm": {"color": INK, "linestyle": ":"}}
    return looks | {"head": {"color": INK, "linestyle": "-."}, "others": {"color": GREY, "linestyle": "-."}}


def rows_of(steps: np.ndarray, span: float) -> float:
    """How many trace rows there are in `span` updates."""
    return span / float(np.median(np.diff(steps))) if len(steps) > 1 else 1.0


def scale(ax: Axes) -> None:
    """Make the axis logarithmic, unless no line has a value that it could show."""
    values = np.concatenate([line.get_ydata() for line in ax.lines])
    values = values[np.isfinite(values)]
    if not len(values):
        leave_empty(ax, "nothing finite was recorded")
        return
    ax.set_ylim(values.min() / 1.5, values.max() * 1.5)
    ax.set_yscale("log")


def thinned(entries: Entries) -> Entries:
    """The entries of MAX_ENTRIES blocks, evenly from the first to the last, and of everything else."""
    blocks = [i for i, (_, layer) in enumerate(entries) if layer.startswith("block ")]
    shown = {blocks[i] for i in np.linspace(0, len(blocks) - 1, MAX_ENTRIES).round().astype(int)}
    return [entry for i, entry in enumerate(entries) if i in shown or i not in blocks]
