"""What can end a run before its time, each with a sentence that says what is kept and how to go on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from numpygpt.data import TokenDataset
from numpygpt.training.config import Config
from numpygpt.training.diagnose import NotFinite
from numpygpt.training.folder import RunFiles
from numpygpt.utils.paths import display_path

T = TypeVar("T")
USUAL = 3e-3  # a learning rate that a small model takes


class DataGone(RuntimeError):
    """A data file is no longer what was opened."""


class DataFiles:
    """The files that a run reads while it trains.

    They are read by memmap, and reading beyond the end of a file that was cut short in the meantime ends the process
    without a word (SIGBUS). So before each use `check()` looks at their sizes, which takes microseconds.
    """

    def __init__(self, dataset: TokenDataset):
        self.sizes = {dataset.folder / f"{part}.bin": getattr(dataset, part).nbytes for part in ("train", "val")}

    def check(self) -> None:
        """DataGone where a file is missing or of another size."""
        for path, size in self.sizes.items():
            try:
                found = path.stat().st_size
            except OSError as error:
                raise DataGone(f"{display_path(path)} cannot be read any more ({error.strerror})") from error
            if found != size:
                raise DataGone(f"{display_path(path)} has changed from {size:,} to {found:,} bytes")

    def checked(self, batches: Iterator[T]) -> Iterator[T]:
        """The batches, with a look at the files before each is read."""
        self.check()
        for batch in batches:
            yield batch
            self.check()


def stop_signals() -> list[signal.Signals]:
    """The signals that end a run from outside. One that was ignored when the program started stays ignored: nohup
    ignores SIGHUP, and a shell without job control ignores SIGINT for a job in the background."""
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    found = [signal.Signals[name] for name in names if name in signal.Signals.__members__]
    return [s for s in found if signal.getsignal(s) != signal.SIG_IGN]


def lower(c: Config) -> str:
    """What helps a run that diverges."""
    return f"The usual cause is too high a learning rate: try --lr {min(c.lr / 3, USUAL):.0e}, or a longer --warmup"


@contextmanager
def explained(files: RunFiles, c: Config) -> Iterator[None]:
    """An error in this block gets its sentence, which names the checkpoint."""
    try:
        yield
    except NotFinite as error:
        raise NotFinite(f"{error}. {files.kept()}. {lower(c)}") from error
    except DataGone as error:
        files.save()  # between two steps nothing is half done
        raise DataGone(f"{error}. {files.kept()}: put the file back, or make the data folder anew, and go on with "
                       f"{files.resume()}") from error
    except MemoryError as error:
        raise RuntimeError(f"this does not fit into memory ({str(error) or 'nothing is left'}). {files.kept()}: end "
                           f"other programs, or give fewer --workers, and go on with {files.resume()}; or begin a new "
                           "run with a smaller --batch-size and with --init-from, which takes the parameters over"
                           ) from error
