"""The numbers of a training run: `metrics.jsonl`, one JSON object a line, only ever appended to.

    {"kind": "train", "step": 17, "tokens": 13056, "seconds": 0.61, "loss": 3.21, "grad_norm": 1.02, "lr": 0.00034}
    {"kind": "eval", "step": 250, "tokens": 192000, "seconds": 9.1, "val_loss": 2.01, "bits_per_byte": 2.9, ...}
    {"kind": "trace", "step": 50, "tokens": 38400, "seconds": 1.8, "grad/norm_f.gamma": 0.01, "out_std/wte": 0.02, ...}

`val_loss` is of `tokens_evaluated` tokens. The evaluation after the last step reads the whole validation part; if the
others read less, it also has `sampled_loss`, the loss on the tokens that they read, which compares with theirs.

`step` counts the updates done so far, `tokens` the training tokens seen so far and `seconds` the training time so far,
earlier sessions included. Any further name with a number is kept as it is. What is not finite is written as null, for
JSON has no NaN, and read back as nan.

A row of kind trace is what `--trace-every` saw in that step: of each parameter the norm of its gradient before clipping
(`grad/NAME`), its own norm before the step (`weight/NAME`) and the norm of the step by that (`update/NAME`); of each
module the standard deviation of its output (`out_std/NAME`) and the norm of dL/doutput (`dout_norm/NAME`).
"""

from __future__ import annotations

import json
import math
import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

from numpygpt.utils import strict_json
from numpygpt.utils.files import check_plain, replacing
from numpygpt.utils.text import shorten

COUNTS = ("step", "tokens")  # whole numbers, never null
REQUIRED = {"train": (*COUNTS, "seconds", "loss"), "eval": (*COUNTS, "seconds", "val_loss"),
            "trace": (*COUNTS, "seconds")}
LARGEST = 2**63 - 1  # a count must fit an int64
LONGEST = 1 << 22  # bytes of a line: a trace of thousands of parameters fits
MOST_GAPS, MOST_GAPS_A_VALUE = 10**6, 100  # where rows lack names; a small file must not ask for much memory


class MetricsLog:
    """Writes `metrics.jsonl`. Rows wait in memory until `flush()`, which a trainer calls before it saves a checkpoint.

    With `resume_step=None` the file is new. With `resume_step=k`, the step of the checkpoint that a run goes on from,
    rows after step k are dropped first (they will be made again), and so is a last line that a kill cut short: the
    file then has every step once. Where it is gone, it begins anew. `last` is the last step of each kind, -1 for none.
    """

    def __init__(self, path: str | Path, resume_step: int | None = None):
        self.path = Path(path)
        self.last = dict.fromkeys(REQUIRED, -1)
        self._waiting: list[str] = []
        check_plain(self.path)
        if resume_step is not None and self.path.exists():
            self._drop_after(resume_step)
        elif resume_step is None and self.path.exists() and self.path.stat().st_size > 0:
            raise ValueError(f"{path} already holds a run; resume that run, or start this one in another folder")
        self._file = open(self.path, "ab", buffering=0)
        self._size = self.path.stat().st_size

    def log(self, kind: str, step: int, **values: float) -> None:
        """Add a row: `log("train", 17, tokens=13056, seconds=0.61, loss=3.21)`. Steps of a kind must increase."""
        row: dict[str, Any] = {"kind": kind, "step": step, **values}
        for name, value in row.items():
            if isinstance(value, Integral):
                row[name] = int(value)  # NumPy's integers and floats too: json knows only Python's
            elif isinstance(value, Real):
                row[name] = float(value) if math.isfinite(value) else None
        try:
            check_row(row, self.last)
        except ValueError as error:
            raise ValueError(f"metrics row {row}: {error}") from None
        self.last[kind] = row["step"]
        self._waiting.append(json.dumps(row, allow_nan=False) + "\n")

    def flush(self) -> None:
        """Write the waiting rows and have the disk confirm them. A failed write leaves no half of a row behind."""
        rows = memoryview("".join(self._waiting).encode())
        written = 0
        try:
            while written < len(rows):
                written += self._file.write(rows[written:])
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(self._size)  # the rows still wait: a later flush can write them whole
            raise
        self._size += written
        self._waiting.clear()

    def close(self) -> None:
        if not self._file.closed:
            try:
                self.flush()
            finally:
                self._file.close()

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _drop_after(self, step: int) -> None:
        """Rewrite the file with the rows up to `step`; whole and on disk before it gets the name."""
        kept = []
        for line, row in read_rows(self.path):
            if row["step"] <= step:
                kept.append(line if line.endswith(b"\n") else line + b"\n")
                self.last[row["kind"]] = row["step"]
        with replacing(self.path) as out:
            out.writelines(kept)


