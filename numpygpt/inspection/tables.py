"""Tables of modules in at most 100 columns, with what stands under them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from numpygpt import nn

if TYPE_CHECKING:
    from numpygpt.inspection.stats import Stats
    from numpygpt.inspection.watcher import Record

COLUMNS = 100
PREFIXES = ("", "k", "M", "G", "T", "P", "E")


def table(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Rows of cells below each other, the first row being the head: the first `left` columns at the left, the others at
    the right. The first column is cut with an ellipsis where the lines would be too long."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    gap = 2 if sum(widths) + 2 * (len(widths) - 1) <= COLUMNS else 1
    widths[0] = max(8, min(widths[0], COLUMNS - sum(widths[1:]) - gap * (len(widths) - 1)))
    lines = []
    for first, *others in rows:
        cells = [first if len(first) <= widths[0] else first[: widths[0] - 1] + "…", *others]
        aligned = [f"{cell:{'<' if i < left else '>'}{width}}"
                   for i, (cell, width) in enumerate(zip(cells, widths, strict=True))]
        lines.append((" " * gap).join(aligned).rstrip())
    return "\n".join(lines)


def indented(name: str, depth: int, root: str) -> str:
    """A module's own name, to the right of that of the module around it: `blocks.0`, and below it `attn`."""
    parts = name.split(".")
    own = max((i for i, part in enumerate(parts) if not part[:1].isdigit()), default=0)
    return "  " * depth + ".".join(parts[own:]) if name else root


def shape(sizes: Sequence[int] | None) -> str:
    """16x128x256; a loss is a number."""
    return "?" if sizes is None else "x".join(map(str, sizes)) or "number"


def scaled(n: float | None, unit: str = "") -> str:
    """Three digits and a prefix: 12.3 G, 512, 4.19 MB; ? where it is unknown."""
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
    """Mean, standard deviation, minimum, maximum and share of zeros."""
    if stats is None:
        return ["-"] * 5
    found = [digits(value) for value in (stats.mean, stats.std, stats.low, stats.high)]
    return [*found, f"{stats.zero_share:.1%}" if stats.zeros else "0"]


def trace_tables(records: Sequence[Record], went_back: Sequence[Record]) -> str:
    """The calls of forward in their order, below them those of backward in theirs, and the totals."""
    if not records:
        return "nothing ran in this trace\n"
    root = next((record.kind for record in records if not record.name), "")
    forward = [["forward", "output", "mean", "std", "min", "max", "zeros", "ms", "ops", "kept"]]
    for r in (r for r in records if r.forward_calls):
        forward.append([indented(r.name, r.depth, root), shape(r.output_shape), *numbers(r.output),
                        f"{1000 * r.forward_seconds:.1f}", scaled(r.forward_operations), scaled(r.cached, "B")])
    backward = [["backward", "parameters", "norm", "mean", "std", "min", "max", "zeros", "ms", "ops"]]
    for r in went_back:
        backward.append([indented(r.name, r.depth, root), f"{r.n_params:,}",
                         digits(r.gradient.norm) if r.gradient else "-", *numbers(r.gradient),
                         f"{1000 * r.backward_seconds:.1f}", scaled(r.backward_operations)])
    tables = [table(rows) for rows in (forward, backward) if len(rows) > 1]
    return "\n\n".join([*tables, trace_totals(records)]) + "\n"


def trace_totals(records: Sequence[Record]) -> str:
    names = {r.name for r in records}
    outer = [r for r in records if not any(around in names for around in arounds(r.name))]
    rows = [["total", "calls", "ms", "ops"]]
    for way in ("forward", "backward"):
        seconds = sum(getattr(r, f"{way}_seconds") for r in outer)
        calls = max(getattr(r, f"{way}_calls") for r in records)
        done = [getattr(r, f"{way}_operations") for r in records]
        rows.append([way, f"{calls:,}", f"{1000 * seconds:.1f}",
                     scaled(sum(n for n in done if n is not None)) + (" and ?" if None in done else "")])
    kept, learned = scaled(sum(r.cached for r in records), "B"), sum(r.n_params for r in records)
    return (f"{table(rows)}\n\n"
            "forward: what came out; backward: dL/d(output), which came in. ms with the modules inside, the\n"
            f"others without; ops: floating-point operations. {kept} kept for backward, {learned:,} parameters")


def formula_table() -> list[str]:
    """The layers of `numpygpt.nn` as lines of a Markdown table: name, forward formula, backward formula."""
    kinds = [kind for name in nn.__all__ if isinstance(kind := getattr(nn, name), type) and hasattr(kind, "formula")]
    rows = [(f"`{kind.__name__}`", "<br>".join(kind.formula.forward), "<br>".join(kind.formula.backward))
            for kind in sorted(kinds, key=lambda kind: kind.__name__)]
    return ["| layer | forward | backward |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)]


def arounds(name: str) -> list[str]:
    """The names of all that may be around a module: of a.0.b these are "", a and a.0."""
    parts = name.split(".")
    return ["", *(".".join(parts[:i]) for i in range(1, len(parts)))] if name else []
