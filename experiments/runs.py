"""One run of an experiment: train it if it is missing, resume it if it was interrupted, and read the result.

`experiments/sweep.py` trains many runs side by side.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import train
from numpygpt.data import TokenDataset
from numpygpt.plots.runs import RunData, load_run, read_config
from numpygpt.training.config import Config
from numpygpt.training.metrics import read_metrics
from numpygpt.training.start import new_run, open_data
from numpygpt.utils.paths import ROOT, display_path

UNCHECKED = ("out", "data", "workers", "log", "trace_every", "sample_tokens", "eval_tokens")  # may differ between runs


def is_complete(out: Path) -> bool:
    """Return whether the run in `out` has done all its steps and evaluated the last one."""
    if not (out / "metrics.jsonl").exists():
        return False
    evaluated = read_metrics(out / "metrics.jsonl").eval["step"]
    return bool(len(evaluated)) and int(evaluated[-1]) == read_config(out / "config.toml").get("steps")


def config_of(arguments: Iterable[object]) -> Config:
    """Return the configuration of the run that `./train.py ARGUMENTS` makes."""
    return new_run(train.parse([*map(str, arguments), "--dry-run"])).config


def prepared(config: Config) -> TokenDataset:
    """Return a run's data, which is made if it is missing. Messages go to standard error."""
    return open_data(config, make=True, say=lambda text: print(text, file=sys.stderr))


def check_same(out: Path, arguments: list[str]) -> None:
    """Raise ValueError unless the run in `out` is the one that `./train.py ARGUMENTS` makes."""
    found = read_config(out / "config.toml")
    for name, value in config_of(arguments).to_dict().items():
        if name not in UNCHECKED and name in found and found[name] != value:
            raise ValueError(f"{display_path(out)} holds a different run: its {name} is {found[name]}, "
                             f"expected {value}; move it away")


def missing_arguments(out: Path, arguments: Iterable[object]) -> list[str]:
    """Return the arguments with which train.py starts or resumes the run in `out`, or none if the run is complete.
    Raise ValueError if `out` holds a different run."""
    words = [str(argument) for argument in arguments]
    if (out / "config.toml").exists():
        check_same(out, words)
    if is_complete(out):
        return []
    return ["--resume", str(out)] if (out / "ckpt.npz").exists() else [*words, "--out", str(out)]


def train_run(out: Path, *arguments: object) -> RunData:
    """Run `./train.py ARGUMENTS --out OUT` on all cores unless that is done, and return the run. Output goes to
    standard error. Raise ValueError if `out` holds a different run, CalledProcessError if the training fails."""
    if words := missing_arguments(out, arguments):
        subprocess.run([sys.executable, str(ROOT / "train.py"), *words], check=True, stdout=sys.stderr)
    return load_run(out)


def load_data(folder: Path) -> TokenDataset:
    """Load the data on which the run in `folder` was trained. Raise ValueError if no config.toml names the data,
    FileNotFoundError or ValueError if the data cannot be read."""
    config = read_config(folder / "config.toml")
    if "data" not in config:
        raise ValueError(f"{display_path(folder)} has no config.toml that names its data")
    return TokenDataset.load(config["data"])


def slug(name: str) -> str:
    """Return a folder name for a run called `name`."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def best_loss(run: RunData) -> float:
    """Return the lowest validation loss, in nats per token."""
    return float(np.nanmin(run.metrics.eval["val_loss"]))


def last_train_loss(run: RunData, steps: int = 100) -> float:
    """Return the mean training loss of the last steps, in nats per token: the loss of one batch is noisy."""
    return float(run.metrics.train["loss"][-steps:].mean())
