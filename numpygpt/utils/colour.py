r"""Text on a terminal: whether to colour it, coloured text, and text from a stranger shown so that nothing is hidden.

A file that one looks at may hold anything: sequences that clear the screen, characters that turn the direction of a
line round, letters of no width. `signs` shows them by name, and what it returns can be printed:

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

# Backgrounds for black text, from the part of ANSI's 256 colours that is the same on every terminal: mint, ochre and
# lavender. Every two of them, and each of them and white, lie far apart for the eyes of the colour-blind of all three
# kinds, and differ in lightness for those who see no colour at all. The tests measure it.
BACKGROUNDS = (157, 172, 183)
BLACK, WHITE = 16, 231

# From least to most of something: from cream over rose to dark purple, ever darker for all those eyes.
SCALE = (230, 223, 216, 209, 168, 126, 54)
DARK = (126, 54)  # those that need white text

LEGEND = r"· space   ⏎ new line   \t tab   \u200b what shows nothing   ◌ carries a lone mark   \\ backslash"
NARROWEST = 20  # columns that are used even where a terminal has fewer
SEPARATORS = "|¦"  # between tokens without colour: the second where the text has the first
_NAMES = {" ": "·", "\n": "⏎", "\t": r"\t", "\r": r"\r", "\\": r"\\"}
_OWN = "·⏎◌¦"  # the legend's signs, where the text itself has them, are shown by number
_HIDDEN = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"}  # controls, directions, joiners, unassigned, odd spaces
_NO_SHAPE = re.compile(  # letters and marks that show nothing all the same
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_SPACES = ("·", "⏎")
_MOST_MARKS = 4  # on one letter; a pile of them would cover the lines above


def colours(stream: Any) -> bool:
    """Whether to colour what is written to `stream`: on a terminal, unless NO_COLOR or TERM=dumb says no.

    FORCE_COLOR says yes in every case, for a pager that shows colours. Empty variables say nothing.
    """
    if os.environ.get("FORCE_COLOR"):
        return True
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    if WINDOWS and not os.environ.get("WT_SESSION"):  # the old console prints the sequences as they are
        return False
    return stream is not None and not stream.closed and stream.isatty()


def room(stream: Any, most: int) -> int:
    """The columns for what is written to `stream`: those of the terminal, at most `most`; as many elsewhere."""
    if stream is None or stream.closed or not stream.isatty():
        return most
    return min(most, max(NARROWEST, shutil.get_terminal_size((most, 24)).columns))


def paint(text: str, background: int, foreground: int = BLACK) -> str:
    """`text`, which should have no new line, on a background; both are numbers of ANSI's 256 colours."""
    return f"\x1b[48;5;{background}m\x1b[38;5;{foreground}m{text}\x1b[0m" if text else ""


def bold(text: str) -> str:
    return f"\x1b[1m{text}\x1b[0m" if text else ""


def faint(text: str) -> str:
    return f"\x1b[2m{text}\x1b[0m" if text else ""


def signs(text: str) -> list[str]:
    """`text` in signs that can be seen and told apart, as `LEGEND` says; no two texts get the same.

    A line may be broken between two of the list: no escape and no letter with its marks is torn apart.
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
        elif found[-1][0] == "\\" or len(found[-1]) > _MOST_MARKS:
            found.append(number_of(char))
        else:
            found[-1] += char
    return found


def token_lines(tokens: Sequence[list[str]], columns: int,
                backgrounds: Sequence[int | None] | None = None) -> list[str]:
    """Tokens, each a list of `signs`, in lines of at most `columns`; a line ends where the text has a new line.

    Each token stands on its own of `backgrounds` (None is no background), or, without them, a separator stands between
    two. A first sign " " is a space that belongs to no token: it has no background.
    """
    if backgrounds is None:
        between = separator(tokens)
        tokens = [[*token[:-1], "".join(token[-1:]) + between] for token in tokens[:-1]] + list(tokens[-1:])
        return ["".join(sign for _, part in line for sign in part) for line in arranged(tokens, columns)]
    return ["".join(_on(backgrounds[at], "".join(part)) for at, part in line) for line in arranged(tokens, columns)]


def separator(tokens: Sequence[list[str]]) -> str:
    """What stands between tokens and in none of them."""
    return SEPARATORS[any(SEPARATORS[0] in sign for token in tokens for sign in token)]


def arranged(tokens: Sequence[list[str]], columns: int) -> list[list[tuple[int, list[str]]]]:
    """Lines of (which token, which of its signs stand there). What fits into one line is not broken."""
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
    text = part[len(gap) :].replace("·", " ")  # on a background a space needs no sign
    return gap + paint(text, background, WHITE if background in DARK else BLACK)


def printable(text: str) -> str:
    """`text` as it is but for characters that do not show: for names and messages, whose spaces need no sign."""
    return "".join(number_of(char) if char != " " and _hidden(char) else char for char in text)


def harmless(text: str) -> str:
    """`text` with the characters that steer a terminal (colours, the cursor, its title) shown by their numbers: a
    model may have learned them. Tabs and line ends stay."""
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", lambda found: number_of(found[0]), text)


def listed(rows: Iterable[tuple[str, str]], columns: int) -> str:
    """`name  what` for each row that says something, in lines of at most `columns`; as `printable` shows it."""
    lines = []
    for name, what in rows:
        cut = textwrap.wrap(printable(what), columns - 13, break_on_hyphens=False)
        lines += [f"{'' if at else name:<12} {line}" for at, line in enumerate(cut)]
    return "\n".join(lines)


def width(text: str) -> int:
    """The columns that `text` takes on a terminal."""
    return sum(
        0 if unicodedata.category(char).startswith("M") else 1 + (unicodedata.east_asian_width(char) in "WF")
        for char in text
    )


def _hidden(char: str) -> bool:
    return unicodedata.category(char) in _HIDDEN or _NO_SHAPE.match(char) is not None


def number_of(char: str) -> str:
    r"""`\u4e2d` for a character that cannot be shown as it is."""
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
