"""The table of compared runs, for the terminal and for the picture: what they are and how good they are."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from numpygpt.data.meta import read_meta
from numpygpt.inspection.tables import scaled, table
from numpygpt.plots.panels import speed
from numpygpt.plots.runs import RunData, read_config
from numpygpt.plots.style import FONT, GREY, INK
from numpygpt.training.checkpoint import find_checkpoint, load_checkpoint
from numpygpt.utils.colour import printable, width
from numpygpt.utils.text import duration

HEADINGS = (
    ["", "", "token", "", "tokens", "", "tokens", "bits per", "at", "nats per", ""],
    ["run", "params", "kind", "steps", "read", "time", "per s", "byte", "step", "token", "perplexity"],
)
LEFT_ALIGNED = (0, 2)  # columns of words; numbers are right-aligned
COLUMNS = 100  # of a line
CHUNK_TOKENS = 1 << 22  # in memory at a time
SWATCH, LINE_INCHES = 5, 0.2  # in the picture: columns for a run's line style, height of a line
FAMILY = ["DejaVu Sans Mono", "DejaVu Sans"]  # the second for what the first lacks


@dataclass(frozen=True)
class Facts:
    """What a run's checkpoint says about it; "-" if it does not."""

    parameters: str = "-"
    tokenizer: str = "-"
    unknown: bool = False  # whether the validation text is known to have tokens <unk>
    text: str | None = None  # hash of the training text


@dataclass(frozen=True)
class Table:
    """A row of cells per run, and notes below them."""

    rows: list[list[str]]
    notes: list[str]


def table_of(runs: list[RunData]) -> Table:
    facts = [facts_of(run) for run in runs]
    return Table([row_of(*pair) for pair in zip(runs, facts, strict=True)], notes_of(runs, facts))


def facts_of(run: RunData) -> Facts:
    """Read best.npz or ckpt.npz of the run, if there is one that can be read."""
    try:
        checkpoint = load_checkpoint(find_checkpoint(run.folder), only="model/", needs=("tokenizer", "data"))
        header = checkpoint.header
        return Facts(scaled(sum(array.size for array in checkpoint.arrays.values())), str(header["tokenizer"]["kind"]),
                     has_unknown(run, header), header["data"]["sha256"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return Facts()


def has_unknown(run: RunData, header: dict[str, Any]) -> bool:
    """Whether the run's validation text has words outside its vocabulary. No if its data folder, which would tell, is
    gone or has changed."""
    token = header["tokenizer"]["special_tokens"].get("<unk>")
    if token is None:
        return False
    try:
        folder = Path(read_config(run.folder / "config.toml")["data"])
        meta, data = read_meta(folder), header["data"]
        if (meta["sha256"], meta["tokenizer"]["sha256"]) != (data["sha256"], data["tokenizer_sha256"]):
            return False
        val = np.memmap(folder / "val.bin", np.dtype(meta["dtype"]).newbyteorder("<"), "r")
        return any((val[i : i + CHUNK_TOKENS] == token).any() for i in range(0, len(val), CHUNK_TOKENS))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def row_of(run: RunData, facts: Facts) -> list[str]:
    """Return the cells of a run, in the order of HEADINGS. The last four describe its best evaluation."""
    pace = speed(run)
    cells = [printable(run.name), facts.parameters, printable(facts.tokenizer), f"{run.total('step'):,}",
             scaled(run.total("tokens")), duration(run.total("seconds")), scaled(pace) if pace > 0 else "-"]
    best, table = run.best(), run.metrics.eval
    if best is None:
        return [*cells, "-", "-", "-", "-"]
    loss = float(table["whole_loss"][best])
    bits = f"{table['whole_bits'][best]:.3f}" if np.isfinite(run.bits_per_nat) else "-"
    perplexity = math.exp(min(loss, 700))
    return [*cells, bits, f"{table['step'][best]:,}", f"{loss:.3f}",
            f"{perplexity:,.2f}" if perplexity < 10_000 else f"{perplexity:.1e}"]


def notes_of(runs: list[RunData], facts: list[Facts]) -> list[str]:
    notes = ["The last four columns are of the best evaluation, on the validation text."]
    missing = [printable(run.name) for run in runs if not np.isfinite(run.bits_per_nat)]
    if missing:
        notes.append(f"No evaluation in bits per byte yet, so no line: {', '.join(missing)}.")
    other = [printable(run.name) for run in runs
             if np.isfinite(run.bits_per_nat) and not np.isfinite(run.train_bits_per_nat)]
    if other:
        notes.append(f"The data folder is gone or has changed, so no training line: {', '.join(other)}.")
    unknown = [printable(run.name) for run, fact in zip(runs, facts, strict=True) if fact.unknown]
    if unknown:
        notes.append("<unk> stands for every word outside the vocabulary and is easy to guess, so bits per byte look "
                     f"better than they are for {', '.join(unknown)}.")
    if len({fact.text for fact in facts if fact.text}) > 1:
        notes.append("These runs were trained on different texts: bits per byte compare models on the same text only.")
    return notes


def lines_of(found: Table) -> list[str]:
    lines = table([*HEADINGS, *found.rows], LEFT_ALIGNED).split("\n")
    return [*lines, *(line for note in found.notes for line in textwrap.wrap(note, COLUMNS, break_on_hyphens=False))]


def height_of(table: Table) -> float:
    return LINE_INCHES * (len(lines_of(table)) + 0.5)


def draw_table(ax: Axes, table: Table, looks: list[dict[str, Any]]) -> None:
    """Write the table into a picture, with each run's line style before its name."""
    lines = lines_of(table)
    ax.set_axis_off()
    ax.set(xlim=(0, SWATCH + max(COLUMNS, *map(width, lines))), ylim=(len(lines) + 0.5, 0))
    ax.axhline(len(HEADINGS) + 0.05, color=GREY, linewidth=0.8)
    for i, line in enumerate(lines):
        run = i - len(HEADINGS)
        is_run = 0 <= run < len(table.rows)
        ax.text(SWATCH, i + 0.5, line, family=FAMILY, fontsize=FONT - 1, va="center_baseline", parse_math=False,
                color=INK if is_run else GREY)
        if is_run:
            ax.plot([0, SWATCH - 1.5], [i + 0.5] * 2, linewidth=2.2, **looks[run])
