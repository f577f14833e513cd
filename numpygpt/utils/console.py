"""What a script writes on the screen while it works: lines, notes, and a progress bar that they do not tear."""

from __future__ import annotations

import sys
import textwrap

from tqdm import tqdm

from numpygpt.utils.colour import room

WIDTH = 100  # columns of a line at most
ENDLESS = 1 << 30


def progress_bar(steps: int, done: int) -> tqdm:
    """The bar of a run. tqdm's own estimate of the time left is not in it: it knows nothing of evaluations."""
    return tqdm(total=steps, initial=done, dynamic_ncols=True, leave=False, disable=not sys.stderr.isatty(),
                bar_format="{desc}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} steps{postfix}")


def say(text: str) -> None:
    """A line on stdout. A bar that is on the screen moves out of its way."""
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()


def note(text: str, name: str = "note: ") -> None:
    """A line that begins with `name`. On a terminal it is broken between words; in a file it is one line."""
    say(hanging(name, text, room(sys.stdout, WIDTH) if sys.stdout.isatty() else ENDLESS))


def hanging(name: str, text: str, width: int) -> str:
    """`name` and `text` in lines of at most `width` columns; further lines are indented by it, no word is broken."""
    return textwrap.fill(text, max(width, len(name) + 20), initial_indent=name, subsequent_indent=" " * len(name),
                         break_long_words=False, break_on_hyphens=False)
