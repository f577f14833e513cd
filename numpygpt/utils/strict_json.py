"""JSON as its standard has it."""

from __future__ import annotations

import json
from typing import Any, NoReturn


def loads(text: str, **options: Any) -> Any:
    """The value in `text`. ValueError for NaN and Infinity too, which Python's parser takes and others do not."""
    return json.loads(text, parse_constant=_refuse, **options)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
