"""The files of a run folder. Each is written completely or not at all, and a full disk gives a clear error.

The order makes a killed run resume exactly: metrics and samples reach the disk before the checkpoint that counts them,
and the resumed run drops what came later.
"""

from __future__ import annotations

import os
from pathlib import Path

from numpygpt.training.metrics import MetricsLog
from numpygpt.training.trainer import Trainer
from numpygpt.utils.files import append, check_plain, writing
from numpygpt.utils.paths import command, display_path

WRITTEN = ("ckpt.npz", "best.npz", "metrics.jsonl", "config.toml")  # through a temporary file


def clear_leftovers(out: Path) -> None:
    """Remove the temporary files that a kill has left. No other process may be writing to the folder."""
    for name in WRITTEN:
        for left in out.glob(f"*{name}*.tmp"):
            left.unlink(missing_ok=True)


class Samples:
    """`samples.txt`: each evaluation appends a text. `size` is the file's size in bytes after the last one.

    A checkpoint stores `size`; the resumed run cuts off what came later, because it will be written again.
    """

    def __init__(self, path: Path, size: int | None = None):
        self.path = path
        check_plain(path)
        found = path.stat().st_size if path.exists() else 0
        self.size = found if size is None else min(size, found)
        if self.size < found:
            os.truncate(path, self.size)

    def add(self, step: int, text: str) -> None:
        with open(self.path, "ab", buffering=0) as file:
            append(file, f"--- step {step}\n{text}\n".encode())
            self.size = file.tell()


class RunFiles:
    """Checkpoints and samples in the run folder `out`. `saved` is the step of its checkpoint, or None."""

    def __init__(self, trainer: Trainer, out: Path, log: MetricsLog):
        self.trainer = trainer
        self.out = out
        self.named = Path(trainer.config.out) if trainer.group.rank else out  # ranks above 0 write to temporary ones
        self.log = log
        self.saved = trainer.step if (self.named / "ckpt.npz").exists() else None
        self.samples = Samples(out / "samples.txt", trainer.sample_bytes)

    def save(self, best: bool = False) -> None:
        """Save the checkpoint, with `best` also best.npz. Raises NotSaved if the disk is full; the previous checkpoint
        then stays."""
        t, advice = self.trainer, (self.state(), self.advice())
        with writing(self.log.path, *advice):
            self.log.flush()
        if best:
            with writing(self.out / "best.npz", *advice, t.model.flat().params.nbytes):
                t.save_model(self.out / "best.npz")
        t.sample_bytes = self.samples.size
        with writing(self.out / "ckpt.npz", *advice, t.save_bytes()):
            t.save(self.out / "ckpt.npz")
        self.saved = t.step

    def add_sample(self, text: str) -> None:
        with writing(self.samples.path, self.state(), self.advice()):
            self.samples.add(self.trainer.step, text)

    def resume(self) -> str:
        return command("train.py", "--resume", display_path(self.named))

    def state(self) -> str:
        if self.saved is None:
            return "There is no checkpoint yet"
        return f"The last good checkpoint is {display_path(self.named / 'ckpt.npz')} of step {self.saved:,}"

    def advice(self) -> str:
        return "start again" if self.saved is None else f"resume with {self.resume()}"
