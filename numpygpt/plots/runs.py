"""A training run as the pictures need it: its numbers, its name, and the summary in one line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from numpygpt.data.meta import read_meta
from numpygpt.plots.glyphs import drawable
from numpygpt.plots.series import smooth
from numpygpt.training.config import read_toml
from numpygpt.training.metrics import Metrics, comparable_losses, read_metrics
from numpygpt.training.runs import run_suggestion
from numpygpt.utils.arguments import text
from numpygpt.utils.paths import display_path
from numpygpt.utils.text import duration

METRICS = "metrics.jsonl"
NO_FILE = "a pipe, a folder or a device in place of a file"
SMALLEST, LARGEST = 1e-100, 1e100  # what is drawn: sums, squares and quotients of such numbers are numbers still


@dataclass
class Run:
    name: str
    folder: Path
    metrics: Metrics
    clip: float | None = None  # the gradient norm at which the run clipped, where its config says so

    def best(self) -> int | None:
        """The row of the lowest validation loss in `metrics.eval`, or None before the first finite one."""
        losses = self.metrics.eval["val_loss"]
        return int(np.nanargmin(losses)) if np.isfinite(losses).any() else None

    @property
    def sampled(self) -> bool:
        """Whether the drawn validation losses are those of a part of the validation tokens."""
        table = self.metrics.eval
        return not np.array_equal(table.get("whole_loss", table["val_loss"]), table["val_loss"], equal_nan=True)

    def total(self, name: str) -> Any:
        """The last `step`, `tokens` or `seconds` of the run, whichever kind of row came last."""
        columns = (self.metrics.train[name], self.metrics.eval[name])
        return max(column[-1] for column in columns if len(column))

    @cached_property
    def train_bits_by_nats(self) -> float:
        """What `bits_by_nats` is for the training text, whose tokens may hold more or fewer bytes.

        nan where the run's data folder is gone, or no longer has the validation text that the run was judged by.
        """
        try:
            meta = read_meta(Path(read_config(self.folder / "config.toml")["data"]))
        except (OSError, ValueError, KeyError, TypeError):
            return float("nan")
        val, train = meta["val"], meta["train"]
        same = np.isclose((val["tokens"] - 1) / val["bytes"] / np.log(2), bits_by_nats(self), rtol=1e-6)
        return float(train["tokens"] / train["bytes"] / np.log(2)) if same else float("nan")


def load_run(path: str | Path) -> Run:
    """Read a run folder, or a metrics file itself. One with no rows yet is a ValueError: there is nothing to draw."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such run folder or metrics file{run_suggestion(path)}")
    file = path / METRICS if path.is_dir() else path
    if not file.exists():
        raise FileNotFoundError(f"{path} holds no {METRICS}: it is no run folder, or its training has not begun")
    if not file.is_file():
        raise ValueError(f"{file} is {NO_FILE}; name another run")
    metrics = read_metrics(file)
    if not len(metrics.train["step"]) and not len(metrics.eval["step"]):
        raise ValueError(f"{file} holds no rows yet; wait until the run has written its first, or name another run")
    bound(metrics, file)
    make_comparable(metrics)
    folder = file.resolve().parent
    name = folder.name if file.name == METRICS else file.stem
    return Run(drawable(text(name)), folder, metrics, read_clip(folder / "config.toml"))


def make_comparable(metrics: Metrics) -> None:
    """Let `val_loss` and `bits_per_byte` of every evaluation be of the same tokens, so that their line means something;
    `whole_loss` and `whole_bits` are what the rows say."""
    table, losses = metrics.eval, comparable_losses(metrics)
    table["whole_loss"] = table["val_loss"]
    if "bits_per_byte" in table:
        table["whole_bits"] = table["bits_per_byte"]
        with np.errstate(all="ignore"):
            sampled = table["whole_bits"] * losses / table["val_loss"]
        table["bits_per_byte"] = np.where(losses == table["val_loss"], table["whole_bits"], sampled)
    table["val_loss"] = losses


