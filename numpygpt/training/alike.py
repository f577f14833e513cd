"""Checks that all ranks train the same model, on the same text, with the same code."""

from __future__ import annotations

import hashlib
import platform
import zlib
from pathlib import Path
from typing import Any

import numpy as np

import numpygpt
from numpygpt.training.state import identity
from numpygpt.training.trainer import Trainer

PLACES = ("data", "out", "init_from")  # settings that may differ between machines
COMPARED = {  # fact -> what a difference means
    "code": "the code of numpygpt is another",
    "data": "the data folder holds another text or has another tokenizer",
    "step": "the run is at another step",
    "parameters": "the parameters that it starts from are others",
}


def check_alike(trainer: Trainer) -> None:
    """ValueError, the same on all ranks, if one of them differs from rank 0. Every rank must call it."""
    ranks = trainer.group.share(facts(trainer)) if trainer.group.size > 1 else []
    for rank, found in enumerate(ranks):
        expected = ranks[0]
        where = f"rank {rank} on {found['machine']} does not train what rank 0 on {expected['machine']} does: "
        for name, value in expected["settings"].items():
            if found["settings"].get(name) != value:
                raise ValueError(f"{where}{name} is {found['settings'].get(name)!r} instead of {value!r}")
        for name, meaning in COMPARED.items():
            if found[name] != expected[name]:
                raise ValueError(f"{where}{meaning} ({found[name]} instead of {expected[name]}; NumPy "
                                 f"{found['numpy']} and {expected['numpy']})")


def facts(trainer: Trainer) -> dict[str, Any]:
    """What must be equal on all ranks, with short checksums, and what helps to find out why it is not."""
    settings = {name: value for name, value in trainer.config.to_dict().items() if name not in PLACES}
    parameters = f"{zlib.crc32(trainer.model.flat().params.data):08x}"
    return {"settings": settings, "code": code(), "data": short(repr(identity(trainer.dataset)).encode()),
            "step": trainer.step, "parameters": parameters, "machine": platform.node(),
            "numpy": np.__version__}


def code() -> str:
    """A checksum of the package's source files."""
    folder = Path(numpygpt.__file__).parent
    files = sorted(folder.rglob("*.py"))
    return short(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files))


def short(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:8]
