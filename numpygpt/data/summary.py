"""What a user is told of a data folder: what is allowed but seldom meant, and what the folder holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpygpt.data.dataset import TokenDataset
from numpygpt.data.vocabulary import UNKNOWN, Say
from numpygpt.tokenizer import Tokenizer
from numpygpt.utils.colour import printable
from numpygpt.utils.paths import display_path

TOKENS_AN_ENTRY = 20  # with fewer training tokens to a vocabulary entry, most embeddings hardly leave their start
BYTES = 256  # a BPE vocabulary starts with these, and one of words is of no use below
OF_OTHERS = ("tokenizer_files", "vocab_size", "min_freq")  # settings that a char vocabulary does not take

Again = Callable[[dict[str, Any]], str]


def warn(
    coder: Tokenizer,
    given: bool,
    tokens: dict[str, int],
    unknown: dict[str, int],
    wanted: int | None,
    say: Say,
    again: Again | None = None,
) -> None:
    """`tokens`, `unknown`: how many each part has; `wanted`: the vocabulary size that was asked for; `again`: the
    command that makes the folder with other settings."""
    entries, train = coder.vocab_size, tokens["train"]
    if coder.kind == "bpe" and wanted and entries < wanted:
        say(f"note: no pair was left that occurs often enough: {entries:,} entries, not {wanted:,}")
    if any(unknown.values()) and (coder.kind == "word" or given):
        train_share, val_share = (unknown[part] / tokens[part] for part in ("train", "val"))
        say(f"note: {unknown['val']:,} validation tokens ({val_share:.1%}) and {unknown['train']:,} training tokens "
            f"({train_share:.1%}) are not in the vocabulary and become {UNKNOWN}")
    if train >= TOKENS_AN_ENTRY * entries:
        return
    settings = _smaller(coder, given, train)
    say(
        f"warning: {entries:,} vocabulary entries for {train:,} training tokens: {train / entries:.1f} tokens per "
        f"entry, and below {TOKENS_AN_ENTRY} most entries are too rare to be learned; try a longer text"
        + (f", or {again(settings)}" if again and settings else "")
    )


def _smaller(coder: Tokenizer, given: bool, train: int) -> dict[str, Any]:
    """The settings that make a vocabulary which fits so many tokens, by the names of datagen.py's flags."""
    fitting = train // TOKENS_AN_ENTRY // 100 * 100
    if fitting <= BYTES:
        return {} if coder.kind == "char" else {"tokenizer": "char", **dict.fromkeys(OF_OTHERS)}
    if given or coder.kind == "char":
        return {"tokenizer": "bpe", **dict.fromkeys(OF_OTHERS), "vocab_size": fitting}
    return {"vocab_size": fitting}


def summary(dataset: TokenDataset) -> str:
    """What the folder holds, a line for each thing, whatever the names of files are."""
    meta, train, val = dataset.meta, dataset.meta["train"], dataset.meta["val"]
    characters, size = train["characters"] + val["characters"], train["bytes"] + val["bytes"]
    tokens, split, many = train["tokens"] + val["tokens"], meta["split"], meta.get("documents", 1)
    percent = f"{100 * split['val_fraction']:g} %"
    if split["by"] == "position":
        held = f"the last {percent} of the text"
    else:
        held = f"{val['documents']:,} of {many:,} documents"
    origin = f"as in {meta['tokenizer']['from']}" if "from" in meta["tokenizer"] else "learned on the training part"
    kind = f"{meta['tokenizer']['kind']}, {'lower case, ' if dataset.tokenizer.lowercase else ''}{origin}"
    clean = " after clean" if meta["settings"]["clean"] else ""
    documents = f"{many:,} documents, " if many > 1 else ""
    rows = [
        ("corpus", f"{meta['corpus']}: {meta['source']}"),
        ("text", f"{documents}{characters:,} characters, {size:,} bytes{clean}"),
        ("vocabulary", f"{dataset.vocab_size:,} entries ({kind})"),
        ("train", f"{train['tokens']:,} tokens"),
        ("val", f"{val['tokens']:,} tokens, {held}"),
        ("a token", f"{characters / tokens:.2f} characters, {size / tokens:.2f} bytes"),
        ("folder", display_path(dataset.folder)),
    ]
    return "\n".join(f"{name:<11} {printable(what)}" for name, what in rows)
