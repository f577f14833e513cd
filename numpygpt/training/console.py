"""What a run writes on the screen: lines, notes, and one progress bar that they do not tear."""

from __future__ import annotations

import sys

from tqdm import tqdm

from numpygpt.utils.text import columns, hanging


def progress_bar(steps: int, done: int) -> tqdm:
    """The run's bar. tqdm's own estimate of the time left is not in it: it knows nothing of evaluations."""
    return tqdm(total=steps, initial=done, dynamic_ncols=True, leave=False, disable=not sys.stderr.isatty(),
                bar_format="{desc}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} steps{postfix}")


def say(text: str) -> None:
    """A line on stdout that does not tear the progress bar."""
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()


def note(text: str, name: str = "note: ") -> None:
    """A line that begins with `name`. On a terminal it is broken between words; in a file it is one line."""
    say(hanging(name, text, columns(otherwise=1 << 30)))
