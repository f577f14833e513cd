"""Texts that do not fit into memory: cut into chunks that can be processed separately, and counted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial

from numpygpt.tokenizer import checks, pretokenize
from numpygpt.tokenizer.workers import ordered_map

CHUNK_CHARACTERS = 1 << 18  # about a hundredth of a second of work, and some 30 MB in each process
MAX_UNCUT = 16 * CHUNK_CHARACTERS  # so long a text without white space is cut at punctuation, or anywhere
MAX_WORDS = 500_000  # different words that are counted at the same time: about 100 MB
MAX_WORD_BYTES = 1 << 22  # their UTF-8, in total


@dataclass(frozen=True)
class Special:
    """A special token, by name, in a stream of pieces. The text before it ends here."""

    name: str


Pieces = Iterable["str | Special"]  # one text in pieces, cut anywhere, and special tokens
Chunk = list["str | Special"]
Breaks = tuple[str, str]  # patterns of places


def chunks(
    pieces: str | Pieces, size: int | None = None, breaks: Breaks | None = None, guard: str = ""
) -> Iterator[Chunk]:
    """Yield the text in chunks of about `size` characters, cut only between another character and white space.

    No word and no piece of GPT-2's pattern crosses such a place, so chunks can be counted and encoded separately. Other
    patterns bring other `breaks`: a first choice, and a second one for a text that has no place of the first.
    `guard`: what must hold too at a place where the text is cut (see `unbroken`).
    """
    size = size or CHUNK_CHARACTERS
    first, second = _cuts(breaks or pretokenize.breaks("gpt2"), guard)
    chunk: Chunk = []
    run: list[str] = []  # the end of the text so far, which may be incomplete
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
        cut = _last_cut(text, first) or (_last_cut(text, second) or len(text) if len(text) >= MAX_UNCUT else 0)
        if chunk or cut:
            yield [*chunk, text[:cut]]
        chunk, run, length = [], [text[cut:]], len(text) - cut
        enough = max(size, min(2 * length, MAX_UNCUT))  # without a cut, look again when there is much more text
    if chunk or any(run):
        yield [*chunk, "".join(run)]


def runs(text: str, size: int, breaks: Breaks | None = None) -> Iterator[str]:
    """Yield one text in such chunks."""
    for chunk in chunks(text, size, breaks):
        yield from (part for part in chunk if isinstance(part, str))


def resumed(chunks: Iterable[Chunk]) -> Iterator[tuple[Chunk, bool]]:
    """Yield each chunk, and whether its text continues the text of the chunk before."""
    inside = False
    for chunk in chunks:
        yield chunk, inside
        inside = bool(chunk[-1])  # an empty text stands behind a special token, with which the text before it ended


def _bounded(pieces: str | Pieces, size: int) -> Iterator[str | Special]:
    """Yield the pieces, long ones in parts of at most `size` characters, each checked to be text."""
    for piece in [pieces] if isinstance(pieces, str) else pieces:
        if isinstance(piece, Special):
            yield piece
            continue
        checks.text(piece)
        for start in range(0, len(piece), size):
            yield piece[start : start + size]


def _last_cut(text: str, before: re.Pattern[str]) -> int:
    """Return the last place in `text` that `before` matches up to, or 0."""
    found = before.match(text)
    return found.end() if found else 0


@cache
def _cuts(breaks: Breaks, guard: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return the patterns of a text up to its last cut."""
    first, second = (re.compile(f".*(?:{place}){guard}", re.DOTALL) for place in breaks)
    return first, second


class Count(Counter[str]):
    """How often each word of a text occurs. `dropped`: how many times a rare word was dropped to save memory."""

    dropped = 0


def count(
    words: Callable[[str], Iterable[str]], pieces: str | Pieces, workers: int = 1, distinct: int | None = None
) -> Count:
    """Count what `words` finds in the text. Memory grows with the number of different words, up to `distinct`.

    Beyond that, or beyond MAX_WORD_BYTES, the rarest words so far are dropped until at most half are left; of equally
    rare words the last. (After Manku and Motwani 2002, Approximate Frequency Counts over Data Streams.) Frequent words
    keep their counts, except what was dropped before.
    """
    distinct = distinct or MAX_WORDS
    total, size = Count(), 0
    for part in ordered_map(partial(_count_chunk, words), chunks(pieces), workers):
        size += sum(len(word.encode("utf-8")) for word in part.keys() - total.keys())
        total.update(part)
        if len(total) > distinct or size > MAX_WORD_BYTES:
            size = _drop_rare(total, distinct // 2, MAX_WORD_BYTES // 2)
    return total


def _drop_rare(counts: Count, most: int, most_bytes: int) -> int:
    """Keep the `most` most frequent words with at most `most_bytes` of UTF-8; return how many bytes they have."""
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
