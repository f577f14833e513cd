"""The tokenizer file: readable JSON, written completely or not at all, and read as an untrusted file."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from numpygpt.tokenizer import checks
from numpygpt.utils import strict_json
from numpygpt.utils.files import write_whole
from numpygpt.utils.text import shorten

FORMAT = "numpygpt-tokenizer"
VERSION = 2
MAX_FILE_BYTES = 1 << 28  # a vocabulary of millions of words has fewer
HEADER = ("format", "version", "kind", "lowercase", "special_tokens")


def write(path: str | os.PathLike[str], fields: dict[str, Any]) -> None:
    """Write `fields` to `path`; a crash leaves the old file or the new one."""
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist, so {path.name} cannot be saved; make it")
    write_whole(path, to_json(fields))


def to_json(fields: dict[str, Any]) -> str:
    """Return JSON with one line per field and per element of a list, so that two files can be compared."""
    lines = []
    for key, value in fields.items():
        if isinstance(value, list) and value:
            body = ",\n".join(f"    {json.dumps(element, ensure_ascii=False)}" for element in value)
            lines.append(f"  {json.dumps(key)}: [\n{body}\n  ]")
        else:
            lines.append(f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Return the file's bytes. Raises ValueError for a file that is too large, and for a pipe, which has no size."""
    if Path(path).exists() and not Path(path).is_file():
        raise ValueError(f"{os.fspath(path)} is not a plain file: name the tokenizer's file")
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size > MAX_FILE_BYTES:
            raise ValueError(f"{os.fspath(path)} has more than {MAX_FILE_BYTES:,} bytes: too many for a tokenizer")
        return file.read()


def read(path: str | os.PathLike[str]) -> Any:
    """Return the JSON value in the file. Raises ValueError if it is not UTF-8 or not JSON, such as a truncated file."""
    content = read_bytes(path)
    try:
        return strict_json.loads(content.decode("utf-8"), object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:  # RecursionError: a hundred thousand opening brackets
        raise ValueError(f"{os.fspath(path)} is not a tokenizer file, or only a part of one ({error}): copy it again, "
                         "or make it again with tokenizer.save") from error


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a key occurs twice in one object")
    return fields


def wrong(name: str, expected: str, value: object) -> ValueError:
    """Return the error for a field with a wrong value."""
    return ValueError(f"the tokenizer's {name} must be {expected}, got {shorten(value)}: the file was damaged or "
                      "edited; make it again with tokenizer.save")


def check_header(fields: Any, kinds: Collection[str]) -> str:
    """Return the kind of tokenizer that `fields` describes, once its format and version are checked."""
    if not isinstance(fields, dict):
        raise wrong("description", "a dict", fields)
    if fields.get("format") != FORMAT:
        raise ValueError(f"this is not a NumpyGPT tokenizer: its format is {shorten(fields.get('format'))}, expected "
                         f"{FORMAT!r}; give a file that tokenizer.save wrote")
    version = fields.get("version")
    if type(version) is not int or version != VERSION:
        raise ValueError(f"tokenizer format version {shorten(version)} is not supported, expected {VERSION}: update "
                         "NumpyGPT, or save the tokenizer again with this version")
    kind = fields.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        raise wrong("kind", f"one of {', '.join(map(repr, sorted(kinds)))}", kind)
    return kind


def check_keys(fields: dict[str, Any], own: tuple[str, ...], optional: tuple[str, ...] = ()) -> None:
    """Raise if a field is missing or unknown."""
    missing = [key for key in (*HEADER, *own) if key not in fields]
    unknown = [key for key in fields if key not in (*HEADER, *own, *optional)]
    if missing:
        lacks = ", ".join(map(repr, missing))
        raise ValueError(f"the tokenizer lacks {lacks}; make the file again with tokenizer.save")
    if unknown:
        raise ValueError(f"the tokenizer has fields unknown to version {VERSION}: {shorten(unknown)}; remove them, or "
                         "make the file again with tokenizer.save")


def check_vocab(vocab: Any) -> list[str]:
    """Return `vocab`, checked: a list of strings of valid UTF-8, the ordinary tokens in the order of their ids."""
    if not isinstance(vocab, list) or not vocab:
        raise wrong("vocab", "a list of strings", vocab)
    for place, token in enumerate(vocab):
        if not isinstance(token, str):
            raise wrong(f"vocab[{place}]", "a string", token)
        checks.text(token)
    return vocab


def ordinary_ids(ordinary: int, special: Collection[int]) -> list[int]:
    """Return the ids of the `ordinary` tokens, in order: those that are not in `special`."""
    taken = set(special)
    return [id for id in range(ordinary + len(taken)) if id not in taken]


def check_special(special: Any, ordinary: int, added: dict[str, int] | None = None) -> dict[str, int]:
    """Return the special tokens, name -> id, checked: with `ordinary` other tokens and the `added` ones, all ids and
    names are different."""
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
