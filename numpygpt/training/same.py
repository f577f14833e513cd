"""Ranks must train the same model with the same code on the same data. This is checked before the first step."""

from __future__ import annotations

import hashlib
import zlib
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from platform import node
from typing import Any

import numpy as np

from numpygpt.data import TokenDataset
from numpygpt.parallel.group import Group
from numpygpt.training.config import Config
from numpygpt.training.trainer import Trainer
from numpygpt.utils.fetch import file_sha256
from numpygpt.utils.text import shorten

PACKAGE = Path(__file__).resolve().parents[1]
DIGITS = 16  # of a checksum that are compared and shown
OWN = ("data", "out", "init_from", "log")  # settings that may differ: paths on other machines, and rank 0's log


def check_same(group: Group, facts: Callable[..., dict[str, Any]], *of: Any) -> None:
    """Raise ValueError on all ranks if one of `facts(*of)`, by name, is not the same on all of them."""
    if group.size == 1:
        return
    hosts, found = zip(*group.share((node(), facts(*of))), strict=True)
    for rank, theirs in enumerate(found):
        for name in [name for name in {**found[0], **theirs} if found[0].get(name) != theirs.get(name)]:
            values = [shorten(of.get(name)) for of in (theirs, found[0])]
            raise ValueError(f"all ranks must train alike, and rank {rank} on {hosts[rank]} has another {name} than "
                             f"rank 0 on {hosts[0]}: {values[0]} instead of {values[1]}")


def program(args: Namespace) -> dict[str, Any]:
    """What a rank was started with: its arguments and its code."""
    given = {f"argument {name}": value for name, value in vars(args).items()}
    return {**given, "version of NumPy": np.__version__, "source code of numpygpt (SHA-256)": source_sha256()}


def source_sha256(package: Path = PACKAGE) -> str:
    """The first digits of the SHA-256 of all source files, with their names."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(package).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:DIGITS]


def training(config: Config, dataset: TokenDataset) -> dict[str, Any]:
    """What a rank will train: its settings and its data."""
    settings = {f"setting {name}": value for name, value in config.to_dict().items() if name not in OWN}
    files = {f"{name} in its data folder (SHA-256)": file_sha256(dataset.folder / name)[:DIGITS]
             for name in ("train.bin", "val.bin", "tokenizer.json")}
    return settings | files


def beginning(trainer: Trainer) -> dict[str, Any]:
    """Where a rank begins. Machines of different kinds might draw or round the first parameters differently."""
    params = trainer.model.flat().params
    return {"step": trainer.step, "first parameters (CRC-32)": f"{zlib.crc32(params.data):08x}",
            "model below the LoRA matrices (SHA-256)": trainer.base["sha256"][:DIGITS] if trainer.base else None}
