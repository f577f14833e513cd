"""What can end a run early. Each error says which checkpoint is kept and how to continue."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from numpygpt.data import TokenDataset
from numpygpt.nn.finite import NotFinite
from numpygpt.training.config import Config
from numpygpt.training.folder import RunFiles
from numpygpt.utils.paths import display_path

T = TypeVar("T")
SAFE_LR = 3e-3  # a learning rate at which a small model trains


class DataGone(RuntimeError):
    """A data file changed or disappeared while a run was reading it."""


class DataFiles:
    """Checks that the files that a run reads do not change while it trains.

    They are memory-mapped, and reading beyond the end of a file that was cut short in the meantime kills the process
    without a message (SIGBUS). So call `check()` before each use: it compares file sizes, which takes microseconds.
    """

    def __init__(self, dataset: TokenDataset):
        self.sizes = {dataset.folder / f"{part}.bin": getattr(dataset, part).nbytes for part in ("train", "val")}

    def check(self) -> None:
        """Raise DataGone if a file is missing or its size changed."""
        for path, size in self.sizes.items():
            try:
                found = path.stat().st_size
            except OSError as error:
                raise DataGone(f"{display_path(path)} cannot be read any more ({error.strerror})") from error
            if found != size:
                raise DataGone(f"{display_path(path)} has changed from {size:,} to {found:,} bytes")

    def checked(self, batches: Iterator[T]) -> Iterator[T]:
        self.check()
        for batch in batches:
            yield batch
            self.check()


def stop_signals() -> list[signal.Signals]:
    """Return the signals that stop a run from outside. A signal that was ignored when the program started stays
    ignored: nohup ignores SIGHUP, and a shell without job control ignores SIGINT for background jobs."""
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    found = [signal.Signals[name] for name in names if name in signal.Signals.__members__]
    return [s for s in found if signal.getsignal(s) != signal.SIG_IGN]


def lower_lr(c: Config) -> str:
    return (f"The usual cause is a learning rate that is too high: try {min(c.lr / 3, SAFE_LR):.0e}, or a longer "
            "warm-up")


@contextmanager
def explained(files: RunFiles, c: Config) -> Iterator[None]:
    """Add to an error in this block which checkpoint is kept and what to do."""
    try:
        yield
    except NotFinite as error:
        raise NotFinite(f"{error}. {files.state()}. {lower_lr(c)}") from error
    except DataGone as error:
        t = files.trainer
        if t.group.size == 1 and t.together():  # other ranks may not have noticed it, and all must save at once
            files.save()  # between two steps the state is consistent
        raise DataGone(f"{error}. {files.state()}: restore the file or make the data folder again, then resume with "
                       f"{files.resume()}") from error
    except MemoryError as error:
        raise RuntimeError(f"this does not fit into memory ({str(error) or 'nothing is left'}). {files.state()}: end "
                           f"other programs or use fewer `workers`, and resume with {files.resume()}; or start a new "
                           "run with a smaller `batch_size` and `init_from`, which takes the parameters over"
                           ) from error
