"""The tokenizer file: JSON for people to read, written whole or not at all, and read with suspicion."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from numpygpt.tokenizer import checks
from numpygpt.utils import strict_json
from numpygpt.utils.text import shorten

FORMAT = "numpygpt-tokenizer"
VERSION = 2
MOST_BYTES = 1 << 28  # of a file: a vocabulary of millions of words has fewer
HEADER = ("format", "version", "kind", "lowercase", "special_tokens")


def write(path: str | os.PathLike[str], fields: dict[str, Any]) -> None:
    """Write `fields` beside `path`, flush it to disk and rename it: a crash leaves the old file or the new one."""
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist, so {path.name} cannot be saved; make it")
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)  # what a kill has left
    try:
        with open(temporary, "x", encoding="utf-8", newline="") as file:  # "": the same bytes on every system
            file.write(to_json(fields))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def to_json(fields: dict[str, Any]) -> str:
    """JSON with one line for each field and for each element of a list, so that two files can be compared."""
    lines = []
    for key, value in fields.items():
        if isinstance(value, list) and value:
            body = ",\n".join(f"    {json.dumps(element, ensure_ascii=False)}" for element in value)
            lines.append(f"  {json.dumps(key)}: [\n{body}\n  ]")
        else:
            lines.append(f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The file's bytes. ValueError where they are more than any tokenizer's, and for a pipe, which has no size."""
    if Path(path).exists() and not Path(path).is_file():
        raise ValueError(f"{os.fspath(path)} is a folder, a pipe or a device, and a tokenizer is a file: name that")
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size > MOST_BYTES:
            raise ValueError(f"{os.fspath(path)} has more than {MOST_BYTES:,} bytes, and no tokenizer file has so many")
        return file.read()


def read(path: str | os.PathLike[str]) -> Any:
    """The JSON value in the file. ValueError for what is no UTF-8 or no JSON, a truncated file for one."""
    content = read_bytes(path)
    try:
        return strict_json.loads(content.decode("utf-8"), object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:  # RecursionError: a hundred thousand opening brackets
        raise ValueError(
            f"{os.fspath(path)} is not a tokenizer file, or only a part of one ({error}); "
            f"expected the JSON that tokenizer.save writes: copy or make it again"
        ) from error


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a key occurs twice in one object")
    return fields


def wrong(name: str, expected: str, value: object) -> ValueError:
    """The error for a field that does not hold what it should."""
    return ValueError(
        f"the tokenizer's {name} should be {expected}, got {shorten(value)}; "
        f"the file was damaged or edited: make it again with tokenizer.save"
    )


def check_header(fields: Any, kinds: Collection[str]) -> str:
    """The kind of tokenizer that `fields` describes, once format and version are known to be ours."""
    if not isinstance(fields, dict):
        raise wrong("description", "a dict", fields)
    if fields.get("format") != FORMAT:
        raise ValueError(
            f"this is not a NumpyGPT tokenizer: its format is {shorten(fields.get('format'))}, "
            f"expected {FORMAT!r}; pass a file that tokenizer.save wrote"
        )
    version = fields.get("version")
    if type(version) is not int or version != VERSION:
        raise ValueError(
            f"tokenizer format version {shorten(version)} is not supported, expected {VERSION}; "
            f"update NumpyGPT, or save the tokenizer again with this version"
        )
    kind = fields.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        raise wrong("kind", f"one of {', '.join(map(repr, sorted(kinds)))}", kind)
    return kind


def check_keys(fields: dict[str, Any], own: tuple[str, ...], optional: tuple[str, ...] = ()) -> None:
    """Raise where a field is missing, or where there is one that this version does not know."""
    missing = [key for key in (*HEADER, *own) if key not in fields]
    unknown = [key for key in fields if key not in (*HEADER, *own, *optional)]
    if missing:
        lacks = ", ".join(map(repr, missing))
        raise ValueError(f"the tokenizer lacks {lacks}; make the file again with tokenizer.save")
    if unknown:
        raise ValueError(
            f"the tokenizer has fields that version {VERSION} does not know: {shorten(unknown)}; "
            f"remove them, or make the file again with tokenizer.save"
        )


def check_vocab(vocab: Any) -> list[str]:
    """`vocab` as a list of strings that can be written as UTF-8: the ordinary tokens in the order of their ids."""
    if not isinstance(vocab, list) or not vocab:
        raise wrong("vocab", "a list of strings", vocab)
    for place, token in enumerate(vocab):
        if not isinstance(token, str):
            raise wrong(f"vocab[{place}]", "a string", token)
        checks.text(token)
    return vocab


def ordinary_ids(ordinary: int, special: Collection[int]) -> list[int]:
    """The ids of the `ordinary` tokens, in order: those that are not among `special`, which other tokens have."""
    taken = set(special)
    return [id for id in range(ordinary + len(taken)) if id not in taken]


def check_special(special: Any, ordinary: int, added: dict[str, int] | None = None) -> dict[str, int]:
    """The special tokens, name -> id, in a vocabulary that has `ordinary` other tokens and the `added` ones: all with
    different ids and names."""
    if not isinstance(special, dict) or not all(type(id) is int for id in special.values()):
        raise wrong("special_tokens", "an object from names to ids", special)
    added = added or {}
    ids = [*special.values(), *added.values()]
    size = ordinary + len(ids)
    if len(set(ids)) < len(ids) or not all(0 <= id < size for id in ids):
        expected = f"different ids below {size}, the size of the vocabulary"
        raise wrong("special_tokens", expected, sorted(ids))
    checks.special_names([*special, *added])
    return dict(sorted(special.items(), key=lambda item: item[1]))
