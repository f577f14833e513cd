"""What a data folder contains: a summary of a few lines, and a report with its tokens by frequency.

Everything that comes from the folder or the caller is printed by `signs` or `printable`, because it is untrusted.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from numpygpt.data.dataset import TokenDataset
from numpygpt.tokenizer.display import LEGENDS, text_tokens, token_cell
from numpygpt.tokenizer.word import UNKNOWN
from numpygpt.utils.colour import BACKGROUNDS, LEGEND, bold, listed, printable, token_lines
from numpygpt.utils.paths import display_path

COLUMNS = 100
SIZES = ("characters", "bytes", "tokens")
RARE = 20  # a token that training sees less often hardly moves from its initial embedding
SAMPLE = 400  # characters of the training part, to show how it is split
MAX_IDS = 100
MAX_UNUSED = 8  # of the tokens that do not occur
EXTREMES = 5  # of the rarest and of the longest tokens


def statistics(dataset: TokenDataset) -> str:
    """Return a summary of the folder, a line per item."""
    meta, train, val = dataset.meta, dataset.meta["train"], dataset.meta["val"]
    characters, size, tokens = (train[name] + val[name] for name in SIZES)
    split, documents = meta["split"], meta.get("documents", 1)
    if split["by"] == "position":
        held = f"the last {100 * split['val_fraction']:g} % of the text"
    else:
        held = f"{val['documents']:,} of {documents:,} documents"
    origin = f"as in {meta['tokenizer']['from']}" if "from" in meta["tokenizer"] else "trained on the training part"
    kind = f"{meta['tokenizer']['kind']}, {'lower case, ' if dataset.tokenizer.lowercase else ''}{origin}"
    clean = " after clean" if meta["settings"]["clean"] else ""
    rows = [
        ("corpus", f"{meta['corpus']}: {meta['source']}"),
        ("text", f"{f'{documents:,} documents, ' * (documents > 1)}{characters:,} characters, {size:,} bytes{clean}"),
        ("vocabulary", f"{dataset.vocab_size:,} entries ({kind})"),
        ("train", f"{train['tokens']:,} tokens"),
        ("val", f"{val['tokens']:,} tokens, {held}"),
        ("per token", f"{characters / tokens:.2f} characters, {size / tokens:.2f} bytes"),
        ("folder", display_path(dataset.folder)),
    ]
    return "\n".join(f"{name:<11} {printable(what)}" for name, what in rows)


def inspection(dataset: TokenDataset, texts: Sequence[str] = (), colour: bool = False, rows: int = 20) -> str:
    """Return a report on `dataset`, and how its tokenizer splits `texts` (by default the start of the training part).

    `rows` of the vocabulary are listed by frequency. Raises `ValueError` for a text that cannot be encoded.
    """
    if rows < 1:
        raise ValueError(f"rows must be at least 1, got {rows}")
    tokenizer = dataset.tokenizer
    encoded = [(text, tokenizer.encode(text)) for text in texts]
    counts = {part: token_counts(getattr(dataset, part), dataset.vocab_size) for part in ("train", "val")}
    sections = [
        ("Corpus", _origin(dataset)),
        ("Counts", f"{_part_table(dataset.meta)}\n\n{_usage(tokenizer, counts)}"),
        ("Vocabulary by frequency in the training part", _by_frequency(tokenizer, counts["train"], rows)),
    ]
    if texts:
        sections += [(f"Split, text {number}", _split(tokenizer, text, ids, colour, len(ids)))
                     for number, (text, ids) in enumerate(encoded, 1)]  # fmt: skip
    else:
        ids = _start(dataset)
        sections.append(("Split, start of the training part", _split(tokenizer, tokenizer.decode(ids), ids, colour)))
    sections.append(("Signs", "\n".join([LEGEND, *LEGENDS[tokenizer.kind]])))
    return "\n".join(f"{bold(title) if colour else title}\n{textwrap.indent(body, '  ')}\n" for title, body in sections)


def _origin(dataset: TokenDataset) -> str:
    """Where the tokens came from."""
    meta, kind = dataset.meta, dataset.tokenizer.kind
    made = {name: value for name, value in meta["tokenizer"].items() if name != "kind" and "sha256" not in name}
    cut = {name: value for name, value in meta["split"].items() if name != "by"}
    rows = [
        ("name", str(meta["corpus"])),
        ("source", str(meta.get("source", "not recorded"))),
        ("SHA-256", f"{str(meta['sha256'])[:12]}..."),
        ("split", ", ".join([f"by {meta['split'].get('by', 'an unknown rule')}", *_settings(cut)])),
        ("tokenizer", ", ".join([f"{kind}, {dataset.vocab_size:,} entries", *_settings(made)])),
        ("settings", ", ".join(_settings(meta["settings"]))),
        ("folder", display_path(dataset.folder)),
    ]
    return listed(rows, COLUMNS - 2)


def _settings(values: dict[str, Any]) -> list[str]:
    """`name value` for each value that is set; `name` alone for True."""
    found = {name.replace("_", " "): value for name, value in values.items() if value not in (None, False)}
    return [name if value is True else f"{name} {_number(value)}" for name, value in found.items()]


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)


def _part_table(meta: dict[str, Any]) -> str:
    """Tokens, characters and bytes of each part, and their ratios."""
    parts = {part: {name: n for name, n in meta[part].items() if isinstance(n, int)} for part in ("train", "val")}
    names = [name for name in ("documents", *SIZES) if all(name in of for of in parts.values())]
    if meta.get("documents") in (None, 1):
        names = [name for name in names if name != "documents"]
    lines = [["", *names, "tokens/char", "chars/token", "bytes/token"]]
    for part, of in parts.items():
        characters, size, tokens = map(of.get, SIZES)
        ratios = _ratio(tokens, characters), _ratio(characters, tokens), _ratio(size, tokens)
        lines.append([part, *(_number(of[name]) for name in names), *ratios])
    wide = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("   ".join(f"{cell:>{size}}" for cell, size in zip(line, wide, strict=True)) for line in lines)


def _ratio(a: int | None, b: int | None) -> str:
    return f"{a / b:.3f}" if a and b else "-"


def token_counts(tokens: np.ndarray, vocab_size: int, chunk: int = 1 << 22) -> np.ndarray:
    """Return how often each id occurs (V,). `chunk` ids are read at a time, from a memmap of any size."""
    total = np.zeros(vocab_size, dtype=np.int64)
    for first in range(0, len(tokens), chunk):
        total += np.bincount(tokens[first : first + chunk], minlength=vocab_size)
    return total


def _usage(tokenizer: Any, counts: dict[str, np.ndarray]) -> str:
    """How much of the vocabulary the training part uses. `counts`: for each part, how often each id occurs. (V,)"""
    train = counts["train"]
    used, rare = int((train > 0).sum()), train[(train > 0) & (train < RARE)]
    rows = [
        ("vocabulary", f"{used:,} of {len(train):,} entries occur in the training part, {len(train) - used:,} do not"),
        ("rare", f"{len(rare):,} of them occur fewer than {RARE} times: {rare.sum() / train.sum():.2%} of the tokens"),
    ]
    if (unknown := tokenizer.special_tokens.get(UNKNOWN)) is not None:
        found = [f"{of[unknown] / of.sum():.2%} of the {part} tokens" for part, of in counts.items()]
        rows.append((UNKNOWN, ", ".join(found)))
    return listed(rows, COLUMNS - 2)


def _by_frequency(tokenizer: Any, counts: np.ndarray, rows: int) -> str:
    """The most frequent tokens, the rarest that occur, some that do not, and the longest."""
    order = np.argsort(-counts, kind="stable")  # of equally frequent tokens the lowest id first. (V,)
    used = int((counts > 0).sum())
    percent = 100 * counts[order] / counts.sum()  # (V,)
    so_far = np.cumsum(percent)  # (V,)

    def line(rank: int) -> str:
        numbers = f"{counts[order[rank]]:>13,} {percent[rank]:>8.3f} {so_far[rank]:>10.2f}"
        return f"{rank + 1:>7,} {order[rank]:>7} {numbers}   {token_cell(tokenizer, int(order[rank]))}"

    table = [f"{'rank':>7} {'id':>7} {'count':>13} {'%':>8} {'% so far':>10}   token"]
    table += map(line, range(min(rows, used)))
    if used > rows:
        table += ["", "the rarest", *map(line, range(max(rows, used - EXTREMES), used))]
    if tokenizer.kind == "bpe":
        lengths = np.array([len(tokenizer.decode([id])) for id in order[:used].tolist()])
        longest = np.argsort(-lengths, kind="stable")[: min(EXTREMES, (lengths > 1).sum())]  # the frequent first
        table += ["", "the longest that occur", *map(line, longest.tolist())] if len(longest) else []
    if unused := len(order) - used:
        few = [token_cell(tokenizer, id, 20) for id in order[used :: -(-unused // MAX_UNUSED)].tolist()]  # even steps
        table += ["", listed([(f"{unused:,} never", "   ".join(few + ["..."] * (len(few) < unused)))], COLUMNS - 2)]
    return "\n".join(table)


def _start(dataset: TokenDataset, characters: int = SAMPLE) -> list[int]:
    """The ids of about the first `characters` of the training part."""
    ids: list[int] = []
    decoder, length = dataset.tokenizer.stream(), 0
    for id in dataset.train[: 4 * characters].tolist():
        ids.append(id)
        length += len(decoder.push(id))
        if length >= characters:
            break
    return ids


def _split(tokenizer: Any, text: str, ids: list[int], colour: bool, max_ids: int = MAX_IDS) -> str:
    """The tokens of `text` next to each other, their numbers, and at most `max_ids` of the ids."""
    tokens = list(text_tokens(tokenizer, ids))
    backgrounds = [BACKGROUNDS[at % len(BACKGROUNDS)] for at in range(len(ids))] if colour else None
    sizes = {"character": len(text), "byte": len(text.encode()), "token": len(ids)}
    length = ", ".join(f"{size:,} {unit}{'s' * (size != 1)}" for unit, size in sizes.items())
    more = f" ... ({len(ids) - max_ids:,} more)" if len(ids) > max_ids else ""
    rate = f": {_ratio(len(text), len(ids))} characters per token" if ids else ""
    rows = [("length", length + rate), ("ids", " ".join(map(str, ids[:max_ids])) + more)]
    if (back := tokenizer.decode(ids)) != text:
        why = "the tokenizer lower-cases it" if back == text.lower() else "the vocabulary lacks some of it"
        rows.append(("note", f"the tokens decode to a different text: {why}"))
    return "\n".join([*token_lines(tokens, COLUMNS - 2, backgrounds), "", listed(rows, COLUMNS - 2)])
