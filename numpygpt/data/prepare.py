"""From a corpus to a data folder: read and count, learn the vocabulary on the training part, encode, write.

The corpus is read once for each of these and never held: its size is bounded by the disk and not by the memory.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from numpygpt.data.clean import CLEANINGS
from numpygpt.data.corpora import Corpus
from numpygpt.data.counting import Counts
from numpygpt.data.dataset import TokenDataset
from numpygpt.data.documents import END
from numpygpt.data.fetch import Progress
from numpygpt.data.folder import (
    Saving,
    check_replace,
    id_dtype,
    new_folder,
    put_back,
    saving,
    write_rest,
    write_tokens,
)
from numpygpt.data.recipes import DEFAULT_FOLDER
from numpygpt.data.split import PARTS, SPLITS, Reading, Source
from numpygpt.data.summary import Again, warn
from numpygpt.data.vocabulary import UNKNOWN, Say, given_tokenizer, learn, vocabulary_settings
from numpygpt.tokenizer import Tokenizer
from numpygpt.utils.cores import cores
from numpygpt.utils.text import suggestion

LARGE = 8 << 20  # bytes: below it is done before more processes have started


def prepare(
    corpus: Corpus,
    out: str | Path = DEFAULT_FOLDER,
    tokenizer: str = "char",
    *,
    tokenizer_files: Path | None = None,
    vocab_size: int | None = None,
    min_freq: int | None = None,
    lowercase: bool = False,
    clean: str | None = None,
    split: str = "position",
    val_fraction: float = 0.1,
    context: int = 128,
    workers: int | None = None,
    force: bool = False,
    say: Say = lambda line: None,
    progress: Progress | None = None,
    again: Again | None = None,
) -> TokenDataset:
    """Write the data folder `out` for `corpus` and open it.

    By position, the last `val_fraction` of the bytes is the validation part: whole passages that training never saw,
    where a random choice of lines would leave each with its neighbours in the training part. By document, it is
    every so many-th document (see `Source`). `tokenizer`: char, word, bpe, gpt2 or a path (see `given_tokenizer`).
    `workers` processes share the work, by default one a core from 8 MB on (see `ordered_map` for what a script then
    needs). `say` is told what a user should know, a line at a time; `progress` how far long work is. `again` gives the
    command that makes the folder with other settings, for advice. Raises
    `ValueError` with the numbers when a part is too short for `context`, when a setting does not fit the tokenizer,
    and when `out` holds other data (see `force`).
    """
    out, numbers = Path(out), {"vocab_size": vocab_size, "min_freq": min_freq}
    _check_settings(clean, split, val_fraction, context=context, workers=workers, **numbers)
    given = given_tokenizer(str(tokenizer), tokenizer_files)
    kind = given.tokenizer.kind if given else str(tokenizer)
    source = Source(corpus, clean, split, val_fraction, progress)
    meta: dict[str, Any] = {
        "corpus": corpus.name,
        "source": corpus.source,
        "tokenizer": {"kind": kind, **(given.origin if given else {})},
        "settings": {**vocabulary_settings(kind, given, lowercase=lowercase, **numbers), "clean": clean},
        "split": source.described(),
    }
    put_back(out, say)
    check_replace(out, meta, force)  # as far as the settings tell: before any text is read
    source, counts = _counted(source, kind == "char" and not given, lowercase, say)
    meta |= counts.described()
    meta["split"] = source.described() | ({"at_byte": counts.reading.at_byte} if split == "position" else {})
    check_replace(out, meta, force)
    _check_counts(counts, source, context, say)
    workers = workers or (cores() if corpus.size >= LARGE else 1)
    coder = given.tokenizer if given else learn(kind, source, counts, meta["settings"], workers, say)
    if counts.several and END.name not in coder.special_tokens:
        raise ValueError(f"this tokenizer has no special token {END.name}, which ends each of the corpus's "
                         f"{counts.total:,} documents: give one document, or a tokenizer that has it")
    ids = sum(counts.characters.values()) if kind == "char" else 0  # of other tokens nobody knows how many there are
    disk = partial(saving, out, ids * id_dtype(coder.vocab_size).itemsize)
    with new_folder(out) as folder:
        tokens, unknown = _encode(source, coder, folder, counts, workers, disk)
        if min(tokens.values()) < context + 1:
            raise ValueError(_too_short(counts, tokens, context, "tokens"))
        warn(coder, bool(given), tokens, unknown, vocab_size, say, again)
        with disk():
            write_rest(folder, coder, tokens, meta)
    return TokenDataset.load(out)


def _check_settings(clean: str | None, split: str, val_fraction: float, **numbers: int | None) -> None:
    for what, name, known in (("cleaning", clean, CLEANINGS), ("split", split, SPLITS)):
        if name is not None and name not in known:
            raise ValueError(f"no {what} is called {name!r}{suggestion(name, known)}: there is {' and '.join(known)}")
    if not 0 < val_fraction < 1:
        raise ValueError(f"the validation fraction lies between 0 and 1, and {val_fraction:.15g} does not")
    shown = {"vocab_size": "vocabulary size", "min_freq": "min-freq", "workers": "number of workers"}
    for name, value in numbers.items():
        if value is not None and value < 1:
            raise ValueError(f"the {shown.get(name, name)} is at least 1, not {value}")


def _counted(source: Source, tally: bool, lowercase: bool, say: Say) -> tuple[Source, Counts]:
    """The counts of the source, without the validation documents that the training part has as well."""
    counts = Counts(source, tally, lowercase)
    for note in counts.oddities.notes():
        say(f"note: {note}")
    repeated = counts.repeats.found() if counts.repeats else []
    if not repeated:
        return source, counts
    many = f"{len(repeated):,} of the {counts.documents['val']:,} validation documents"
    are = "is" if len(repeated) == 1 else "are"
    if len(repeated) == counts.documents["val"]:
        say(f"warning: {many} {are} in the training part as well, and {are} kept only because there are no others: the "
            "validation loss will say nothing of new text")
        return source, counts
    say(f"note: {many} {are} left out, because the training part has them as well")
    source = replace(source, left_out=repeated)
    return source, Counts(source, tally, lowercase)


def _check_counts(counts: Counts, source: Source, context: int, say: Say) -> None:
    """ValueError where a part has no text: nothing to learn from, or nothing to judge by."""
    separator = source.corpus.separator
    if separator is not None and counts.reading.ends == len(source.corpus.documents):
        say(f"note: the separator {separator!r} stands nowhere in the text")
    if source.by == "document" and counts.total == 1:
        raise ValueError("a split by document needs several documents, and this corpus is one: give more files, or "
                         "with --separator what stands between the documents in one, or --split position")
    if source.by == "document" and counts.total and not counts.documents["val"]:
        raise ValueError(f"{counts.total} documents and a validation fraction of {source.val_fraction:g} leave none "
                         "for validation: give a larger --val-fraction, or --split position")
    if not any(counts.characters.values()):
        raise ValueError(f"there is no text in {source.corpus.source}")
    if not all(counts.characters.values()):
        raise ValueError(_too_short(counts, counts.characters, context, "characters"))


def _encode(
    source: Source, coder: Tokenizer, folder: Path, counts: Counts, workers: int, disk: Saving
) -> tuple[dict[str, int], dict[str, int]]:
    """Write each part's tokens, in `disk` blocks. (how many there are, how many of them are unknown)"""
    tokens, unknown, reading = {}, {}, Reading()
    dtype, watched = id_dtype(coder.vocab_size), coder.special_tokens.get(UNKNOWN, -1)
    for part in PARTS:
        # The validation part comes last, and on the way to it all of the text is read.
        pieces = source.part(part, f"encoding {part}", counts.several, reading if part == "val" else None)
        arrays = cast("Generator[np.ndarray]", coder.encode_stream(pieces, workers))
        with closing(arrays):  # a run that is stopped lets go of its processes here
            tokens[part], unknown[part] = write_tokens(folder / f"{part}.bin", arrays, dtype, watched, disk)
    if reading.sha256 != counts.reading.sha256:
        raise RuntimeError("the text changed while it was read: run this again once nothing writes to it")
    return tokens, unknown


def _too_short(counts: Counts, found: dict[str, int], context: int, unit: str) -> str:
    return (
        f"the text is too short: {sum(counts.characters.values()):,} characters give {found['train']:,} training and "
        f"{found['val']:,} validation {unit}, and a context of {context} needs {context + 1:,} tokens in each; use a "
        "longer text, a smaller --context or another --val-fraction"
    )
