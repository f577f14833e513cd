"""What a run writes into its folder: whole or not at all, and a sentence where the disk refuses.

The order makes a run exact that is killed: metrics and samples reach the disk before the checkpoint that counts them,
and the run that goes on from it drops what came later.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from numpygpt.training.trainer import Trainer
from numpygpt.utils.checkpoint import replacing
from numpygpt.utils.cli import command, shown
from numpygpt.utils.metrics import MetricsLog

WRITTEN = ("ckpt.npz", "best.npz", "metrics.jsonl", "config.toml")  # by way of a temporary file


class NotSaved(RuntimeError):
    """A file of the run could not be written."""


@contextmanager
def writing(path: Path, kept: str, size: int = 0) -> Iterator[None]:
    """NotSaved for an OSError in this block: the file, the reason, how many bytes it needs, and what is `kept`."""
    try:
        yield
    except OSError as error:
        needed = f"it needs about {amount(size)}, and " if size else ""
        free = amount(shutil.disk_usage(path.parent).free)
        raise NotSaved(f"{shown(path)} could not be written: {error.strerror or error} ({needed}{free} are free on its "
                       f"disk). {kept}") from error


def amount(size: float) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"


def write_whole(path: Path, text: str) -> None:
    """Write the text; what was there stays until the new file is complete."""
    with replacing(path) as file:
        file.write(text.encode())


def clear_leftovers(out: Path) -> None:
    """Remove the temporary files that a kill has left. Nobody else may be writing in the folder."""
    for name in WRITTEN:
        for left in out.glob(f"*{name}*.tmp"):
            left.unlink(missing_ok=True)


class Samples:
    """`samples.txt`, to which each evaluation adds a text. `size` is that of the file after the last one, in bytes.

    A checkpoint keeps `size`, and the run that goes on from it cuts off what came later: it will be made again.
    """

    def __init__(self, path: Path, size: int | None = None):
        self.path = path
        found = path.stat().st_size if path.exists() else 0
        self.size = found if size is None else min(size, found)
        if self.size < found:
            os.truncate(path, self.size)

    def add(self, step: int, text: str) -> None:
        """A failed write leaves no half of a sample behind."""
        with open(self.path, "ab", buffering=0) as file:
            before, rest = file.tell(), memoryview(f"--- step {step}\n{text}\n".encode())
            try:
                while rest:
                    rest = rest[file.write(rest):]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(before)
                raise
            self.size = file.tell()


class RunFiles:
    """Checkpoints and samples of a run in its folder `out`. `saved` is the step of its checkpoint, None before there is
    one."""

    def __init__(self, trainer: Trainer, out: Path, log: MetricsLog):
        self.trainer, self.out, self.log = trainer, out, log
        self.saved = trainer.step if (out / "ckpt.npz").exists() else None
        self.samples = Samples(out / "samples.txt", trainer.sample_bytes)

    def save(self, best: bool = False) -> None:
        """Raises NotSaved where the disk is full; the checkpoint is then the one before."""
        t, kept = self.trainer, self.kept_and_how()
        with writing(self.log.path, kept):
            self.log.flush()
        if best:
            with writing(self.out / "best.npz", kept, t.model.flat().params.nbytes):
                t.save_model(self.out / "best.npz")
        t.sample_bytes = self.samples.size
        with writing(self.out / "ckpt.npz", kept, t.save_bytes()):
            t.save(self.out / "ckpt.npz")
        self.saved = t.step

    def add_sample(self, text: str) -> None:
        with writing(self.samples.path, self.kept_and_how()):
            self.samples.add(self.trainer.step, text)

    def resume(self) -> str:
        """The command that goes on with the run."""
        return command("train.py", "--resume", shown(self.out))

    def kept(self) -> str:
        if self.saved is None:
            return "There is no checkpoint yet"
        return f"The last good checkpoint is {shown(self.out / 'ckpt.npz')} of step {self.saved:,}"

    def kept_and_how(self) -> str:
        how = "begin anew" if self.saved is None else f"go on with {self.resume()}"
        return f"{self.kept()}: make room, and {how}"


@contextmanager
def closed(log: MetricsLog) -> Iterator[MetricsLog]:
    """The log, closed at the end. An error that ends the run is told, not the one that closing then meets as well."""
    try:
        yield log
    except BaseException:
        with suppress(OSError):
            log.close()
        raise
    log.close()
