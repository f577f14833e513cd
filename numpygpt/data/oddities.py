"""What is allowed in a text but rarely intended: names of special tokens as plain letters, and lost letters."""

from __future__ import annotations

import re
from collections import Counter

from numpygpt.tokenizer.special import ENDS, SPECIAL

NAMES = {name: name.encode() for name in SPECIAL}
MAX_NAME = max(map(len, NAMES.values()))
CONTROLS = re.compile(rb"\xc2[\x80-\x9f]")  # U+0080 to U+009F in UTF-8
LOST = "\N{REPLACEMENT CHARACTER}".encode()


class Oddities:
    """Counts over a text that comes in pieces, which may end anywhere."""

    def __init__(self) -> None:
        self.names: Counter[str] = Counter()
        self.controls = self.lost = 0
        self._tail = b""

    def add(self, data: bytes) -> None:
        """Count in a piece of the text, in UTF-8."""
        text = self._tail + data
        if b"<" in text or b"[" in text:
            for name, sign in NAMES.items():
                if times := text.count(sign) - self._tail.count(sign):
                    self.names[name] += times
        self._tail = text[1 - MAX_NAME :]
        if not data.isascii():
            self.controls += len(CONTROLS.findall(data))
            self.lost += data.count(LOST)

    def end(self) -> None:
        """The document ends: the next piece starts another one."""
        self._tail = b""

    def notes(self) -> list[str]:
        notes = []
        ends = [name for name in ENDS if name in self.names]
        if self.names:
            some = ", ".join(f"{name} {times:,} time{'s' * (times != 1)}" for name, times in self.names.items())
            advice = f'; with `separator="{ends[0]}"` it ends a document' if ends else ""
            notes.append(f"the text contains {some}, read as plain letters and not as a special token{advice}")
        if self.controls:
            notes.append(f"the text contains {self.controls:,} control characters from U+0080 to U+009F: its encoding "
                         'is probably another one; for files that are called latin-1, try `encoding="cp1252"`')
        if self.lost:
            notes.append(f"the text contains U+FFFD {self.lost:,} times: another program could not read those letters")
        return notes
