"""The table of compared runs: what they are and how far they came, for the terminal and for the picture."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from numpygpt.data.meta import read_meta
from numpygpt.plots.runs import Run, bits_by_nats, read_config, tokens
from numpygpt.plots.series import time_unit
from numpygpt.plots.speed import speed
from numpygpt.plots.style import FONT, GREY, INK, shorten_middle
from numpygpt.training.checkpoint import find_checkpoint, load_checkpoint
from numpygpt.utils.colour import printable, width

HEADINGS = (
    ["", "", "token", "", "tokens", "", "tokens", "bits a", "at", "nats a", "per-"],
    ["run", "params", "kind", "steps", "read", "time", "a sec.", "byte", "step", "token", "plexity"],
)
LEFT = (0, 2)  # columns of words, which begin at one place; numbers end at one
COLUMNS = 100  # of a terminal
NAME = 12  # letters of a name that are shown even where the line becomes longer
GAP = "  "
BLOCK = 1 << 22  # tokens in memory at a time
WIDEST, SWATCH, LINE = 26, 5, 0.2  # in the picture: letters of a name, room for a run's line, inches of a row


@dataclass(frozen=True)
class Facts:
    """What a run's checkpoint tells of it; "-" for what it does not."""

    parameters: str = "-"
    tokenizer: str = "-"
    unknown: bool = False  # whether the validation part is known to have tokens <unk>
    text: str | None = None  # the digest of what it learned from


@dataclass(frozen=True)
class Table:
    """A row of cells for each run, and sentences below them."""

    rows: list[list[str]]
    notes: list[str]


def table_of(runs: list[Run]) -> Table:
    facts = [facts_of(run) for run in runs]
    return Table([row_of(*pair) for pair in zip(runs, facts, strict=True)], notes_of(runs, facts))


