"""A text that a user gives to a model, to score, draw or continue it: read, checked, and turned into ids.

A model without `<unk>` cannot read what its vocabulary lacks. That is left out, and a note gives its place and count.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from numpygpt.data.documents import BLOCK, Document, decoded
from numpygpt.data.refusals import check_head
from numpygpt.tokenizer import Tokenizer, checks
from numpygpt.tokenizer.prompts import prompt_ids, remarks
from numpygpt.tokenizer.spacing import elements
from numpygpt.tokenizer.stream import chunks
from numpygpt.tokenizer.word import UNKNOWN
from numpygpt.utils import cli
from numpygpt.utils.text import shorten

MAX_BYTES = 1_000_000_000  # of a text: scoring more takes days, and a device may have no end
MAX_START = 1 << 16  # characters of the text that are kept
MAX_NAMED = 5  # characters or words in a note


@dataclass(frozen=True)
class TokenizedText:
    """The ids (N,) of a text, their size in bytes of UTF-8, the start of the text, and notes for the user."""

    ids: np.ndarray
    n_bytes: int
    start: str
    notes: list[str]

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Add the notes to a ValueError in this block: if a text is too short, they say what was left out."""
        try:
            yield
        except ValueError as error:
            raise ValueError("; ".join([str(error), *self.notes])) from error


def read_text(name: str, what: str = "the text") -> str:
    """Return the text of a file, or of standard input for `-`, without a byte order mark.

    Raises ValueError if it is too long or not text.
    """
    return "".join(piece for piece in decoded(_document(name, what)) if isinstance(piece, str))


def read_ids(tokenizer: Tokenizer, name: str, what: str = "the text") -> TokenizedText:
    """Tokenize such a text without holding it as a whole. The ids have the smallest type that they fit into."""
    document = _document(name, what)
    missing = Missing(tokenizer)
    dtype = np.min_scalar_type(tokenizer.vocab_size - 1)
    start, n_bytes, lower = "", 0, False

    def known() -> Iterator[str]:
        nonlocal start, n_bytes, lower
        for chunk in chunks(piece for piece in decoded(document) if isinstance(piece, str)):
            text = missing.removed("".join(part for part in chunk if isinstance(part, str)))
            n_bytes += len(text) if text.isascii() else len(text.encode("utf-8"))
            start += text[: MAX_START - len(start)]
            lower = lower or (tokenizer.lowercase and text != text.lower())
            yield text

    ids = np.concatenate([np.zeros(0, dtype), *(ids.astype(dtype) for ids in tokenizer.encode_stream(known()))])
    notes = missing.notes(document.label, not len(ids))
    if lower:
        notes.append("this model reads the text in lower case")
    if UNKNOWN in tokenizer.special_tokens and (unknown := int((ids == tokenizer.special_tokens[UNKNOWN]).sum())):
        notes.append(f"{unknown:,} of the {len(ids):,} tokens are {UNKNOWN}: the vocabulary lacks them")
    return TokenizedText(ids, n_bytes, start, notes)


def known_text(tokenizer: Tokenizer, text: str, what: str) -> tuple[str, list[str]]:
    """Return `text` without what the vocabulary lacks, and notes on what was left out. Names of special tokens stay.

    Raises ValueError if nothing is left.
    """
    checks.text(text)
    missing, names = Missing(tokenizer), sorted(tokenizer.special_tokens, key=len, reverse=True)
    parts = re.split(f"({'|'.join(map(re.escape, names))})", text) if names else [text]
    known = "".join(missing.passed(part) if part in names else missing.removed(part) for part in parts)
    return known, missing.notes(what, not known)


def read_prompt(tokenizer: Tokenizer, text: str, file: str | None, what: str) -> tuple[str, list[int], list[str]]:
    """Return a prompt from a text or a file: its text, its ids, and notes on how the model reads it."""
    notes = remarks("--prompt", text, tokenizer)
    text, missing = known_text(tokenizer, text if file is None else read_text(file, what), what)
    ids = prompt_ids(tokenizer, text)
    if text and (read := tokenizer.decode(tokenizer.encode(text, allowed_special="all"))) != text:
        missing.append(f"to this model the text reads {read[:200]!r}")
    return text, ids, notes + missing