@dataclass
class Metrics:
    """Rows as columns: name -> array, all of one length for each kind of row; nan where a row lacks the name."""

    train: dict[str, np.ndarray]
    eval: dict[str, np.ndarray]
    trace: dict[str, np.ndarray]


def read_metrics(path: str | Path) -> Metrics:
    """Read `metrics.jsonl`. A last line that was cut short is left out; any other fault is a ValueError."""
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
        if sum(len(columns[kind]) * counts[kind] for kind in columns) > MOST_GAPS + MOST_GAPS_A_VALUE * values:
            raise ValueError(f"{path} has too many names that hardly a row has; its rows are no training run's")
    for kind, table in columns.items():
        for column in table.values():
            pad(column, counts[kind])
    return Metrics(**{kind: {n: np.array(c) for n, c in table.items()} for kind, table in columns.items()})


def comparable_losses(metrics: Metrics) -> np.ndarray:
    """The validation losses on the tokens that every evaluation of the run reads."""
    losses = metrics.eval["val_loss"]
    sampled = metrics.eval.get("sampled_loss", np.full(len(losses), np.nan))
    return np.where(np.isnan(sampled), losses, sampled)


def pad(column: array, length: int) -> None:
    if len(column) < length:
        column.extend([math.nan] * (length - len(column)))


def read_rows(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Each line with its checked row. The last line may be cut short; then it is left out."""
    last = dict.fromkeys(REQUIRED, -1)
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is no file")
    with open(path, "rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(LONGEST), b""), 1):
            if len(line) == LONGEST:
                raise broken(path, number, f"has more than {LONGEST:,} bytes")
            try:
                row = strict_json.loads(line.decode("utf-8"))
            except (ValueError, RecursionError):
                if not line.endswith(b"\n"):
                    return  # a kill while it was written; an object has no end before its last brace
                raise broken(path, number, "is not JSON") from None
            try:
                check_row(row, last)
            except ValueError as error:
                raise broken(path, number, f"is no row of metrics: {error}") from None
            last[row["kind"]] = row["step"]
            yield line, row


def broken(path: Path, number: int, fault: str) -> ValueError:
    advice = "delete that line, or restore the file from a copy"
    return ValueError(f"{path}, line {number} {fault}; {advice if path.suffix == '.jsonl' else 'name a run folder'}")


def check_row(row: Any, last: dict[str, int]) -> None:
    """Raise a ValueError that says what is wrong with a row; `last` holds the step before it of each kind."""
    if not isinstance(row, dict):
        raise ValueError("it is not an object {...}")
    kind = row.get("kind")
    if not isinstance(kind, str) or kind not in REQUIRED:
        raise ValueError(f'kind is {kind!r:.40}, and must be one of {", ".join(REQUIRED)}')
    missing = [name for name in REQUIRED[kind] if name not in row]
    if missing:
        raise ValueError(f"{', '.join(missing)} missing")
    for name, value in row.items():
        if name == "kind":
            continue
        if not name.isprintable():
            raise ValueError(f"the name {shorten(name)} has control signs")
        if name in COUNTS:
            if type(value) is not int or not 0 <= value <= LARGEST:
                raise ValueError(f"{name} is {value!r:.40}, and must be a whole number from 0 on")
        elif value is not None and (type(value) not in (int, float) or abs(value) > 1e308):
            raise ValueError(f"{name:.40} is {value!r:.40}, and must be a finite number or null")
    if row["seconds"] is None or row["seconds"] < 0:
        raise ValueError(f"seconds is {row['seconds']}, and must be a number from 0 on")
    if row["step"] <= last[kind]:
        raise ValueError(f"{kind} step {row['step']} comes after step {last[kind]}; were two runs written to it?")
