"""Read the tokenizer of a file or folder: ours, Hugging Face's tokenizer.json, or GPT-2's vocab.json and merges.txt."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from numpygpt.tokenizer import formats, storage
from numpygpt.utils.text import shorten

Fields = dict[str, Any]
OURS, CONFIG, PAIR = "tokenizer.json", "tokenizer_config.json", ("merges.txt", "vocab.json")
GPT2_CLASSES = (None, "GPT2Tokenizer", "GPT2TokenizerFast", "PreTrainedTokenizerFast")


def fields_of(path: str | os.PathLike[str]) -> Any:
    """Return the fields of the tokenizer at `path`; those of our own file are not checked yet.

    In a folder it is tokenizer.json, or GPT-2's vocab.json with merges.txt. tokenizer_config.json in the same folder
    names the tokens that begin and end a text. Raises OSError or ValueError, with the path.
    """
    path = Path(path)
    if not path.is_dir():
        return _file(path)
    if (path / OURS).exists():
        return _file(path / OURS)
    if all((path / name).exists() for name in PAIR):
        try:
            return _gpt2(path)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    has = ", ".join(sorted(entry.name for entry in path.iterdir() if "token" in entry.name)[:5]) or "no such file"
    raise ValueError(f"the folder {path} has no {OURS}, and not both {' and '.join(PAIR)} (it has {has}): save "
                     f"its tokenizer as {OURS}")


def _file(path: Path) -> Any:
    fields = storage.read(path)
    if not formats.is_huggingface(fields):
        return fields
    try:
        config = _config(path.parent) if path.name == OURS else {}
        return _with_ends(formats.from_huggingface(fields), config, formats.ids_of(fields))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _gpt2(folder: Path) -> Fields:
    """Return the fields from merges.txt and vocab.json, which do not name their pattern: only GPT-2's is certain."""
    config = _config(folder)
    if config.get("tokenizer_class") not in GPT2_CLASSES:
        found = shorten(config["tokenizer_class"])
        raise ValueError(f"the tokenizer is a {found}, and without {OURS} only GPT-2's can be read: save it as {OURS}")
    merges, vocab = (folder / name for name in PAIR)
    return _with_ends(formats.from_gpt2(merges, vocab), config, storage.read(vocab))


def _config(folder: Path) -> Fields:
    """Return the content of tokenizer_config.json, or {} if the file is missing."""
    path = folder / CONFIG
    config = storage.read(path) if path.exists() else {}
    if not isinstance(config, dict):
        raise storage.wrong(CONFIG, "an object", config)
    return config


def _with_ends(fields: Fields, config: Fields, ids: dict[str, int]) -> Fields:
    """Return `fields` with the tokens that `config` names, unless the tokenizer itself adds others to a text."""
    named: Fields = {}
    for end in ("bos", "eos"):
        token = config.get(f"{end}_token")
        name = token.get("content") if isinstance(token, dict) else token
        if name is None:
            continue
        if not isinstance(name, str) or name not in ids:
            raise ValueError(f"{CONFIG} names the {end}_token {shorten(name)}, which is not in the vocabulary: name a "
                             "token of the vocabulary, or null")
        named[f"{end}_id"] = ids[name]
    return {**named, **fields}
