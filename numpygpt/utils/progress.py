"""Progress bars on stderr, one per long piece of work."""

from __future__ import annotations

from tqdm import tqdm

COUNTED = ("learning merges",)  # everything else is measured in bytes


class ProgressBars:
    """Callable as (what, done, total). A new `what` starts a new bar; total 0 means unknown.

    Use it in a `with` block, so that an error's line is not written into a bar.
    """

    def __init__(self) -> None:
        self._bar: tqdm | None = None
        self._what = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        if self._bar is None or what != self._what:
            self.close()
            # leave=False: a finished bar vanishes, the summary stays. disable=None: no bars in a log file.
            self._bar = tqdm(desc=what, total=total or None, leave=False, disable=None, dynamic_ncols=True,
                             unit="it" if what in COUNTED else "B", unit_scale=what not in COUNTED, unit_divisor=1024,
                             bar_format=None if total else "{desc} ...")  # fmt: skip
            self._what = what
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> ProgressBars:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
