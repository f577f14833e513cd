"""What a script prints while it works: lines, notes, and a progress bar that they do not break."""

from __future__ import annotations

import sys
import textwrap

from tqdm import tqdm

from numpygpt.utils.colour import room

WIDTH = 100  # columns of a line at most
UNLIMITED = 1 << 30


def progress_bar(steps: int, done: int) -> tqdm:
    """Return the bar of a run, without tqdm's estimate of the remaining time, which ignores evaluations."""
    return tqdm(total=steps, initial=done, dynamic_ncols=True, leave=False, disable=not sys.stderr.isatty(),
                bar_format="{desc}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} steps{postfix}")


def say(text: str) -> None:
    """Print a line on stdout, above a progress bar."""
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()


def note(text: str, name: str = "note: ") -> None:
    """Print a line that starts with `name`. On a terminal it is wrapped; in a file it is one line."""
    say(hanging(name, text, room(sys.stdout, WIDTH) if sys.stdout.isatty() else UNLIMITED))


def hanging(name: str, text: str, width: int) -> str:
    """Return `name` and `text` in lines of at most `width` columns; later lines are indented, and no word is broken."""
    return textwrap.fill(text, max(width, len(name) + 20), initial_indent=name, subsequent_indent=" " * len(name),
                         break_long_words=False, break_on_hyphens=False)
