"""Packages and JSON files that only pretrained models need."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from types import ModuleType
from typing import Any

from numpygpt.utils import strict_json
from numpygpt.utils.paths import display_path

MAX_JSON_BYTES = 16 << 20  # 100,000 tensors are described in fewer; in memory JSON takes up to 20 times its bytes


def package(name: str) -> ModuleType:
    """Import a package of the extra [models]. RuntimeError with the command that installs it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise RuntimeError(f"pretrained models need the package {name.split('.')[0]}, which is not installed: run "
                           'pip install -e ".[models]"') from None


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file. FileNotFoundError, or ValueError if it is something else, or too large."""
    shown = display_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no {shown}")
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size > MAX_JSON_BYTES:
            raise ValueError(f"{shown} has more than {MAX_JSON_BYTES:,} bytes: too many for a description of a model")
        content = file.read()
    try:
        return json_object(content)
    except ValueError as error:
        raise ValueError(f"{shown} is not valid ({error}): copy it again") from error


def json_object(content: bytes) -> dict[str, Any]:
    """Return the JSON object in UTF-8 text. ValueError for anything else, and for a key that occurs twice."""
    try:
        found = strict_json.loads(content.decode("utf-8"), object_pairs_hook=_unique_keys)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("it is not a JSON object")
    return found


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a key occurs twice in one object")
    return fields
