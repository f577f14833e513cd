"""A bar on stderr for each long piece of work: what the scripts hand to `load_corpus` and `prepare` as `progress`."""

from __future__ import annotations

from tqdm import tqdm

COUNTED = ("learning merges",)  # everything else is measured in bytes


class ProgressBars:
    """Callable as (what, done, total); a new `what` starts a new bar, and total 0 means that nobody knows it.

    Use it in a `with` block, so that an error's line is not written into a bar.
    """

    def __init__(self) -> None:
        self._bar: tqdm | None = None
        self._what = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        if self._bar is None or what != self._what:
            self.close()
            # A finished bar vanishes (leave=False): what stays on the screen is the summary. disable=None: no bars in a
            # log file, where nobody watches and every step would be a line.
            self._bar = tqdm(
                desc=what,
                total=total or None,
                leave=False,
                disable=None,
                dynamic_ncols=True,
                unit="it" if what in COUNTED else "B",
                unit_scale=what not in COUNTED,
                unit_divisor=1024,
                bar_format=None if total else "{desc} ...",
            )
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
