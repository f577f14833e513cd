"""JSON as in its standard."""

from __future__ import annotations

import json
from typing import Any, NoReturn


def loads(text: str, **options: Any) -> Any:
    """Return the value in `text`. Raises ValueError also for NaN and Infinity, which only Python's parser accepts."""
    return json.loads(text, parse_constant=_refuse, **options)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
