"""Tables of modules, at most 100 columns wide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from numpygpt.inspection.surprise import padded, shorten_middle
from numpygpt.inspection.tree import parents
from numpygpt.utils.colour import width

if TYPE_CHECKING:
    from numpygpt.inspection.stats import Stats
    from numpygpt.inspection.tracer import Record

COLUMNS = 100
MIN_NAME = 12  # columns for the first column, even if lines become too long
PREFIXES = ("", "k", "M", "G", "T", "P", "E")


def table(rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """Format rows of cells, with the columns `left` left-aligned and the others right-aligned. If lines would be longer
    than COLUMNS, the middle of the first column's cells is cut."""
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    gap = 2 if sum(widths) + 2 * (len(widths) - 1) <= COLUMNS else 1
    widths[0] = max(MIN_NAME, min(widths[0], COLUMNS - sum(widths[1:]) - gap * (len(widths) - 1)))
    lines = []
    for first, *others in rows:
        cells = enumerate(zip([shorten_middle(first, widths[0]), *others], widths, strict=True))
        lines.append((" " * gap).join(padded(cell, room, right=i not in left) for i, (cell, room) in cells).rstrip())
    return "\n".join(lines)


def indented(name: str, depth: int, root: str) -> str:
    """A module's own name, indented below the module around it: `blocks.0`, then `attn`."""
    parts = name.split(".")
    own = max((i for i, part in enumerate(parts) if not part[:1].isdigit()), default=0)
    return "  " * depth + ".".join(parts[own:]) if name else root


def shape(sizes: Sequence[int] | None) -> str:
    """16x128x256, or "number" for a scalar."""
    return "?" if sizes is None else "x".join(map(str, sizes)) or "number"


def scaled(n: float | None, unit: str = "") -> str:
    """Three digits and a prefix: 12.3 G, 512, 4.19 MB; ? if unknown."""
    if n is None:
        return "?"
    power = 0
    while n / 1000**power >= 999.5 and power < len(PREFIXES) - 1:
        power += 1
    digits = f"{n:.0f}" if power == 0 else f"{n / 1000**power:#.3g}".rstrip(".")
    return f"{digits} {PREFIXES[power]}{unit}".strip()


def digits(value: float) -> str:
    """Three digits in at most eight columns: 0.0123, -1.23e-5."""
    text = f"{value:.3g}"
    for sign in "+-":
        text = text.replace(f"e{sign}0", f"e{sign}")
    return text.replace("e+", "e")


def numbers(stats: Stats | None) -> list[str]:
    """Mean, standard deviation, minimum, maximum and fraction of zeros."""
    if stats is None:
        return ["-"] * 5
    found = [digits(value) for value in (stats.mean, stats.std, stats.low, stats.high)]
    return [*found, f"{stats.zero_fraction:.1%}" if stats.zeros else "0"]


def trace_tables(records: Sequence[Record], backward_order: Sequence[Record]) -> str:
    """The forward calls in their order, then the backward calls in theirs, then the totals."""
    if not records:
        return "nothing ran in this trace\n"
    root = next((record.kind for record in records if not record.name), "")
    forward = [["forward", "output", "mean", "std", "min", "max", "zeros", "ms", "FLOPs", "cached"]]
    for r in (r for r in records if r.forward_calls):
        forward.append([indented(r.name, r.depth, root), shape(r.output_shape), *numbers(r.output),
                        f"{1000 * r.forward_seconds:.1f}", scaled(r.forward_flops), scaled(r.cached, "B")])
    backward = [["backward", "parameters", "norm", "mean", "std", "min", "max", "zeros", "ms", "FLOPs"]]
    for r in backward_order:
        backward.append([indented(r.name, r.depth, root), f"{r.n_params:,}",
                         digits(r.gradient.norm) if r.gradient else "-", *numbers(r.gradient),
                         f"{1000 * r.backward_seconds:.1f}", scaled(r.backward_flops)])
    tables = [table(rows) for rows in (forward, backward) if len(rows) > 1]
    return "\n\n".join([*tables, trace_totals(records)]) + "\n"


def trace_totals(records: Sequence[Record]) -> str:
    names = {r.name for r in records}
    outermost = [r for r in records if not names & set(parents(r.name))]
    rows = [["total", "calls", "ms", "FLOPs"]]
    for direction in ("forward", "backward"):
        seconds = sum(getattr(r, f"{direction}_seconds") for r in outermost)
        calls = max(getattr(r, f"{direction}_calls") for r in records)
        flops = [getattr(r, f"{direction}_flops") for r in records]
        rows.append([direction, f"{calls:,}", f"{1000 * seconds:.1f}",
                     scaled(sum(n for n in flops if n is not None)) + (" and ?" if None in flops else "")])
    cached, n_params = scaled(sum(r.cached for r in records), "B"), sum(r.n_params for r in records)
    return (f"{table(rows)}\n\n"
            "forward: statistics of the output; backward: statistics of dL/d(output). ms includes the modules\n"
            f"inside, the other columns do not. {cached} of activations cached for backward, {n_params:,} parameters")