def bound(metrics: Metrics, file: Path) -> None:
    """What is too large to be drawn becomes nan, as what is not finite is, and what is too small becomes 0."""
    for table in (metrics.train, metrics.eval, metrics.trace):
        if (table["seconds"] > LARGEST).any():
            raise ValueError(f"{file} has more seconds than a run can last; restore the file from a copy")
        for column in table.values():
            if column.dtype.kind == "f":
                column[np.abs(column) > LARGEST] = np.nan
                column[np.abs(column) < SMALLEST] = 0


def bits_by_nats(run: Run) -> float:
    """Bits a byte by nats a token: what the run's losses in the one unit are in the other. nan before an evaluation.

    It is the number of tokens by that of bytes of the validation text, over ln 2: the same for all of a run.
    """
    table = run.metrics.eval
    if "bits_per_byte" not in table:
        return float("nan")
    known = np.isfinite(table["bits_per_byte"]) & (table["val_loss"] > 0)
    ratios = table["bits_per_byte"][known] / table["val_loss"][known]
    return float(np.median(ratios)) if len(ratios) else float("nan")


def same_tokens(runs: list[Run]) -> bool:
    """Whether losses in nats a token compare: a token is as many bytes in every run that tells it."""
    ratios = np.array([ratio for ratio in map(bits_by_nats, runs) if np.isfinite(ratio)])
    return not len(ratios) or bool(np.ptp(ratios) < 1e-6 * ratios.max())


def load_runs(paths: Iterable[Path]) -> list[Run]:
    """These runs, each once. Where two have one name, it is their folders that tell them apart."""
    runs = [load_run(display_path(path)) for path in dict.fromkeys(path.resolve() for path in paths)]
    names = [run.name for run in runs]
    for run in runs:
        if names.count(run.name) > 1:
            run.name = drawable(text(display_path(run.folder)))
    return runs


def read_config(path: Path) -> dict[str, Any]:
    """The values in a run's config.toml, which may be a stranger's; none where there is no such file."""
    if not path.exists():
        return {}
    if not path.is_file():
        raise ValueError(f"{path} is {NO_FILE}; take it away")
    try:
        return read_toml(path)
    except (ValueError, RecursionError) as error:  # RecursionError: brackets in brackets
        raise ValueError(f"{path} is no TOML file, or no run's ({error}); mend it or take it away") from None


def read_clip(path: Path) -> float | None:
    """The number that `clip` is set to in a run's config, at the top or in one of its tables; None where it is not."""
    config = read_config(path)
    tables = [config, *(value for value in config.values() if isinstance(value, dict))]
    found = [table["clip"] for table in tables if type(table.get("clip")) in (int, float)]
    return float(found[0]) if found and 0 < found[0] <= LARGEST else None


def summary(run: Run, span: float) -> str:
    """One line: how long the run is and how low its losses are."""
    steps = run.total("step")
    size = f"{steps:,} step" if steps == 1 else f"{steps:,} steps"
    parts = [f"{size}, {tokens(run.total('tokens'))} tokens, {duration(run.total('seconds'))}"]
    losses = run.metrics.train["loss"]
    if np.isfinite(losses).any():
        average = smooth(losses, span)
        parts.append(f"train loss {average[np.isfinite(average)][-1]:.3f}")
    broken = int(np.sum(~np.isfinite(losses)))
    if broken:
        parts.append(f"loss not finite in {broken:,} of {len(losses):,} updates")
    best, evals = run.best(), run.metrics.eval
    if best is None:
        parts.append("no evaluation yet" if not len(evals["step"]) else "no validation loss is finite")
    else:
        low = f"best {evals['whole_loss'][best]:.3f} at step {evals['step'][best]:,}"
        if "bits_per_byte" in evals:
            low += f" ({evals['whole_bits'][best]:.2f} bits a byte)"
        parts.append(f"validation loss {evals['whole_loss'][-1]:.3f}, {low}")
    return f"{run.name}: " + "; ".join(parts)


def tokens(count: float) -> str:
    """1234567 -> 1.23 M"""
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if count >= 0.9995 * size:  # 999,999 is "1 M", not "1e+03 k"
            return f"{count / size:.3g}{letter}"
    return f"{count:.0f}"
