"""The numbers of a training run: `metrics.jsonl`, one JSON object per line, only ever appended to.

    {"kind": "train", "step": 17, "tokens": 13056, "seconds": 0.61, "loss": 3.21, "grad_norm": 1.02, "lr": 0.00034}
    {"kind": "eval", "step": 250, "tokens": 192000, "seconds": 9.1, "val_loss": 2.01, "bits_per_byte": 2.9, ...}
    {"kind": "trace", "step": 50, "tokens": 38400, "seconds": 1.8, "grad/norm_f.gamma": 0.01, "out_std/wte": 0.02, ...}

`step` counts the updates so far, `tokens` the training tokens and `seconds` the training time, earlier sessions
included. Any other name with a number is allowed. JSON has no NaN: a number that is not finite is written as null and
read back as nan.

`val_loss` is the loss on `tokens_evaluated` tokens. The evaluation after the last step reads the whole validation
split. If the others read less, it also has `sampled_loss`, the loss on the same tokens as theirs.

A row of kind trace describes one step: for each parameter, the norm of its gradient before clipping (`grad/NAME`), its
own norm before the step (`weight/NAME`) and the norm of the step divided by that (`update/NAME`); for each module, the
standard deviation of its output (`out_std/NAME`) and the norm of dL/d(output) (`dout_norm/NAME`).
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

from numpygpt.utils import strict_json
from numpygpt.utils.files import append, check_plain, replacing
from numpygpt.utils.text import shorten

COUNTS = ("step", "tokens")  # integers, never null
REQUIRED = {"train": (*COUNTS, "seconds", "loss"), "eval": (*COUNTS, "seconds", "val_loss"),
            "trace": (*COUNTS, "seconds")}
MAX_COUNT = 2**63 - 1  # a count must fit an int64
MAX_LINE = 1 << 22  # bytes: a trace of thousands of parameters fits
MAX_GAPS, MAX_GAPS_PER_VALUE = 10**6, 100  # names that rows lack: a small file must not take much memory


class MetricsLog:
    """Writes `metrics.jsonl`. Rows wait in memory until `flush()`, which must be called before a checkpoint is saved.

    With `resume_step=None` the file must be new. With `resume_step=k`, the step of the checkpoint that a run resumes
    from, rows after step k are dropped first (they will be written again), and so is a last line that a kill cut short.
    The file then has every step once. `last` is the last step of each kind, or -1.
    """

    def __init__(self, path: str | Path, resume_step: int | None = None):
        self.path = Path(path)
        self.last = dict.fromkeys(REQUIRED, -1)
        self._waiting: list[str] = []
        check_plain(self.path)
        if resume_step is not None and self.path.exists():
            self._drop_after(resume_step)
        elif resume_step is None and self.path.exists() and self.path.stat().st_size > 0:
            raise ValueError(f"{path} already contains a run: resume it, or use another folder")
        self._file = open(self.path, "ab", buffering=0)

    def log(self, kind: str, step: int, **values: float) -> None:
        """Add a row: `log("train", 17, tokens=13056, seconds=0.61, loss=3.21)`. Steps of a kind must increase."""
        row: dict[str, Any] = {"kind": kind, "step": step, **values}
        for name, value in row.items():
            if isinstance(value, Integral):
                row[name] = int(value)  # NumPy's numbers too: json accepts only Python's
            elif isinstance(value, Real):
                row[name] = float(value) if math.isfinite(value) else None
        try:
            check_row(row, self.last)
        except ValueError as error:
            raise ValueError(f"metrics row {row}: {error}") from None
        self.last[kind] = row["step"]
        self._waiting.append(json.dumps(row, allow_nan=False) + "\n")

    def flush(self) -> None:
        """Write the waiting rows and sync them to disk. If that fails, they still wait for a later flush."""
        append(self._file, "".join(self._waiting).encode())
        self._waiting.clear()

    def close(self) -> None:
        if not self._file.closed:
            try:
                self.flush()
            finally:
                self._file.close()

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        with suppress(OSError) if error else nullcontext():  # an error of the block is not replaced
            self.close()

    def _drop_after(self, step: int) -> None:
        kept = []
        for line, row in read_rows(self.path):
            if row["step"] <= step:
                kept.append(line if line.endswith(b"\n") else line + b"\n")
                self.last[row["kind"]] = row["step"]
        with replacing(self.path) as out:
            out.writelines(kept)


@dataclass
class Metrics:
    """Rows as columns: {name: array}, of equal length for each kind of row; nan if a row lacks the name."""

    train: dict[str, np.ndarray]
    eval: dict[str, np.ndarray]
    trace: dict[str, np.ndarray]


def read_metrics(path: str | Path) -> Metrics:
    """Read `metrics.jsonl`. A last line that was cut short is ignored; any other fault raises ValueError."""
    columns: dict[str, dict[str, array]] = {
        kind: {name: array("q" if name in COUNTS else "d") for name in names} for kind, names in REQUIRED.items()
    }
    counts = dict.fromkeys(REQUIRED, 0)
    values = 0
    for _, row in read_rows(Path(path)):
        kind = row.pop("kind")
        table, count = columns[kind], counts[kind]
        for name, value in row.items():
            column = table.setdefault(name, array("d"))
            pad(column, count)  # the rows before this one may have lacked the name
            column.append(math.nan if value is None else value)
        counts[kind] += 1
        values += len(row)
        if sum(len(columns[kind]) * counts[kind] for kind in columns) > MAX_GAPS + MAX_GAPS_PER_VALUE * values:
            raise ValueError(f"{path} has too many columns that are almost always empty: it is not a metrics file")
    for kind, table in columns.items():
        for column in table.values():
            pad(column, counts[kind])
    return Metrics(**{kind: {n: np.array(c) for n, c in table.items()} for kind, table in columns.items()})


def comparable_losses(metrics: Metrics) -> np.ndarray:
    """Return the validation losses on the tokens that every evaluation of the run reads."""
    losses = metrics.eval["val_loss"]
    sampled = metrics.eval.get("sampled_loss", np.full(len(losses), np.nan))
    return np.where(np.isnan(sampled), losses, sampled)


def pad(column: array, length: int) -> None:
    if len(column) < length:
        column.extend([math.nan] * (length - len(column)))


def read_rows(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Yield each line with its checked row. A last line that was cut short is ignored."""
    last = dict.fromkeys(REQUIRED, -1)
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is not a file")
    with open(path, "rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE), b""), 1):
            if len(line) == MAX_LINE:
                raise broken(path, number, f"has more than {MAX_LINE:,} bytes")
            try:
                row = strict_json.loads(line.decode("utf-8"))
            except (ValueError, RecursionError):
                if not line.endswith(b"\n"):
                    return  # a kill cut it short: an object ends with its last brace
                raise broken(path, number, "is not JSON") from None
            try:
                check_row(row, last)
            except ValueError as error:
                raise broken(path, number, f"is not a metrics row: {error}") from None
            last[row["kind"]] = row["step"]
            yield line, row


def broken(path: Path, number: int, fault: str) -> ValueError:
    advice = "delete that line, or restore the file from a copy"
    return ValueError(f"{path}, line {number} {fault}; {advice if path.suffix == '.jsonl' else 'name a run folder'}")


def check_row(row: Any, last: dict[str, int]) -> None:
    """Raise ValueError if a row is invalid. `last` holds the previous step of each kind."""
    if not isinstance(row, dict):
        raise ValueError("not an object {...}")
    kind = row.get("kind")
    if not isinstance(kind, str) or kind not in REQUIRED:
        raise ValueError(f'kind is {kind!r:.40}; it must be one of {", ".join(REQUIRED)}')
    missing = [name for name in REQUIRED[kind] if name not in row]
    if missing:
        raise ValueError(f"{', '.join(missing)} missing")
    for name, value in row.items():
        if name == "kind":
            continue
        if not name.isprintable():
            raise ValueError(f"the name {shorten(name)} has control characters")
        if name in COUNTS:
            if type(value) is not int or not 0 <= value <= MAX_COUNT:
                raise ValueError(f"{name} is {value!r:.40}; it must be an integer, at least 0")
        elif value is not None and (type(value) not in (int, float) or abs(value) > 1e308):
            raise ValueError(f"{name:.40} is {value!r:.40}; it must be a finite number or null")
    if row["seconds"] is None or row["seconds"] < 0:
        raise ValueError(f"seconds is {row['seconds']}; it must be a number, at least 0")
    if row["step"] <= last[kind]:
        raise ValueError(f"{kind} step {row['step']} comes after step {last[kind]}; did two runs write to this file?")
