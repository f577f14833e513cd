"""Read a training run for the pictures: its numbers, its name, and a summary in one line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from numpygpt.data.meta import read_meta
from numpygpt.inspection.tables import scaled
from numpygpt.plots.glyphs import drawable
from numpygpt.plots.series import smooth
from numpygpt.training.metrics import Metrics, comparable_losses, read_metrics
from numpygpt.training.presets import read_toml
from numpygpt.training.runs import run_suggestion
from numpygpt.utils.arguments import text
from numpygpt.utils.paths import display_path
from numpygpt.utils.text import duration

METRICS = "metrics.jsonl"
NOT_A_FILE = "a pipe, a folder or a device, not a file"
MIN_SIZE, MAX_SIZE = 1e-100, 1e100  # of what is drawn: sums, squares and quotients of such numbers are finite


@dataclass
class RunData:
    name: str
    folder: Path
    metrics: Metrics
    clip: float | None = None  # the gradient norm above which the run clipped, if its config says so

    def best(self) -> int | None:
        losses = self.metrics.eval["val_loss"]
        return int(np.nanargmin(losses)) if np.isfinite(losses).any() else None

    @property
    def sampled(self) -> bool:
        """Whether the validation losses are of a part of the validation tokens."""
        table = self.metrics.eval
        return not np.array_equal(table.get("whole_loss", table["val_loss"]), table["val_loss"], equal_nan=True)

    def total(self, name: str) -> Any:
        """Return the last `step`, `tokens` or `seconds` of the run."""
        columns = (self.metrics.train[name], self.metrics.eval[name])
        return max(column[-1] for column in columns if len(column))

    @cached_property
    def bits_per_nat(self) -> float:
        """The factor from nats per token to bits per byte of the validation text; nan before an evaluation.

        It is tokens / bytes / ln 2, the same for all evaluations of a run.
        """
        table = self.metrics.eval
        if "bits_per_byte" not in table:
            return float("nan")
        known = np.isfinite(table["bits_per_byte"]) & (table["val_loss"] > 0)
        ratios = table["bits_per_byte"][known] / table["val_loss"][known]
        return float(np.median(ratios)) if len(ratios) else float("nan")

    @cached_property
    def train_bits_per_nat(self) -> float:
        """The same factor for the training text, whose tokens may have more or fewer bytes.

        nan if the run's data folder is gone, or no longer has the validation text that the run was evaluated on.
        """
        try:
            meta = read_meta(Path(read_config(self.folder / "config.toml")["data"]))
        except (OSError, ValueError, KeyError, TypeError):
            return float("nan")
        val, train = meta["val"], meta["train"]
        same = np.isclose((val["tokens"] - 1) / val["bytes"] / np.log(2), self.bits_per_nat, rtol=1e-6)
        return float(train["tokens"] / train["bytes"] / np.log(2)) if same else float("nan")


def load_run(path: str | Path) -> RunData:
    """Read a run folder, or a metrics file. Raises ValueError if it has no rows yet: there is nothing to draw."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such run folder or metrics file{run_suggestion(path)}")
    file = path / METRICS if path.is_dir() else path
    if not file.exists():
        raise FileNotFoundError(f"{path} has no {METRICS}: it is not a run folder, or its training has not started")
    if not file.is_file():
        raise ValueError(f"{file} is {NOT_A_FILE}; name another run")
    metrics = read_metrics(file)
    if not len(metrics.train["step"]) and not len(metrics.eval["step"]):
        raise ValueError(f"{file} has no rows yet; wait for the run's first row, or name another run")
    bound(metrics, file)
    make_comparable(metrics)
    folder = file.resolve().parent
    name = folder.name if file.name == METRICS else file.stem
    return RunData(drawable(text(name)), folder, metrics, read_clip(folder / "config.toml"))


def make_comparable(metrics: Metrics) -> None:
    """Make `val_loss` and `bits_per_byte` of every evaluation refer to the same tokens, so that they can be joined by a
    line. `whole_loss` and `whole_bits` keep what the rows say."""
    table, losses = metrics.eval, comparable_losses(metrics)
    table["whole_loss"] = table["val_loss"]
    if "bits_per_byte" in table:
        table["whole_bits"] = table["bits_per_byte"]
        with np.errstate(all="ignore"):
            sampled = table["whole_bits"] * losses / table["val_loss"]
        table["bits_per_byte"] = np.where(losses == table["val_loss"], table["whole_bits"], sampled)
    table["val_loss"] = losses


def bound(metrics: Metrics, file: Path) -> None:
    """Replace numbers that are too large to draw by nan, and those that are too small by 0."""
    for table in (metrics.train, metrics.eval, metrics.trace):
        if (table["seconds"] > MAX_SIZE).any():
            raise ValueError(f"{file} has more seconds than a run can last; restore the file from a copy")
        for column in table.values():
            if column.dtype.kind == "f":
                column[np.abs(column) > MAX_SIZE] = np.nan
                column[np.abs(column) < MIN_SIZE] = 0


def same_tokens(runs: list[RunData]) -> bool:
    """Whether losses in nats per token compare: a token has the same number of bytes in every run that knows it."""
    ratios = np.array([run.bits_per_nat for run in runs if np.isfinite(run.bits_per_nat)])
    return not len(ratios) or bool(np.ptp(ratios) < 1e-6 * ratios.max())


def load_runs(paths: Iterable[Path]) -> list[RunData]:
    """Load these runs, each once. Runs with the same name are named by their folders."""
    runs = [load_run(display_path(path)) for path in dict.fromkeys(path.resolve() for path in paths)]
    names = [run.name for run in runs]
    for run in runs:
        if names.count(run.name) > 1:
            run.name = drawable(text(display_path(run.folder)))
    return runs


def read_config(path: Path) -> dict[str, Any]:
    """Return the values of a run's config.toml, which may be untrusted; {} if there is no such file."""
    if not path.exists():
        return {}
    if not path.is_file():
        raise ValueError(f"{path} is {NOT_A_FILE}; remove it")
    try:
        return read_toml(path)
    except (ValueError, RecursionError) as error:  # RecursionError: deeply nested brackets
        raise ValueError(f"{path} is not a valid configuration file ({error}); correct or remove it") from None


def read_clip(path: Path) -> float | None:
    """Return the value of `clip` in a run's config, at the top or in one of its tables; None if there is none."""
    config = read_config(path)
    tables = [config, *(value for value in config.values() if isinstance(value, dict))]
    found = [table["clip"] for table in tables if type(table.get("clip")) in (int, float)]
    return float(found[0]) if found and 0 < found[0] <= MAX_SIZE else None


def summary(run: RunData, span: float) -> str:
    """Return one line: how long the run is and how low its losses are."""
    steps = int(run.total("step"))
    parts = [f"{steps:,} step{'s' * (steps != 1)}, {scaled(run.total('tokens'))} tokens, "
             f"{duration(run.total('seconds'))}"]
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
            low += f" ({evals['whole_bits'][best]:.2f} bits per byte)"
        parts.append(f"validation loss {evals['whole_loss'][-1]:.3f}, {low}")
    return f"{run.name}: " + "; ".join(parts)
