"""A corpus from files, folders, patterns, and `-` for standard input. Each file is a document and is read once."""

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
from numpygpt.data.repeats import some_of, without_duplicates
from numpygpt.utils.cli import stdin
from numpygpt.utils.colour import printable
from numpygpt.utils.files import writing
from numpygpt.utils.paths import display_path
from numpygpt.utils.text import suggestion

STDIN = "-"
ENDLESS = ("/dev/zero", "/dev/random", "/dev/urandom", "/dev/full")


def read_corpus(inputs: Sequence[str | Path], encoding: str = "utf-8", separator: str | None = None) -> Corpus:
    """Return the corpus of `inputs`, in order. Each file is a document, or several if `separator` is between them.

    A folder stands for every file below it that is not hidden, a pattern for every file that it matches, sorted by
    name. A file counts once, even if it is given several times or under several names: the same text in both parts
    would make the validation loss look too good. A pipe is copied to a temporary file: use the corpus in a `with`
    block, which removes it. Raises `FileNotFoundError`, and `ValueError` for a file that is not text.
    """
    if not inputs:
        raise ValueError("`input` needs at least one file")
    if "" in map(str, inputs) or [str(name) for name in inputs].count(STDIN) > 1:
        raise ValueError("a name in `input` is empty (perhaps an unset shell variable), or it has standard input twice")
    if separator == "":
        raise ValueError("`separator` is empty: give the text between two documents")
    encoding = check_encoding(encoding)
    documents: list[Document] = []
    try:
        for name in inputs:
            documents += _documents(str(name), encoding)
        unique, notes = without_duplicates(documents)
        unique = [replace(document, several=len(unique) > 1) for document in unique]
        for document in unique:
            notes += check_head(document)
    except BaseException:
        Corpus("", tuple(documents), "").__exit__()
        raise
    return Corpus(_name(inputs, unique), tuple(unique), _source(inputs, unique), tuple(notes), separator)


def _documents(name: str, encoding: str) -> Iterator[Document]:
    path = Path(name)
    if name == STDIN:
        yield Document("stdin", _copied(stdin()), encoding)
    elif path.is_dir():
        hint = f"; to read only some of the folder's files, give a pattern such as '{name.rstrip(os.sep)}/**/*.txt'"
        yield from (Document(file.name, file, encoding, hint) for file in _files_below(path))
    elif path.is_file():
        yield Document(path.name, path, encoding)
    elif str(path) in ENDLESS or path.is_block_device():
        raise ValueError(f"{name} is a device, which has no text and no end")
    elif path.exists():  # a pipe: the shell's <(command), or a named pipe
        with path.open("rb") as pipe:
            label = "pipe" if path.name.isdigit() else path.name  # /dev/fd/63 means nothing to a user
            yield Document(label, _copied(pipe), encoding)
    elif glob.has_magic(name):
        files = [Path(file) for file in sorted(glob.glob(name, recursive=True)) if os.path.isfile(file)]
        if not files:
            raise FileNotFoundError(f"no file matches {name!r}; in a pattern ** stands for any folders")
        yield from (Document(file.name, file, encoding) for file in files)
    else:
        near = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise FileNotFoundError(f"there is no file {display_path(path)}{suggestion(path.name, near)}")


def _files_below(folder: Path) -> list[Path]:
    """Return every file below `folder` except hidden files and files in hidden folders."""
    files: list[Path] = []

    def refuse(error: OSError) -> None:
        raise error

    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [Path(place, name) for name in names if not name.startswith(".")]
    files = sorted(file for file in files if file.is_file())
    if not files:
        raise ValueError(f"the folder {display_path(folder)} has no files, or only hidden ones")
    return files


def _copied(pipe: BinaryIO) -> BinaryIO:
    """Copy `pipe` to a file without a name, because a corpus is read more than once."""
    place = Path(tempfile.gettempdir()) / "numpygpt"  # for messages: the file itself has no name
    state, retry = "A pipe is copied there while it is read", "run this again, or set TMPDIR"
    with writing(place, state, retry):
        copy = tempfile.TemporaryFile()
    try:
        while block := pipe.read(1 << 20):
            with writing(place, state, retry):
                copy.write(block)
                copy.flush()
    except BaseException:
        with suppress(OSError):  # closing tries again to write what the disk refused
            copy.close()
        raise
    return copy  # type: ignore[return-value]


def _name(inputs: Sequence[str | Path], documents: Sequence[Document]) -> str:
    """Return `notes`, `notes_and_2_more`, or a folder's name."""
    first = Path(inputs[0])
    is_folder = len(inputs) == 1 and first.is_dir()
    name = first.resolve().name if is_folder else Path(documents[0].name).stem
    more = "" if is_folder or len(documents) == 1 else f"_and_{len(documents) - 1}_more"
    return (re.sub(r"[^\w.-]+", "_", name).strip(".") or "text") + more


def _source(inputs: Sequence[str | Path], documents: Sequence[Document]) -> str:
    """Return the files' names, or how many there are, as printable text: meta.json is UTF-8, and a name may not be."""
    if len(inputs) == 1 and len(documents) > 1:
        return f"{printable(Path(inputs[0]).as_posix())} ({len(documents):,} files)"
    return some_of([printable(document.name) for document in documents])
