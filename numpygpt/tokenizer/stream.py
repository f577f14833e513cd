"""Texts that do not fit into memory: cut into chunks that can be worked on one by one, and counted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial

from numpygpt.tokenizer import checks
from numpygpt.tokenizer.added import unbroken
from numpygpt.tokenizer.unicode import WHITESPACE
from numpygpt.tokenizer.workers import ordered_map

CHUNK = 1 << 18  # characters: about a hundredth of a second of work, and some 30 MB in each process
UNCUT = 16 * CHUNK  # a text without white space for so long is cut at a mark, or where it stands
DISTINCT = 500_000  # different words that are counted at the same time: about 100 MB
WORD_BYTES = 1 << 22  # and their UTF-8, in all


@dataclass(frozen=True)
class Special:
    """A special token, by name, in a stream of pieces: the text before it ends here."""

    name: str


Pieces = Iterable["str | Special"]  # one text in pieces, cut anywhere, and special tokens
Chunk = list["str | Special"]


def chunks(pieces: str | Pieces, size: int | None = None, whole: tuple[str, ...] = ()) -> Iterator[Chunk]:
    """The same text in chunks of about `size` (CHUNK) characters, cut only where white space follows another character.

    No word and no piece of GPT-2's pattern reaches over such a place, so chunks can be counted and encoded one by one.
    `whole`: texts that no cut may break (see `crossing`).
    """
    size = size or CHUNK
    space, mark = _cuts(whole)
    chunk: Chunk = []
    run: list[str] = []  # the end of the text so far, which may not be whole yet
    length, enough = 0, size
    for piece in _bounded(pieces, size):
        if isinstance(piece, Special):
            chunk += ["".join(run), piece]
            run, length = [], length + 1
        else:
            run.append(piece)
            length += len(piece)
        if length < enough:
            continue
        text = "".join(run)
        cut = _last_cut(text, space) or (_last_cut(text, mark) or len(text) if len(text) >= UNCUT else 0)
        if chunk or cut:
            yield [*chunk, text[:cut]]
        chunk, run, length = [], [text[cut:]], len(text) - cut
        enough = max(size, min(2 * length, UNCUT))  # where there is no cut: look again when there is much more
    if chunk or any(run):
        yield [*chunk, "".join(run)]


def runs(text: str, size: int) -> Iterator[str]:
    """One text in such chunks."""
    for chunk in chunks(text, size):
        yield from (part for part in chunk if isinstance(part, str))


def _bounded(pieces: str | Pieces, size: int) -> Iterator[str | Special]:
    """The pieces, long ones in parts of at most `size` characters, each checked to be text."""
    for piece in [pieces] if isinstance(pieces, str) else pieces:
        if isinstance(piece, Special):
            yield piece
            continue
        checks.text(piece)
        for start in range(0, len(piece), size):
            yield piece[start : start + size]


def _last_cut(text: str, before: re.Pattern[str]) -> int:
    """The last place in `text` that has `before` before it, or 0."""
    found = before.match(text)
    return found.end() if found else 0


@cache
def _cuts(whole: tuple[str, ...]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """What stands before a cut, `.*` going back from the end: before white space; or before a mark, which is as good
    where a text has no white space at all."""
    S, guard = re.escape(WHITESPACE), unbroken(whole)
    space, mark = rf".*[^{S}](?=[{S}]){guard}", rf'.*[A-Za-z0-9](?=[,;!?()\[\]{{}}"]){guard}'
    return re.compile(space, re.DOTALL), re.compile(mark, re.DOTALL)


class Count(Counter[str]):
    """How often each word of a text occurs. `dropped`: how many times a rare word was given up for memory."""

    dropped = 0


def count(
    words: Callable[[str], Iterable[str]], pieces: str | Pieces, workers: int = 1, distinct: int | None = None
) -> Count:
    """Count what `words` finds in the text. Memory grows with the number of different words, up to `distinct` of them.

    Beyond that, or beyond WORD_BYTES of text, the rarest so far are dropped until at most half are left, of equally
    rare ones the last (after Manku and Motwani 2002, Approximate Frequency Counts over Data Streams): frequent words
    keep their counts, to within what was dropped of them.
    """
    distinct = distinct or DISTINCT
    total, size = Count(), 0
    for part in ordered_map(partial(_count_chunk, words), chunks(pieces), workers):
        size += sum(len(word.encode("utf-8")) for word in part.keys() - total.keys())
        total.update(part)
        if len(total) > distinct or size > WORD_BYTES:
            size = _drop_rare(total, distinct // 2, WORD_BYTES // 2)
    return total


def _drop_rare(counts: Count, most: int, most_bytes: int) -> int:
    """Keep the `most` most frequent words, as far as their UTF-8 has no more than `most_bytes`; how many it has."""
    size = 0
    for rank, (word, _) in enumerate(counts.most_common()):
        length = len(word.encode("utf-8"))
        if rank >= most or size + length > most_bytes:
            del counts[word]
            counts.dropped += 1
        else:
            size += length
    return size


def _count_chunk(words: Callable[[str], Iterable[str]], chunk: Chunk) -> Counter[str]:
    counts: Counter[str] = Counter()
    for part in chunk:
        if isinstance(part, str):
            counts.update(words(part))
    return counts
