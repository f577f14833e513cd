"""From a corpus to a data folder: clean, split, learn the vocabulary on the training part, encode, write."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from numpygpt.tokenizer import BPETokenizer, CharTokenizer, WordTokenizer
from numpygpt.utils.cli import shown
from numpygpt.utils.data.corpora import Corpus
from numpygpt.utils.data.dataset import DEFAULT_FOLDER, TOKENIZERS, TokenDataset, check_replace, write_dataset
from numpygpt.utils.data.fetch import Progress

UNKNOWN = "<unk>"
APOSTROPHES = "'\N{RIGHT SINGLE QUOTATION MARK}"
TOKENS_AN_ENTRY = 20  # with fewer training tokens to a vocabulary entry, most embeddings hardly leave their start
BYTES = 256  # a BPE vocabulary starts with these, and one of words is of no use below
DEFAULTS = {"char": (None, None), "word": (None, 1), "bpe": (6551, 2)}  # vocabulary size (None: no limit), min-freq


def prepare(
    corpus: Corpus,
    out: str | Path = DEFAULT_FOLDER,
    tokenizer: str = "char",
    *,
    vocab_size: int | None = None,
    min_freq: int | None = None,
    lowercase: bool = False,
    clean: str | None = None,
    val_fraction: float = 0.1,
    context: int = 128,
    force: bool = False,
    say: Callable[[str], None] = lambda line: None,
    progress: Progress | None = None,
) -> TokenDataset:
    """Write the data folder `out` for `corpus` and open it.

    The last `val_fraction` of the characters is the validation part: whole passages that training never saw, where a
    random choice of lines would leave each with its neighbours in the training part. `say` is told what a user should
    know, a line at a time; `progress` how far long work is. Raises `ValueError` with the numbers when a part is too
    short for `context`, when a setting does not fit the tokenizer, and when `out` holds other data (see `force`).
    """
    out = Path(out)
    _check_settings(tokenizer, vocab_size, min_freq, clean, val_fraction, context)
    settings: dict[str, Any] = {
        "vocab_size": vocab_size or DEFAULTS[tokenizer][0],
        "min_freq": min_freq or DEFAULTS[tokenizer][1],
        "lowercase": lowercase,
        "clean": clean,
    }
    parts = _split(corpus.text, lowercase, clean, val_fraction)
    meta = _describe(corpus, parts, tokenizer, settings, val_fraction)
    check_replace(out, meta, force)
    if not all(parts.values()):  # nothing to learn from, or nothing to judge by
        raise ValueError(_too_short(meta, [len(piece) for piece in parts.values()], context, "characters"))
    coder = _learn(tokenizer, parts, settings, say, progress)
    ids = _encode(coder, parts, progress)
    if min(len(part) for part in ids.values()) < context + 1:
        raise ValueError(_too_short(meta, [len(part) for part in ids.values()], context, "tokens"))
    _warn(coder, ids, settings["vocab_size"], say)
    write_dataset(out, ids["train"], ids["val"], coder, meta)
    return TokenDataset.load(out)


def _split(text: str, lowercase: bool, clean: str | None, val_fraction: float) -> dict[str, str]:
    """The training and the validation text, cleaned; cut at a character, wherever in a line that is."""
    text = text.lower() if lowercase else text
    text = clean_alnum(text) if clean == "alnum" else text
    cut = int(len(text) * (1 - val_fraction))
    return {"train": text[:cut], "val": text[cut:]}


def _describe(corpus: Corpus, parts: dict[str, str], kind: str, settings, val_fraction: float) -> dict[str, Any]:
    """What meta.json says, less what only the tokens and the tokenizer can tell."""
    counts = {part: {"characters": len(piece), "bytes": len(piece.encode("utf-8"))} for part, piece in parts.items()}
    return {
        "corpus": corpus.name,
        "source": corpus.source,
        "sha256": corpus.sha256,
        "tokenizer": {"kind": kind},
        "settings": settings,
        "split": {"by": "position", "val_fraction": val_fraction, "at_character": len(parts["train"])},
        **counts,
    }


def clean_alnum(text: str) -> str:
    """Keep letters, digits and single white space, in every script.

    Apostrophes vanish (don't -> dont); any other run of characters that are neither letter nor digit becomes one space,
    or one new line where it has one (king.--And -> king And). Marks that belong to a letter stay with it.
    """
    table: dict[int, str | None] = dict.fromkeys(map(ord, APOSTROPHES))
    for char in set(text) - {"\n", *APOSTROPHES}:
        if not char.isalnum() and not unicodedata.category(char).startswith("M"):
            table[ord(char)] = " "
    spaced = re.sub(r" +", " ", text.translate(table))
    return re.sub(r" ?\n[ \n]*", "\n", spaced).strip(" \n")


def _check_settings(tokenizer, vocab_size, min_freq, clean, val_fraction, context) -> None:
    if tokenizer not in TOKENIZERS:
        raise ValueError(f"no tokenizer is called {tokenizer!r}: there are {', '.join(TOKENIZERS)}")
    if clean not in (None, "alnum"):
        raise ValueError(f"no cleaning is called {clean!r}: there is alnum")
    if not 0 < val_fraction < 1:
        raise ValueError(f"the validation fraction lies between 0 and 1, and {val_fraction:g} does not")
    for name, value, least in (("context", context, 1), ("vocabulary size", vocab_size, 1), ("min-freq", min_freq, 1)):
        if value is not None and value < least:
            raise ValueError(f"the {name} is at least {least}, not {value}")
    if tokenizer == "char" and (vocab_size is not None or min_freq is not None):
        raise ValueError("a char vocabulary is the text's own characters: it takes no vocabulary size and no min-freq")


def _learn(kind: str, parts: dict[str, str], settings: dict[str, Any], say, progress: Progress | None):
    """The tokenizer, trained on the training part only: what validation text has is no business of the vocabulary's."""
    if kind == "char":
        unseen = sorted(set(parts["val"]) - set(parts["train"]))
        if unseen:
            places = sum(parts["val"].count(char) for char in unseen)
            some = " ".join(map(repr, unseen[:5])) + (" ..." if len(unseen) > 5 else "")
            say(
                f"note: {UNKNOWN} stands for what only the validation part has: {len(unseen)} of its characters "
                f"({some}), {places:,} times in all"
            )
        return CharTokenizer().train(parts["train"], special_tokens=(UNKNOWN,) if unseen else ())
    size = {name: settings[name] for name in ("vocab_size", "min_freq")}
    if kind == "word":
        words = WordTokenizer(lowercase=settings["lowercase"])
        return words.train(parts["train"], special_tokens=(UNKNOWN,), **size)
    report = None if progress is None else lambda done, total: progress("learning merges", done, total)
    return BPETokenizer().train(parts["train"], progress=report, **size)


def _encode(coder, parts: dict[str, str], progress: Progress | None) -> dict[str, np.ndarray]:
    ids = {}
    for done, (part, piece) in enumerate(parts.items()):
        if progress:
            progress("encoding", done, len(parts))
        ids[part] = coder.encode_array(piece)
    if progress:
        progress("encoding", len(parts), len(parts))
    return ids


def _too_short(meta: dict[str, Any], counts: list[int], context: int, unit: str) -> str:
    characters = meta["train"]["characters"] + meta["val"]["characters"]
    return (
        f"the text is too short: {characters:,} characters give {counts[0]:,} training and {counts[1]:,} validation "
        f"{unit}, and a context of {context} needs {context + 1:,} tokens in each; use a longer text, a smaller "
        "--context or another --val-fraction"
    )


def _warn(coder, ids: dict[str, np.ndarray], vocab_size: int | None, say: Callable[[str], None]) -> None:
    """What is allowed but seldom meant."""
    entries, tokens = coder.vocab_size, len(ids["train"])
    if coder.kind == "bpe" and vocab_size and entries < vocab_size:
        say(f"note: no pair was left that occurs often enough: {entries:,} entries, not {vocab_size:,}")
    unknown = int((ids["val"] == coder.special_tokens.get(UNKNOWN, -1)).sum()) if coder.kind == "word" else 0
    if unknown:
        share = unknown / len(ids["val"])
        say(f"note: {unknown:,} validation tokens ({share:.1%}) are not in the vocabulary and become {UNKNOWN}")
    if tokens < TOKENS_AN_ENTRY * entries:
        advice = ["a longer text"]
        if coder.kind != "char":
            advice.insert(0, "--tokenizer char")
        if (fitting := tokens // TOKENS_AN_ENTRY) > BYTES:
            advice.insert(0, f"--vocab-size {fitting - fitting % 100}")
        say(
            f"warning: {entries:,} vocabulary entries for {tokens:,} training tokens: {tokens / entries:.1f} tokens an "
            f"entry, and below {TOKENS_AN_ENTRY} most entries are too rare to be learned; try {' or '.join(advice)}"
        )


def summary(dataset: TokenDataset) -> str:
    """What the folder holds, a line for each thing."""
    meta, train, val = dataset.meta, dataset.meta["train"], dataset.meta["val"]
    characters, size = train["characters"] + val["characters"], train["bytes"] + val["bytes"]
    tokens = train["tokens"] + val["tokens"]
    made = [name for name in ("lowercase", "clean") if meta["settings"][name]]
    rows = [
        ("corpus", f"{meta['corpus']}: {meta['source']}"),
        ("text", f"{characters:,} characters, {size:,} bytes{' after ' + ' and '.join(made) if made else ''}"),
        ("vocabulary", f"{dataset.vocab_size:,} entries ({meta['tokenizer']['kind']}, learned on the training part)"),
        ("train", f"{train['tokens']:,} tokens"),
        ("val", f"{val['tokens']:,} tokens, the last {100 * meta['split']['val_fraction']:g} % of the text"),
        ("a token", f"{characters / tokens:.2f} characters, {size / tokens:.2f} bytes"),
        ("folder", shown(dataset.folder)),
    ]
    return "\n".join(f"{name:<11} {what}" for name, what in rows)
