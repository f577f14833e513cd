"""A data folder to look at: where it came from, its counts, its tokens by frequency, and how a text is split.

Everything that comes from the folder or the caller is shown by `signs` or `printable`: it may be a stranger's.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import accumulate, chain
from typing import Any

import numpy as np

from numpygpt.data.dataset import TokenDataset
from numpygpt.utils.colour import BACKGROUNDS, LEGEND, bold, listed, signs, token_lines, width
from numpygpt.utils.paths import display_path

COLUMNS = 100
SIZES = ("characters", "bytes", "tokens")
RARE = 20  # an entry that training sees less often hardly leaves its start
SAMPLE = 400  # characters of the training part, to show how it is split
SAMPLE_IDS = 100
NEVER = 8  # how many of the tokens that never occur
EXTREMES = 5  # how many of the rarest and of the longest tokens
LEGENDS = {
    "char": (),
    "word": ("a bare space has no token of its own; the token <join> says that there is no space",),
    "bpe": (r"\xe2 a byte that is part of a character",),
}


def inspection(dataset: TokenDataset, texts: Sequence[str] = (), colour: bool = False, rows: int = 20) -> str:
    """What there is to see in `dataset`, and how its tokenizer splits `texts` or else the start of the training part.

    `rows` of the vocabulary are listed by frequency. Raises `ValueError` for a text that cannot be encoded.
    """
    if rows < 1:
        raise ValueError(f"a table has at least 1 row, not {rows}")
    tokenizer = dataset.tokenizer
    encoded = [(text, tokenizer.encode(text)) for text in texts]
    counts = {part: count(getattr(dataset, part), dataset.vocab_size) for part in ("train", "val")}
    sections = [
        ("Corpus", corpus(dataset)),
        ("Counts", f"{part_table(dataset.meta)}\n\n{usage(tokenizer, counts)}"),
        ("Vocabulary by frequency in the training part", by_frequency(tokenizer, counts["train"], rows)),
    ]
    if texts:
        sections += [(f"Split, text {number}", split(tokenizer, text, ids, colour, len(ids)))
                     for number, (text, ids) in enumerate(encoded, 1)]  # fmt: skip
    else:
        ids = start(dataset)
        sections.append(("Split, start of the training part", split(tokenizer, tokenizer.decode(ids), ids, colour)))
    sections.append(("Signs", "\n".join([LEGEND, *LEGENDS[tokenizer.kind]])))
    return "\n".join(f"{bold(title) if colour else title}\n{textwrap.indent(body, '  ')}\n" for title, body in sections)


def corpus(dataset: TokenDataset) -> str:
    """Where the tokens came from."""
    meta, kind = dataset.meta, dataset.tokenizer.kind
    made = {name: value for name, value in meta["tokenizer"].items() if name != "kind" and "sha256" not in name}
    cut = {name: value for name, value in meta["split"].items() if name != "by"}
    rows = [
        ("name", str(meta["corpus"])),
        ("source", str(meta.get("source", "not recorded"))),
        ("SHA-256", f"{str(meta['sha256'])[:12]}..."),
        ("split", ", ".join([f"by {meta['split'].get('by', 'an unknown rule')}", *settings(cut)])),
        ("tokenizer", ", ".join([f"{kind}, {dataset.vocab_size:,} entries", *settings(made)])),
        ("settings", ", ".join(settings(meta["settings"]))),
        ("folder", display_path(dataset.folder)),
    ]
    return listed(rows, COLUMNS - 2)


def settings(values: dict[str, Any]) -> list[str]:
    """`name value` for each that is set; a flag is its name alone."""
    given = {name.replace("_", " "): value for name, value in values.items() if value not in (None, False)}
    return [name if value is True else f"{name} {number(value)}" for name, value in given.items()]


def number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)


def part_table(meta: dict[str, Any]) -> str:
    """Tokens, characters and bytes of each part, and how they stand to each other."""
    parts = {part: {name: n for name, n in meta[part].items() if isinstance(n, int)} for part in ("train", "val")}
    names = [name for name in ("documents", *SIZES) if all(name in of for of in parts.values())]
    if meta.get("documents") in (None, 1):
        names = [name for name in names if name != "documents"]
    lines = [["", *names, "tokens/char", "chars/token", "bytes/token"]]
    for part, of in parts.items():
        characters, size, tokens = map(of.get, SIZES)
        ratios = ratio(tokens, characters), ratio(characters, tokens), ratio(size, tokens)
        lines.append([part, *(number(of[name]) for name in names), *ratios])
    wide = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("   ".join(f"{cell:>{size}}" for cell, size in zip(line, wide, strict=True)) for line in lines)


def ratio(a: int | None, b: int | None) -> str:
    return f"{a / b:.3f}" if a and b else "-"


def count(tokens: np.ndarray, vocab_size: int, at_once: int = 1 << 22) -> np.ndarray:
    """How often each id occurs (V,); a memmap of any size is read `at_once` ids at a time."""
    total = np.zeros(vocab_size, dtype=np.int64)
    for first in range(0, len(tokens), at_once):
        total += np.bincount(tokens[first : first + at_once], minlength=vocab_size)
    return total


def usage(tokenizer: Any, counts: dict[str, np.ndarray]) -> str:
    """How much of the vocabulary the training part uses; `counts`: for each part, how often each id occurs. (V,)"""
    train = counts["train"]
    used, rare = int((train > 0).sum()), train[(train > 0) & (train < RARE)]
    rows = [
        ("vocabulary", f"{used:,} of {len(train):,} entries occur in the training part, {len(train) - used:,} do not"),
        ("rare", f"{len(rare):,} of them occur fewer than {RARE} times: {rare.sum() / train.sum():.2%} of the tokens"),
    ]
    if (unknown := tokenizer.special_tokens.get("<unk>")) is not None:
        found = [f"{of[unknown] / of.sum():.2%} of the {part} tokens" for part, of in counts.items()]
        rows.append(("<unk>", ", ".join(found)))
    return listed(rows, COLUMNS - 2)


def by_frequency(tokenizer: Any, counts: np.ndarray, rows: int) -> str:
    """The most frequent tokens, the rarest of those that occur, some that never do, and the longest."""
    order = np.argsort(-counts, kind="stable")  # of equally frequent ones the lowest id first. (V,)
    used = int((counts > 0).sum())
    percent = 100 * counts[order] / counts.sum()  # (V,)
    so_far = np.cumsum(percent)  # (V,)

    def line(rank: int) -> str:
        numbers = f"{counts[order[rank]]:>13,} {percent[rank]:>8.3f} {so_far[rank]:>10.2f}"
        return f"{rank + 1:>7,} {order[rank]:>7} {numbers}   {token(tokenizer, int(order[rank]))}"

    table = [f"{'rank':>7} {'id':>7} {'count':>13} {'%':>8} {'% so far':>10}   token"]
    table += map(line, range(min(rows, used)))
    if used > rows:
        table += ["", "the rarest", *map(line, range(max(rows, used - EXTREMES), used))]
    if tokenizer.kind == "bpe":
        lengths = np.array([len(tokenizer.decode([id])) for id in order[:used].tolist()])
        longest = np.argsort(-lengths, kind="stable")[: min(EXTREMES, (lengths > 1).sum())]  # the frequent first
        table += ["", "the longest that occur", *map(line, longest.tolist())] if len(longest) else []
    if never := len(order) - used:
        few = [token(tokenizer, id, 20) for id in order[used :: -(-never // NEVER)].tolist()]  # in even steps
        table += ["", listed([(f"{never:,} never", "   ".join(few + ["..."] * (len(few) < never)))], COLUMNS - 2)]
    return "\n".join(table)


def token(tokenizer: Any, id: int, room: int = 44) -> str:
    """One token as a table shows it: a long one is cut, and its length given."""
    found = token_signs(tokenizer, id)
    ends = list(accumulate(map(width, found)))
    if ends[-1] <= room:
        return "".join(found)
    cut = "".join(sign for sign, end in zip(found, ends, strict=True) if end <= room // 2)
    return f"{cut} ... ({len(tokenizer.decode([id]))} characters)"


def token_signs(tokenizer: Any, id: int) -> list[str]:
    r"""The signs of one token; a byte that is part of a character is `\xe2`, where the text `\xe2` is `\\xe2`."""
    text = tokenizer.token_text(id)
    if tokenizer.decode([id]) == text:
        return signs(text)
    pieces = re.split(r"(\\x[89a-f][0-9a-f])", text)  # at odd places the bytes
    return list(chain.from_iterable([piece] if at % 2 else signs(piece) for at, piece in enumerate(pieces)))


def start(dataset: TokenDataset, characters: int = SAMPLE) -> list[int]:
    """The ids of about the first `characters` of the training part."""
    ids: list[int] = []
    decoder, length = dataset.tokenizer.stream(), 0
    for id in dataset.train[: 4 * characters].tolist():
        ids.append(id)
        length += len(decoder.push(id))
        if length >= characters:
            break
    return ids


def text_tokens(tokenizer: Any, ids: Iterable[int]) -> Iterator[list[str]]:
    """The signs of each token of a text; a first sign " " is a space before a word that has no token."""
    signs_of = cache(lambda id: token_signs(tokenizer, id))
    decoder = tokenizer.stream()
    for id in ids:
        found = signs_of(id)
        implied = decoder.push(id).startswith(" ") and found[0] != "·"
        yield [" "] * implied + found


def split(tokenizer: Any, text: str, ids: list[int], colour: bool, most_ids: int = SAMPLE_IDS) -> str:
    """The tokens of `text` next to each other, their numbers, and at most `most_ids` of the ids."""
    tokens = list(text_tokens(tokenizer, ids))
    backgrounds = [BACKGROUNDS[at % len(BACKGROUNDS)] for at in range(len(ids))] if colour else None
    sizes = {"character": len(text), "byte": len(text.encode()), "token": len(ids)}
    length = ", ".join(f"{size:,} {unit}{'s' * (size != 1)}" for unit, size in sizes.items())
    more = f" ... ({len(ids) - most_ids:,} more)" if len(ids) > most_ids else ""
    rate = f": {ratio(len(text), len(ids))} characters a token" if ids else ""
    rows = [("length", length + rate), ("ids", " ".join(map(str, ids[:most_ids])) + more)]
    if (back := tokenizer.decode(ids)) != text:
        why = "it is made lower case" if back == text.lower() else "what the vocabulary lacks is lost"
        rows.append(("note", f"the tokens give back another text: {why}"))
    return "\n".join([*token_lines(tokens, COLUMNS - 2, backgrounds), "", listed(rows, COLUMNS - 2)])
