"""What a text has that is allowed and seldom meant: names of special tokens as plain letters, and lost letters."""

from __future__ import annotations

import re
import shlex

# Names that stand for the end of a document in public data sets and models, and others that are no letters of a text.
ENDS = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "[EOS]", "[SEP]")
OTHERS = ("<|startoftext|>", "<|begin_of_text|>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|eot_id|>",
          "<|user|>", "<|assistant|>", "<|system|>", "<|end|>", "<start_of_turn>", "<end_of_turn>", "[INST]", "[CLS]",
          "<bos>", "<pad>", "[PAD]")  # fmt: skip
LONGEST = max(map(len, ENDS + OTHERS))
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
        if b"<" in data or b"[" in data or self._tail:
            for name in ENDS + OTHERS:
                less = len(name) - 1  # what the piece before may have of it
                sign = name.encode()
                if found := data.count(sign) + (self._tail[-less:] + data[:less]).count(sign):
                    self.names[name] = self.names.get(name, 0) + found
            tail = (self._tail + data)[-LONGEST:]
            self._tail = tail if b"<" in tail or b"[" in tail else b""
        if not data.isascii():
            self.controls += len(CONTROLS.findall(data))
            self.lost += data.count(LOST)

    def end(self) -> None:
        """The document ended: the next piece does not go on from it."""
        self._tail = b""

    def notes(self) -> list[str]:
        """What a user should be told."""
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
