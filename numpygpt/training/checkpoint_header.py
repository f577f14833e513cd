"""Checks of the values in a checkpoint's header, which may be untrusted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from numpygpt.training.archive import Unsound


def check_header(header: dict[str, Any]) -> None:
    """Raise Unsound if a value has a type or range that no run writes."""
    for name, (fits, expected) in VALUES.items():
        if name in header and not fits(header[name]):
            raise Unsound(f"its {name} should be {expected}")
    for state in header.get("generators", {}).values():
        try:
            np.random.PCG64().state = state
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise Unsound("invalid random generator state") from error


def is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 60  # with what a run adds to it, it still fits an int64


def is_number(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < 1e300


def is_object(value: Any) -> bool:
    return isinstance(value, dict)


def is_evaluation(value: Any) -> bool:
    if value is None or value == {}:
        return True  # no evaluation yet
    return is_object(value) and is_number(value.get("val_loss")) and is_count(value.get("step"))


def is_place(value: Any) -> bool:
    return is_object(value) and set(value) == {"epoch", "position"} and all(map(is_count, value.values()))


def is_optimizer(value: Any) -> bool:
    return is_object(value) and isinstance(value.get("name"), str) and is_count(value.get("steps"))


def is_base(value: Any) -> bool:
    return is_object(value) and set(value) == {"name", "sha256"} and all(type(of) is str for of in value.values())


VALUES: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(("step", "tokens"), (is_count, "a whole number from 0 on")),
    "seconds": (is_number, "a number from 0 on"),
    **dict.fromkeys(("last", "best"), (is_evaluation, "null, or an object with a val_loss and a step")),
    "data": (lambda value: value is None or is_object(value), "an object or null"),
    "loader": (is_place, "an object with an epoch and a position"),
    "optimizer": (is_optimizer, "an object with a name and steps"),
    "base": (is_base, "an object with the name and the sha256 of a model"),
    **dict.fromkeys(("config", "model", "tokenizer", "generators"), (is_object, "an object")),
}
