"""Rotary positions in config.json, in the spellings of transformers 4 and 5."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from numpygpt.nn.modules.rotary import parse_scaling
from numpygpt.utils.checks import number
from numpygpt.utils.text import shorten

if TYPE_CHECKING:
    from numpygpt.models.config import ModelConfig

THETA = 10000.0
LENGTH = "original_max_position_embeddings"
NUMBERS = {"linear": ("factor",), "llama3": ("factor", "low_freq_factor", "high_freq_factor", LENGTH)}


def read(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return our fields. Version 4 has `rope_theta` and `rope_scaling`, version 5 has both in `rope_parameters`.

    ValueError for a kind of scaling that is not supported, and for rotary positions on a part of each head.
    """
    found = values.get("rope_scaling") or values.get("rope_parameters") or {}
    if not isinstance(found, Mapping):
        raise ValueError(f"rope_scaling is {shorten(found)}, expected an object")
    kind = found.get("rope_type", found.get("type", "default"))
    if found.get("partial_rotary_factor", 1) != 1:
        raise ValueError(f"partial_rotary_factor is {shorten(found['partial_rotary_factor'])}, and only 1 is supported")
    theta = real("rope_theta", found.get("rope_theta", values.get("rope_theta", THETA)))
    if kind == "default" and not any(isinstance(value, Mapping) for value in found.values()):
        return {"rope_theta": theta, "rope_scaling": ""}
    if isinstance(kind, str) and kind in NUMBERS:
        numbers = [real(name, found.get(name)) for name in NUMBERS[kind]]
        return {"rope_theta": theta, "rope_scaling": spelled(kind, numbers)}
    raise ValueError(f"rope_type is {shorten(kind)}, and only default, linear and llama3 are supported")


def written(c: ModelConfig) -> dict[str, Any]:
    """Return what config.json holds, in both spellings: version 4 would ignore that of version 5 in silence."""
    kind, numbers = parse_scaling(c.rope_scaling)
    scaling = {"rope_type": kind, **dict(zip(NUMBERS[kind], numbers, strict=True))} if kind else None
    if scaling and LENGTH in scaling:
        scaling[LENGTH] = int(numbers[-1])
    parameters = {**(scaling or {"rope_type": "default"}), "rope_theta": c.rope_theta}
    return {"rope_theta": c.rope_theta, "rope_scaling": scaling, "rope_parameters": parameters}


def spelled(kind: str, numbers: Iterable[float]) -> str:
    """Return our description of a scaling, with 8 for 8.0."""
    return ":".join([kind, *(str(float(number)).removesuffix(".0") for number in numbers)]) if kind else ""


def real(name: str, value: Any) -> float:
    """A number of a file as a float. ValueError for anything else, and beyond the range of floats."""
    try:
        return float(number(name, value))
    except OverflowError:
        raise ValueError(f"{name} is out of range") from None
