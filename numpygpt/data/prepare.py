"""From a corpus to a data folder: read and count, train the vocabulary on the training part, encode, write.

Each step reads the corpus again and never holds it: its size is limited by the disk, not by the memory.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from numpygpt.data.corpora import Corpus
from numpygpt.data.counting import Counts
from numpygpt.data.dataset import TokenDataset
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
from numpygpt.data.split import PARTS, SPLITS, PassRecord, SplitCorpus
from numpygpt.data.streams import CLEANINGS, END
from numpygpt.data.vocabulary import (
    Advise,
    LoadedTokenizer,
    Say,
    check_vocabulary,
    document_end,
    load_by_name,
    train,
    vocabulary_settings,
)
from numpygpt.tokenizer import Tokenizer
from numpygpt.tokenizer.word import UNKNOWN
from numpygpt.utils.cores import cores
from numpygpt.utils.fetch import Progress
from numpygpt.utils.text import suggestion

MIN_PARALLEL = 8 << 20  # bytes: less is done before more processes have started


@dataclass(frozen=True)
class Recipe:
    """How a text becomes a data folder. It checks itself.

    By position, the last `val_fraction` of the bytes is the validation part: whole passages that training never saw. A
    random choice of lines would leave the neighbours of each in the training part. By document, it is every n-th
    document (see `SplitCorpus`). `tokenizer`: char, word, bpe, gpt2 or a path (see `load_by_name`). A text too short to
    train with `context` is refused.
    """

    tokenizer: str = "char"
    tokenizer_files: Path | None = None
    vocab_size: int | None = None
    min_freq: int | None = None
    lowercase: bool = False
    clean: str | None = None
    split: str = "position"
    val_fraction: float = 0.1
    context: int = 128

    def __post_init__(self) -> None:
        for name, value, known in (("clean", self.clean, CLEANINGS), ("split", self.split, SPLITS)):
            if value is not None and value not in known:
                raise ValueError(f"`{name}` must be {' or '.join(known)}, got {value!r}{suggestion(value, known)}")
        if not 0 < self.val_fraction < 1:
            raise ValueError(f"`val_fraction` must be between 0 and 1, got {self.val_fraction:.15g}")
        for name in ("vocab_size", "min_freq", "context"):
            _check_positive(name, getattr(self, name))


def prepare(
    corpus: Corpus,
    out: str | Path = DEFAULT_FOLDER,
    recipe: Recipe | str = "char",
    *,
    workers: int | None = None,
    force: bool = False,
    say: Say = lambda line: None,
    progress: Progress | None = None,
    advise: Advise | None = None,
    **settings: Any,
) -> TokenDataset:
    """Write the data folder `out` for `corpus` and open it.

    `recipe` may also be the name of a tokenizer, with the other settings of a `Recipe` as keyword arguments.
    `workers` processes share the work; the default is one per core from 8 MB on (see `ordered_map` for what a script
    then needs). `say` is called with each note for the user, `progress` with the progress of long work. `advise`
    returns the command that makes the folder with other settings. Raises `ValueError` if a part is too short for the
    context, if a setting does not fit the tokenizer, or if `out` holds other data (see `force`).
    """
    out = Path(out)
    if not isinstance(recipe, Recipe):
        recipe = Recipe(**{"tokenizer": recipe, **settings})
    _check_positive("workers", workers)
    loaded = load_by_name(str(recipe.tokenizer), recipe.tokenizer_files)
    kind = loaded.tokenizer.kind if loaded else str(recipe.tokenizer)
    source = SplitCorpus(corpus, recipe.clean, recipe.split, recipe.val_fraction, progress)
    meta = _settings_meta(source, recipe, kind, loaded)
    put_back(out, say)
    check_replace(out, meta, force)  # as far as the settings tell: before any text is read
    source, counts = _counted(source, kind == "char" and not loaded, recipe.lowercase, say)
    meta |= counts.to_meta()
    meta["split"] = source.to_meta() | ({"at_byte": counts.record.at_byte} if recipe.split == "position" else {})
    check_replace(out, meta, force)
    _check_counts(counts, source, recipe.context, say)
    workers = workers or (cores() if corpus.size >= MIN_PARALLEL else 1)
    notes: list[str] = []  # of the training: said once the text is known to be long enough
    coder = loaded.tokenizer if loaded else train(kind, source, counts, meta["settings"], workers, notes.append)
    if counts.several and document_end(coder) is None:
        raise ValueError(f"this tokenizer has no special token {END.name}, which ends each of the corpus's "
                         f"{counts.total:,} documents: give one document, or a tokenizer that has it")
    ids = sum(counts.characters.values()) if kind == "char" else 0  # of other tokens the number is not known yet
    disk = partial(saving, out, ids * id_dtype(coder.vocab_size).itemsize)
    with new_folder(out) as folder:
        tokens, unknown = _encode(source, coder, folder, counts, workers, disk)
        if min(tokens.values()) < recipe.context + 1:
            raise ValueError(_too_short(counts, tokens, recipe.context, "tokens"))
        for note in notes:
            say(note)
        if not (loaded and loaded.of_model):  # a model has learned rare tokens from other texts
            check_vocabulary(coder, bool(loaded), tokens, unknown, recipe.vocab_size, say, advise)
        with disk():
            write_rest(folder, coder, tokens, meta)
    return TokenDataset.load(out)


def _check_positive(name: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise ValueError(f"`{name}` must be at least 1, got {value}")


def _settings_meta(source: SplitCorpus, recipe: Recipe, kind: str, loaded: LoadedTokenizer | None) -> dict[str, Any]:
    """Return what meta.json records before any text is read."""
    given = {name: getattr(recipe, name) for name in ("vocab_size", "min_freq", "lowercase")}
    return {
        "corpus": source.corpus.name,
        "source": source.corpus.source,
        "tokenizer": {"kind": kind, **(loaded.origin if loaded else {})},
        "settings": {**vocabulary_settings(kind, loaded, given), "clean": recipe.clean},
        "split": source.to_meta(),
    }


def _counted(source: SplitCorpus, tally: bool, lowercase: bool, say: Say) -> tuple[SplitCorpus, Counts]:
    """Count the source, and leave out the validation documents that the training part has, too."""
    counts = Counts(source, tally, lowercase)
    for note in counts.record.oddities.notes() if counts.record.oddities else ():
        say(f"note: {note}")
    repeated = counts.repeats.found() if counts.repeats else []
    if not repeated:
        return source, counts
    many = f"{len(repeated):,} of the {counts.documents['val']:,} validation documents"
    are = "is" if len(repeated) == 1 else "are"
    if len(repeated) == counts.documents["val"]:
        say(f"warning: {many} {are} in the training part, too, and {are} used only because there are no others: the "
            "validation loss says nothing about new text")
        return source, counts
    say(f"note: {many} {are} left out, because the training part has them, too")
    source = replace(source, left_out=repeated)
    return source, Counts(source, tally, lowercase)


def _check_counts(counts: Counts, source: SplitCorpus, context: int, say: Say) -> None:
    """Raise ValueError if a part has no text."""
    separator = source.corpus.separator
    if separator is not None and counts.record.ends == len(source.corpus.documents):
        say(f"note: the separator {separator!r} does not occur in the text")
    if source.by == "document" and counts.total == 1:
        raise ValueError("a split by document needs several documents, and this corpus has one: give more files, or "
                         'the text between documents with `separator`, or `split="position"`')
    if source.by == "document" and counts.total and not counts.documents["val"]:
        raise ValueError(f"{counts.total} documents and a `val_fraction` of {source.val_fraction:g} leave no document "
                         'for validation: give a larger `val_fraction`, or `split="position"`')
    if not any(counts.characters.values()):
        raise ValueError(f"there is no text in {source.corpus.source}")
    if not all(counts.characters.values()):
        raise ValueError(_too_short(counts, counts.characters, context, "characters"))


def _encode(
    source: SplitCorpus, coder: Tokenizer, folder: Path, counts: Counts, workers: int, disk: Saving
) -> tuple[dict[str, int], dict[str, int]]:
    """Write each part's tokens, in `disk` blocks; return how many there are, and how many are unknown."""
    tokens, unknown, record = {}, {}, PassRecord()
    dtype, watched = id_dtype(coder.vocab_size), coder.special_tokens.get(UNKNOWN, -1)
    end = document_end(coder)
    for part in PARTS:
        # The validation part comes last: on the way to it all of the text is read.
        pieces = source.part(part, f"encoding {part}", counts.several, record if part == "val" else None)
        pieces = (end if piece == END and end else piece for piece in pieces)
        arrays = cast("Generator[np.ndarray]", coder.encode_stream(pieces, workers))
        with closing(arrays):  # a run that is stopped ends its processes here
            tokens[part], unknown[part] = write_tokens(folder / f"{part}.bin", arrays, dtype, watched, disk)
    if record.sha256 != counts.record.sha256:
        raise RuntimeError("the text changed while it was read: run this again when nothing writes to it")
    return tokens, unknown


def _too_short(counts: Counts, found: dict[str, int], context: int, unit: str) -> str:
    return (f"the text is too short: {sum(counts.characters.values()):,} characters give {found['train']:,} training "
            f"and {found['val']:,} validation {unit}, and a context of {context} needs {context + 1:,} tokens in each; "
            "use a longer text, a smaller `context` or another `val_fraction`")  # fmt: skip