def _document(name: str, what: str) -> Document:
    path = Path(name)
    too_long = ValueError(f"{what} is longer than {MAX_BYTES:,} bytes: give a part of {name}")
    if name != "-" and path.is_file():
        document = Document(path.name, path, can_reencode=False)
        if document.size > MAX_BYTES:
            raise too_long
    else:  # a pipe cannot be read twice
        data = io.BytesIO()
        with open(name, "rb") if name != "-" else nullcontext(cli.stdin()) as file:
            while block := file.read(BLOCK):
                data.write(block)
                if data.tell() > MAX_BYTES:
                    raise too_long
        document = Document("standard input" if name == "-" else name, data, can_reencode=False)
    check_head(document)
    return document


@dataclass
class Missing:
    """What a tokenizer's vocabulary lacks of a text that comes in pieces."""

    tokenizer: Tokenizer
    found: Counter[str] = field(default_factory=Counter)
    first: tuple[int, int] = (0, 0)  # line and column of the first
    lines: int = 0  # line ends so far
    column: int = 0  # characters since the last line end

    def __post_init__(self) -> None:
        """A tokenizer with `<unk>`, or one of bytes, lacks nothing."""
        lacks = self.tokenizer.kind in ("char", "word") and UNKNOWN not in self.tokenizer.special_tokens
        self.known = set(self.tokenizer.to_dict()["vocab"]) if lacks else None

    def removed(self, text: str) -> str:
        """Return `text`, the next piece, without what is unknown."""
        if self.known is None:
            return text
        rest = self._characters(text, self.known) if self.tokenizer.kind == "char" else self._words(text, self.known)
        self.passed(text)
        return rest

    def passed(self, text: str) -> str:
        """Count the lines and columns of `text`, and return it unchanged."""
        self.lines += text.count("\n")
        last = text.rfind("\n")
        self.column = len(text) - last - 1 if last >= 0 else self.column + len(text)
        return text

    def _characters(self, text: str, known: set[str]) -> str:
        lower = self.tokenizer.lowercase
        unknown = [char for char in set(text) if not known.issuperset(char.lower() if lower else char)]
        if not unknown:
            return text
        unknown.sort(key=text.index)  # equally frequent characters are named in the text's order
        self._note(text, text.index(unknown[0]), {char: text.count(char) for char in unknown})
        return re.sub(f"[{re.escape(''.join(unknown))}]", "", text)

    def _words(self, text: str, known: set[str]) -> str:
        text = text.lower() if self.tokenizer.lowercase else text
        found = elements(text)
        unknown = Counter(word for _, word in found if word not in known)
        if not unknown:
            return text
        at = 0
        for before, word in found:
            at += len(before)
            if word in unknown:
                break
            at += len(word)
        self._note(text, at, unknown)
        return "".join(before + word for before, word in found if word not in unknown)

    def _note(self, text: str, at: int, counts: dict[str, int]) -> None:
        if not self.found:
            last = text.rfind("\n", 0, at)
            self.first = (self.lines + text.count("\n", 0, at) + 1, at - last if last >= 0 else self.column + at + 1)
        self.found.update(counts)

    def notes(self, name: str, nothing_left: bool) -> list[str]:
        """Return a note on what is missing, if anything is. Raises ValueError if the text had nothing else."""
        if not self.found:
            return []
        unit = "word" if self.tokenizer.kind == "word" else "character"
        some = ", ".join(f"{shorten(word)} ({times:,})" for word, times in self.found.most_common(MAX_NAMED))
        more = f" and {len(self.found) - MAX_NAMED:,} others" if len(self.found) > MAX_NAMED else ""
        total, (line, column) = self.found.total(), self.first
        if nothing_left:
            raise ValueError(f"no {unit} of {name} is in this model's vocabulary of {self.tokenizer.vocab_size:,} "
                             f"tokens: {some}{more}")
        return [f"{total:,} {unit}{'s' * (total != 1)} of {name} {'are' if total != 1 else 'is'} not in this model's "
                f"vocabulary and left out: {some}{more}; the first in line {line:,}, column {column:,}"]
