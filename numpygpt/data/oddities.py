"""What is allowed in a text and seldom meant: names of special tokens as plain letters, and lost letters."""

from __future__ import annotations

import re
import shlex

import numpy as np

from numpygpt.tokenizer.special import ENDS, SPECIAL

SIGNS = {name: name.encode() for name in SPECIAL}
LONGEST = max(map(len, SIGNS))
FIRST, SECOND, THIRD = (np.isin(np.arange(256), [sign[at] for sign in SIGNS.values()]) for at in range(3))  # by byte
CONTROLS = re.compile(rb"\xc2[\x80-\x9f]")  # U+0080 to U+009F in UTF-8
LOST = "\N{REPLACEMENT CHARACTER}".encode()


class Oddities:
    """Counted as the text comes, in pieces that may end anywhere."""

    def __init__(self) -> None:
        self.names: dict[str, int] = {}
        self.controls = self.lost = 0
        self._tail = b""

    def add(self, data: bytes) -> None:
        """Look at a piece of the text, in UTF-8."""
        if self._tail:
            self._count(self._tail + data[: LONGEST - 1], len(self._tail))
        self._count(data)
        self._tail = (self._tail + data)[1 - LONGEST :]
        if not data.isascii():
            self.controls += len(CONTROLS.findall(data))
            self.lost += data.count(LOST)

    def _count(self, data: bytes, over: int = 0) -> None:
        """Count the names in `data`; with `over`, only those that begin before that place and end after it."""
        if b"<" not in data and b"[" not in data:
            return
        codes = np.frombuffer(data, np.uint8)
        begins = np.flatnonzero(FIRST[codes[: -2 if len(codes) > 2 else 0]])
        likely = begins[SECOND[codes[begins + 1]] & THIRD[codes[begins + 2]]]
        for at in likely.tolist():
            for name, sign in SIGNS.items():
                if data.startswith(sign, at) and (not over or at < over < at + len(sign)):
                    self.names[name] = self.names.get(name, 0) + 1

    def end(self) -> None:
        """The document ended: the next piece begins another one."""
        self._tail = b""

    def notes(self) -> list[str]:
        """Notes for the user."""
        notes = []
        ends = [name for name in ENDS if name in self.names]
        if self.names:
            some = ", ".join(f"{name} {times:,} time{'s' * (times != 1)}" for name, times in self.names.items())
            advice = f"; --separator {shlex.quote(ends[0])} makes it the end of a document" if ends else ""
            notes.append(f"the text has {some}, which is read as plain letters and not as a special token{advice}")
        if self.controls:
            notes.append(f"the text has {self.controls:,} control characters from U+0080 to U+009F, as if it were read "
                         "in another encoding than its own: for files that are called latin-1, try --encoding cp1252")
        if self.lost:
            notes.append(f"the text has U+FFFD {self.lost:,} times, for letters that another program could not read")
        return notes
