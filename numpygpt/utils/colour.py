r"""Text on a terminal: whether to colour it, coloured text, and untrusted text with nothing hidden.

A file may contain anything: sequences that clear the screen, characters that reverse the direction of a line, letters
of no width. `signs` shows them by name, and its result can be printed:

    >>> print(*signs("a  b\n\x1b[2J"), sep="")
    a··b⏎\u001b[2J
"""

from __future__ import annotations

import os
import re
import shutil
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

WINDOWS = os.name == "nt"

# Backgrounds for black text: mint, ochre and lavender, from the ANSI colours that are the same on every terminal. They
# and white can be told apart with every kind of colour blindness, and by lightness alone. The tests measure it.
BACKGROUNDS = (157, 172, 183)
BLACK, WHITE = 16, 231

# From low to high: from cream over rose to dark purple, darker at each step with every kind of colour blindness.
SCALE = (230, 223, 216, 209, 168, 126, 54)
DARK = (126, 54)  # need white text

LEGEND = r"· space   ⏎ new line   \t tab   \u200b invisible character   ◌ lone accent   \\ backslash"
MIN_COLUMNS = 20  # used even if a terminal has fewer
SEPARATORS = "|¦"  # between tokens without colour: the second if the text contains the first
_NAMES = {" ": "·", "\n": "⏎", "\t": r"\t", "\r": r"\r", "\\": r"\\"}
_OWN = "·⏎◌¦"  # the legend's signs: if the text contains them, they are shown by number
_HIDDEN = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"}  # controls, directions, joiners, unassigned, odd spaces
_NO_SHAPE = re.compile(  # letters and marks that show nothing
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_SPACES = ("·", "⏎")
_MAX_MARKS = 4  # on one letter; more would cover the lines above


def colours(stream: Any) -> bool:
    """Return whether to colour output on `stream`: on a terminal, unless NO_COLOR or TERM=dumb is set.

    FORCE_COLOR enables colour in every case, for a pager that shows colours. Empty variables are ignored.
    """
    if os.environ.get("FORCE_COLOR"):
        return True
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    if WINDOWS and not os.environ.get("WT_SESSION"):  # the old console does not understand the sequences
        return False
    return stream is not None and not stream.closed and stream.isatty()


def room(stream: Any, most: int) -> int:
    """Return the columns for output on `stream`: the terminal's, at most `most`; `most` if it is not a terminal."""
    if stream is None or stream.closed or not stream.isatty():
        return most
    return min(most, max(MIN_COLUMNS, shutil.get_terminal_size((most, 24)).columns))


def paint(text: str, background: int, foreground: int = BLACK) -> str:
    """Return `text` (without new lines) on a background. Colours are numbers of ANSI's 256 colours."""
    return f"\x1b[48;5;{background}m\x1b[38;5;{foreground}m{text}\x1b[0m" if text else ""


def bold(text: str) -> str:
    return f"\x1b[1m{text}\x1b[0m" if text else ""


def faint(text: str) -> str:
    return f"\x1b[2m{text}\x1b[0m" if text else ""


def signs(text: str) -> list[str]:
    """Return `text` as a list of visible signs (see `LEGEND`). Different texts get different signs.

    A line may be broken between two signs: no escape and no letter with its marks is split.
    """
    found: list[str] = []
    for char in text:
        if char in _NAMES:
            found.append(_NAMES[char])
        elif char in _OWN or _hidden(char):
            found.append(number_of(char))
        elif not unicodedata.category(char).startswith("M"):
            found.append(char)
        elif not found or found[-1] in _SPACES:
            found.append("◌" + char)
        elif found[-1][0] == "\\" or len(found[-1]) > _MAX_MARKS:
            found.append(number_of(char))
        else:
            found[-1] += char
    return found


def token_lines(tokens: Sequence[list[str]], columns: int,
                backgrounds: Sequence[int | None] | None = None) -> list[str]:
    """Return tokens, each a list of `signs`, in lines of at most `columns`. A new line in the text ends a line.

    Each token has its own of the `backgrounds` (None is no background); without them, a separator is between tokens. A
    first sign " " is a space that belongs to no token and has no background.
    """
    if backgrounds is None:
        between = separator(tokens)
        tokens = [[*token[:-1], "".join(token[-1:]) + between] for token in tokens[:-1]] + list(tokens[-1:])
        return ["".join(sign for _, part in line for sign in part) for line in arranged(tokens, columns)]
    return ["".join(_on(backgrounds[at], "".join(part)) for at, part in line) for line in arranged(tokens, columns)]


def separator(tokens: Sequence[list[str]]) -> str:
    """Return the separator, which is not in any token."""
    return SEPARATORS[any(SEPARATORS[0] in sign for token in tokens for sign in token)]


def arranged(tokens: Sequence[list[str]], columns: int) -> list[list[tuple[int, list[str]]]]:
    """Return lines of (index of a token, its signs in this line). A token that fits into a line is not broken."""
    lines: list[list[tuple[int, list[str]]]] = [[]]
    room = columns
    for at, token in enumerate(tokens):
        rest = sum(map(width, token))
        for place, sign in enumerate(token):
            if (lines[-1] and width(sign) > room) or (place == 0 and room < rest <= columns):
                lines.append([])
                room = columns
            if lines[-1] and lines[-1][-1][0] == at:
                lines[-1][-1][1].append(sign)
            else:
                lines[-1].append((at, [sign]))
            room -= width(sign)
            if sign[0] == "⏎":
                lines.append([])
                room = columns
    return lines if lines[-1] else lines[:-1]


def _on(background: int | None, part: str) -> str:
    if background is None:
        return part
    gap = " " if part.startswith(" ") else ""
    text = part[len(gap) :].replace("·", " ")  # a background shows a space
    return gap + paint(text, background, WHITE if background in DARK else BLACK)


def printable(text: str) -> str:
    """Return `text` with invisible characters other than spaces shown by number, for names and messages."""
    return "".join(number_of(char) if char != " " and _hidden(char) else char for char in text)


def harmless(text: str) -> str:
    """Return `text` with characters that control a terminal (colours, cursor, title) shown by number: a model may have
    learned them. Tabs and line ends stay."""
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", lambda found: number_of(found[0]), text)


def listed(rows: Iterable[tuple[str, str]], columns: int) -> str:
    """Return `name  what` for each row that is not empty, in lines of at most `columns`, made `printable`."""
    lines = []
    for name, what in rows:
        cut = textwrap.wrap(printable(what), columns - 13, break_on_hyphens=False)
        lines += [f"{'' if at else name:<12} {line}" for at, line in enumerate(cut)]
    return "\n".join(lines)


def width(text: str) -> int:
    """Return the columns that `text` needs on a terminal."""
    return sum(
        0 if unicodedata.category(char).startswith("M") else 1 + (unicodedata.east_asian_width(char) in "WF")
        for char in text
    )


def _hidden(char: str) -> bool:
    return unicodedata.category(char) in _HIDDEN or _NO_SHAPE.match(char) is not None


def number_of(char: str) -> str:
    r"""Return `\u4e2d` for a character that cannot be printed."""
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
