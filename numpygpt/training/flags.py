"""The settings of a run as command-line flags."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from numpygpt.training.config import SETTINGS, Config
from numpygpt.training.presets import located
from numpygpt.utils import cli
from numpygpt.utils.paths import ROOT

PATHS = ("data", "out", "init_from")  # settings that are paths, or may be


def presets() -> Iterator[tuple[str, str]]:
    """(name, first line of its file) of each preset."""
    for path in sorted((ROOT / "configs").glob("*.toml")):
        first = path.read_text(encoding="utf-8").split("\n", 1)[0]
        yield path.stem, first.removeprefix("# ").split(":")[0].rstrip(".")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """A flag for every setting: `--d-model 128`, `--no-bias`. A flag that is not given is absent from the result."""
    group = parser.add_argument_group("settings (each has the preset's value; the default shown is shakespeare_char's)")
    defaults = Config().to_dict()
    for s in SETTINGS:
        flag, why, default = "--" + s.key.replace("_", "-"), s.why.replace("%", "%%"), defaults[s.key]
        options: dict[str, Any] = {"dest": s.key, "default": argparse.SUPPRESS}
        options["help"] = f"{why} (default: {default})" if default != "" else why
        if s.kind == "bool":
            group.add_argument(flag, action=argparse.BooleanOptionalAction, **options)
        else:
            word = {"int": "N", "float": "X"}.get(s.kind, "PATH" if s.key in PATHS else "TEXT")
            options["metavar"] = "|".join(s.choices) or word
            text = str if s.choices else cli.name
            group.add_argument(flag, type={"int": int, "float": float, "str": text}[s.kind], **options)


def given(arguments: argparse.Namespace) -> dict[str, Any]:
    """The settings that were given as flags. Relative paths are relative to the current folder."""
    values = {s.key: getattr(arguments, s.key) for s in SETTINGS if hasattr(arguments, s.key)}
    values |= {name: str(Path(values[name]).resolve()) for name in ("data", "out") if values.get(name)}
    return values | {"init_from": located(values["init_from"], Path())} if "init_from" in values else values
