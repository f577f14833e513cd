"""Runs of train.py by name: trained where they are missing, gone on with where they were cut off, and read."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import train  # noqa: E402
from numpygpt.data import TokenDataset  # noqa: E402
from numpygpt.plots.runs import Run, load_run, read_config  # noqa: E402
from numpygpt.training.metrics import read_metrics  # noqa: E402
from numpygpt.training.start import begun  # noqa: E402
from numpygpt.utils.paths import display_path  # noqa: E402

FREE = ("out", "data", "workers", "log", "trace_every", "sample_tokens", "eval_tokens")  # paths, or change no parameter


def complete(out: Path) -> bool:
    """Whether the run in `out` has done all its steps and evaluated the last."""
    if not (out / "metrics.jsonl").exists():
        return False
    evaluated = read_metrics(out / "metrics.jsonl").eval["step"]
    return bool(len(evaluated)) and int(evaluated[-1]) == read_config(out / "config.toml").get("steps")


def check_same(out: Path, arguments: list[str]) -> None:
    """ValueError where the run in `out` is another than `./train.py ARGUMENTS` makes."""
    asked = begun(train.parse([*arguments, "--dry-run"])).config
    found = read_config(out / "config.toml")
    for name, value in asked.to_dict().items():
        if name not in FREE and name in found and found[name] != value:
            raise ValueError(f"{display_path(out)} holds another run: its {name} is {found[name]}, and {value} is "
                             "asked for; move it away")


def missing(out: Path, arguments: Iterable[object]) -> list[str]:
    """The words for train.py that make what is missing of the run `ARGUMENTS --out OUT`: none where it is complete.
    ValueError where another run is in `out`."""
    words = [str(argument) for argument in arguments]
    if (out / "config.toml").exists():
        check_same(out, words)
    if complete(out):
        return []
    return ["--resume", str(out)] if (out / "ckpt.npz").exists() else [*words, "--out", str(out)]


def trained(out: Path, *arguments: object) -> Run:
    """The run that `./train.py ARGUMENTS --out OUT` makes; what that prints goes to standard error. ValueError where
    another run is in `out`, CalledProcessError where the training fails."""
    if words := missing(out, arguments):
        subprocess.run([sys.executable, str(ROOT / "train.py"), *words], check=True, stdout=sys.stderr)
    return load_run(out)


def data_of(folder: Path) -> TokenDataset:
    """The data that the run in `folder` was trained on. ValueError where no config.toml names it, FileNotFoundError or
    ValueError where it cannot be read."""
    config = read_config(folder / "config.toml")
    if "data" not in config:
        raise ValueError(f"{display_path(folder)} has no config.toml that names its data")
    return TokenDataset.load(config["data"])


def slug(name: str) -> str:
    """A folder's name for a run that is called `name`."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def best_loss(run: Run) -> float:
    """The lowest validation loss, in nats a token."""
    return float(np.nanmin(run.metrics.eval["val_loss"]))


def last_train_loss(run: Run, steps: int = 100) -> float:
    """The mean training loss of the last steps, in nats a token: that of one batch jumps."""
    return float(run.metrics.train["loss"][-steps:].mean())


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    head = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    return head + [f"| {' | '.join(row)} |" for row in rows]
