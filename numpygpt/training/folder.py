"""What a run writes into its folder: whole or not at all, and a sentence where the disk refuses.

The order makes a run exact that is killed: metrics and samples reach the disk before the checkpoint that counts them,
and the run that goes on from it drops what came later.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from numpygpt.training.metrics import MetricsLog
from numpygpt.training.trainer import Trainer
from numpygpt.utils.files import check_plain, writing
from numpygpt.utils.paths import command, display_path

WRITTEN = ("ckpt.npz", "best.npz", "metrics.jsonl", "config.toml")  # by way of a temporary file


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
        check_plain(path)
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
        t, words = self.trainer, (self.kept(), self.how())
        with writing(self.log.path, *words):
            self.log.flush()
        if best:
            with writing(self.out / "best.npz", *words, t.model.flat().params.nbytes):
                t.save_model(self.out / "best.npz")
        t.sample_bytes = self.samples.size
        with writing(self.out / "ckpt.npz", *words, t.save_bytes()):
            t.save(self.out / "ckpt.npz")
        self.saved = t.step

    def add_sample(self, text: str) -> None:
        with writing(self.samples.path, self.kept(), self.how()):
            self.samples.add(self.trainer.step, text)

    def resume(self) -> str:
        """The command that goes on with the run."""
        return command("train.py", "--resume", display_path(self.out))

    def kept(self) -> str:
        if self.saved is None:
            return "There is no checkpoint yet"
        return f"The last good checkpoint is {display_path(self.out / 'ckpt.npz')} of step {self.saved:,}"

    def how(self) -> str:
        return "begin anew" if self.saved is None else f"go on with {self.resume()}"


def draw_curves(out: Path) -> Path:
    """The run's curves, as plot.py draws them, in its folder."""
    from numpygpt.plots import style  # here alone does training need matplotlib
    from numpygpt.plots.commands import curves

    parser = ArgumentParser()
    curves.add_arguments(parser)
    drawn = curves.make(parser.parse_args([str(out.resolve())]), style.new_figure)
    drawn.write(drawn.out)
    return drawn.out


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
