"""What `--input` takes: files, folders, patterns, and `-` for standard input. Each file becomes a document, once."""

from __future__ import annotations

import glob
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from numpygpt.data.corpora import Corpus
from numpygpt.data.documents import Document
from numpygpt.data.encodings import check_encoding
from numpygpt.data.refusals import check_head
from numpygpt.data.repeats import once
from numpygpt.utils.cli import stdin
from numpygpt.utils.colour import printable
from numpygpt.utils.files import writing
from numpygpt.utils.paths import display_path
from numpygpt.utils.text import suggestion

STDIN = "-"
ENDLESS = ("/dev/zero", "/dev/random", "/dev/urandom", "/dev/full")
NAMED = 3  # as many files are listed in `source`


def read_corpus(inputs: Sequence[str | Path], encoding: str = "utf-8", separator: str | None = None) -> Corpus:
    """The corpus of `inputs` in the order given, each file a document, or several where `separator` stands between.

    A folder gives every file below it that is not hidden, and a pattern every file that it matches, in order of their
    names. A file counts once, however often and under whichever names it is given: the same text in both parts would
    make the validation loss look better than it is. A pipe is read once, into a temporary file: use the corpus in a
    `with` block, which removes it. Raises `FileNotFoundError`, and `ValueError` also for a file that is not text.
    """
    if not inputs:
        raise ValueError("--input needs at least one file")
    if "" in map(str, inputs) or [str(given) for given in inputs].count(STDIN) > 1:
        raise ValueError("an --input is empty, as where a shell's variable is not set, or names standard input twice")
    if separator == "":
        raise ValueError("the separator is empty: give the text that stands between two documents")
    encoding = check_encoding(encoding)
    documents: list[Document] = []
    try:
        for given in inputs:
            documents += _documents(str(given), encoding)
        kept, notes = once(documents)
        kept = [replace(document, several=len(kept) > 1) for document in kept]
        for document in kept:
            notes += check_head(document)
    except BaseException:
        Corpus("", tuple(documents), "").__exit__()
        raise
    return Corpus(_name(inputs, kept), tuple(kept), _source(inputs, kept), tuple(notes), separator)


def _documents(given: str, encoding: str) -> Iterator[Document]:
    path = Path(given)
    if given == STDIN:
        yield Document("stdin", _copied(stdin()), encoding)
    elif path.is_dir():
        hint = f"; to take some of the folder's files give a pattern, such as '{given.rstrip(os.sep)}/**/*.txt'"
        yield from (Document(file.name, file, encoding, hint) for file in _files_below(path))
    elif path.is_file():
        yield Document(path.name, path, encoding)
    elif str(path) in ENDLESS or path.is_block_device():
        raise ValueError(f"{given} is a device, which has no text and no end")
    elif path.exists():  # a pipe: the shell's <(command), or one with a name
        with path.open("rb") as pipe:
            name = "pipe" if path.name.isdigit() else path.name  # /dev/fd/63 tells nobody anything
            yield Document(name, _copied(pipe), encoding)
    elif glob.has_magic(given):
        yield from (Document(file.name, file, encoding) for file in _matches(given))
    else:
        near = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise FileNotFoundError(f"no file {display_path(path)}{suggestion(path.name, near)}")


def _files_below(folder: Path) -> list[Path]:
    """Every file below `folder` but hidden ones and those in hidden folders."""
    files: list[Path] = []

    def refuse(error: OSError) -> None:
        raise error

    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [Path(place, name) for name in names if not name.startswith(".")]
    files = sorted(file for file in files if file.is_file())
    if not files:
        raise ValueError(f"the folder {display_path(folder)} has no files but hidden ones")
    return files


def _matches(pattern: str) -> list[Path]:
    files = [Path(name) for name in sorted(glob.glob(pattern, recursive=True)) if os.path.isfile(name)]
    if not files:
        raise FileNotFoundError(f"no file matches {pattern!r}; in a pattern ** stands for any folders")
    return files


def _copied(pipe: BinaryIO) -> BinaryIO:
    """What comes through `pipe`, in a file without a name: a corpus is read more than once."""
    place = Path(tempfile.gettempdir()) / "numpygpt"  # no file that one could see: where it lies is what counts
    kept, how = "What comes through a pipe is kept there while it is read", "run this again, or set TMPDIR"
    with writing(place, kept, how):
        copy = tempfile.TemporaryFile()
    try:
        while block := pipe.read(1 << 20):
            with writing(place, kept, how):
                copy.write(block)
                copy.flush()
    except BaseException:
        with suppress(OSError):  # what the disk refused is tried once more
            copy.close()
        raise
    return copy  # type: ignore[return-value]


def _name(inputs: Sequence[str | Path], documents: Sequence[Document]) -> str:
    """`notes`, `notes_and_2_more`, or a folder's name."""
    one = Path(inputs[0])
    whole = len(inputs) == 1 and one.is_dir()
    name = one.resolve().name if whole else Path(documents[0].name).stem
    more = "" if whole or len(documents) == 1 else f"_and_{len(documents) - 1}_more"
    return (re.sub(r"[^\w.-]+", "_", name).strip(".") or "text") + more


def _source(inputs: Sequence[str | Path], documents: Sequence[Document]) -> str:
    """The files' names, or how many there are. A name that is not UTF-8 is written in signs: meta.json is UTF-8."""
    names = [printable(document.name) for document in documents]
    if len(inputs) == 1 and len(names) > 1:
        return f"{printable(Path(inputs[0]).as_posix())} ({len(names):,} files)"
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
