"""Where else a run's numbers, samples and pictures go: the tools that people watch their runs in already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from numpygpt.utils.config import Config


class Logger(Protocol):
    """What a run tells a logger. `kind` is that of the row in metrics.jsonl: train, eval or trace."""

    def metrics(self, kind: str, step: int, values: Mapping[str, float]) -> None: ...

    def sample(self, step: int, text: str) -> None: ...

    def picture(self, name: str, step: int, path: Path) -> None: ...

    def close(self) -> None: ...


@contextmanager
def open_loggers(config: Config, out: Path, step: int) -> Iterator[list[Logger]]:
    """The loggers that the configuration names, for a run in the folder `out` that begins or goes on at `step`."""
    loggers: list[Logger] = []
    with ExitStack() as stack:
        for logger in loggers:
            stack.callback(logger.close)
        yield loggers