def facts_of(run: Run) -> Facts:
    """From best.npz or ckpt.npz, where the run's folder has one that can be read."""
    try:
        checkpoint = load_checkpoint(find_checkpoint(run.folder), only="model/", needs=("tokenizer", "data"))
        header = checkpoint.header
        return Facts(tokens(sum(array.size for array in checkpoint.arrays.values())), str(header["tokenizer"]["kind"]),
                     has_unknown(run, header), header["data"]["sha256"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return Facts()


def has_unknown(run: Run, header: dict[str, Any]) -> bool:
    """Whether words of the run's validation part are not in its vocabulary. Its data folder tells, if the run was
    trained on what it now holds; else nobody knows, and the answer is no."""
    token = header["tokenizer"]["special_tokens"].get("<unk>")
    if token is None:
        return False
    try:
        folder = Path(read_config(run.folder / "config.toml")["data"])
        meta, data = read_meta(folder), header["data"]
        if (meta["sha256"], meta["tokenizer"]["sha256"]) != (data["sha256"], data["tokenizer_sha256"]):
            return False
        val = np.memmap(folder / "val.bin", np.dtype(meta["dtype"]).newbyteorder("<"), "r")
        return any((val[i : i + BLOCK] == token).any() for i in range(0, len(val), BLOCK))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def row_of(run: Run, facts: Facts) -> list[str]:
    """The cells of a run, in the order of HEADINGS; the last four are of its best evaluation."""
    seconds, pace = run.total("seconds"), speed(run)
    scale, unit = time_unit(seconds)
    unit = {"seconds": "s", "minutes": "min", "hours": "h"}[unit]
    cells = [printable(run.name), facts.parameters, printable(facts.tokenizer), f"{run.total('step'):,}",
             tokens(run.total("tokens")), f"{seconds / scale:.3g} {unit}", tokens(pace) if pace > 0 else "-"]
    best, table = run.best(), run.metrics.eval
    if best is None:
        return [*cells, "-", "-", "-", "-"]
    loss = float(table["whole_loss"][best])
    bits = f"{table['whole_bits'][best]:.3f}" if np.isfinite(bits_by_nats(run)) else "-"
    perplexity = math.exp(min(loss, 700))
    return [*cells, bits, f"{table['step'][best]:,}", f"{loss:.3f}",
            f"{perplexity:,.2f}" if perplexity < 10_000 else f"{perplexity:.1e}"]


def notes_of(runs: list[Run], facts: list[Facts]) -> list[str]:
    """What one must know to read the table."""
    notes = ["The last four columns are those of the best evaluation, on the validation text."]
    missing = [printable(run.name) for run in runs if not np.isfinite(bits_by_nats(run))]
    if missing:
        notes.append(f"No evaluation in bits a byte yet, so no line: {', '.join(missing)}.")
    other = [printable(run.name) for run in runs
             if np.isfinite(bits_by_nats(run)) and not np.isfinite(run.train_bits_by_nats)]
    if other:
        notes.append(f"The data folder is gone or another, so no training line: {', '.join(other)}.")
    unknown = [printable(run.name) for run, fact in zip(runs, facts, strict=True) if fact.unknown]
    if unknown:
        notes.append("<unk> stands for all words outside the vocabulary and is easily guessed: bits a byte look better "
                     f"than they are for {', '.join(unknown)}.")
    if len({fact.text for fact in facts if fact.text}) > 1:
        notes.append("These runs learned from different texts: bits a byte compare models on one text only.")
    return notes


def lines_of(table: Table) -> list[str]:
    """The table for a terminal, in columns of one width; names give way where a line would pass COLUMNS."""
    rows = [*HEADINGS, *table.rows]
    rest = [max(map(width, column)) for column in list(zip(*rows, strict=True))[1:]]
    most = max(NAME, COLUMNS - sum(rest) - len(GAP) * len(rest))
    rows = [[cut(row[0], most), *row[1:]] for row in rows]
    widths = [max(width(row[0]) for row in rows), *rest]
    lines = []
    for row in rows:
        gaps = [" " * (most - width(cell)) for cell, most in zip(row, widths, strict=True)]
        cells = [cell + gap if i in LEFT else gap + cell for i, (cell, gap) in enumerate(zip(row, gaps, strict=True))]
        lines.append(GAP.join(cells).rstrip())
    return [*lines, *wrapped(table)]


def cut(name: str, columns: int) -> str:
    """A name without its middle where it is wider; some letters take two columns."""
    return next(short for limit in range(columns, 0, -1) if width(short := shorten_middle(name, limit)) <= columns)


def wrapped(table: Table) -> list[str]:
    return [line for note in table.notes for line in textwrap.wrap(note, COLUMNS, break_on_hyphens=False)]


def height_of(table: Table) -> float:
    """Inches that the picture's table takes: headings, runs and notes, and air above and below the runs."""
    return LINE * (len(HEADINGS) + len(table.rows) + len(wrapped(table)) + 1.2)


def draw_table(ax: Axes, table: Table, looks: list[dict[str, Any]]) -> None:
    """The same table in a picture: the axes count lines downwards, and letters to the right. Before its name each run
    has its line's look."""
    rows = [[cut(row[0], WIDEST), *row[1:]] for row in [*HEADINGS, *table.rows]]
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    starts = SWATCH + np.cumsum([0, *(size + len(GAP) for size in widths)])
    ax.set_axis_off()
    ax.set(xlim=(0, starts[-1] - len(GAP)), ylim=(height_of(table) / LINE, 0))
    at = 0.5
    for number, row in enumerate(rows):
        run = number - len(HEADINGS)
        if run == 0:
            ax.axhline(at - 0.3, color=GREY, linewidth=0.8)
            at += 0.3
        if run >= 0:
            ax.plot([0, SWATCH - 1.5], [at, at], linewidth=2.2, **looks[run])
        for i, cell in enumerate(row):
            write(ax, cell, starts[i] + (0 if i in LEFT else widths[i]), at, i in LEFT, GREY if run < 0 else INK)
        at += 1
    for line in wrapped(table):
        write(ax, line, 0, at + 0.2, True, GREY)
        at += 1


def write(ax: Axes, text: str, x: float, y: float, left: bool, colour: str) -> None:
    side = "left" if left else "right"
    ax.text(x, y, text, ha=side, va="center", fontsize=FONT - 1, color=colour, parse_math=False)
