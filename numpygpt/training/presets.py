"""Configurations in TOML files: the presets in configs/, and those of a user."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpygpt.training.config import Config
from numpygpt.utils.paths import ROOT, display_path
from numpygpt.utils.text import suggestion

MAX_TOML_BYTES, MAX_TOML_LINE = 1 << 16, 1 << 12  # a key of a thousand parts takes the parser minutes


def read_toml(path: Path) -> dict[str, Any]:
    """The values in the file. ValueError or RecursionError if it is not TOML of a reasonable size."""
    with open(path, "rb") as file:
        content = file.read(MAX_TOML_BYTES + 1)
    if len(content) > MAX_TOML_BYTES or max(map(len, content.split(b"\n"))) > MAX_TOML_LINE:
        raise ValueError(f"it has more than {MAX_TOML_BYTES:,} bytes, or more than {MAX_TOML_LINE:,} in a line")
    return tomllib.loads(content.decode("utf-8-sig").replace("\r\n", "\n"))  # some editors put a mark in front


def read_preset(name: str) -> Config:
    """The preset `name`: configs/NAME.toml, or any TOML file by its path. Its relative data folder is the project's."""
    path = Path(name) if name.endswith(".toml") else ROOT / "configs" / f"{name}.toml"
    if not path.is_file() and name.endswith(".toml"):
        raise FileNotFoundError(f"there is no preset file {display_path(path)}")
    if not path.is_file() and Path(name).exists():
        raise ValueError(f"a preset is a name in configs/ or a .toml file, and {name!r} is neither")
    if not path.is_file():
        known = sorted(p.stem for p in (ROOT / "configs").glob("*.toml"))
        raise FileNotFoundError(f"no preset {name!r}{suggestion(name, known)} (presets: {', '.join(known)}; or the "
                                "path of any .toml file)")
    try:
        values = read_toml(path)
    except (ValueError, RecursionError) as error:  # RecursionError: brackets in brackets
        raise ValueError(f"{display_path(path)} is not a valid configuration file: {error}") from error
    config = Config().changed(filled(Config(), values), display_path(path))
    return replace(config, data=str(ROOT / config.data), out=str(ROOT / (config.out or f"runs/{path.stem}")),
                   init_from=located(config.init_from, ROOT))


def located(name: str, folder: Path) -> str:
    """The absolute path of `name` in `folder`; the name itself if nothing is there."""
    path = folder / Path(name).expanduser()
    return str(path.resolve()) if name and path.exists() else name


def filled(base: Config, values: dict[str, Any]) -> dict[str, Any]:
    """`values`, which are to replace those of `base`, and the values that follow from them unless they are given.

    The warm-up keeps its fraction of the steps. Once lr is below min_lr, min_lr keeps its fraction of lr.
    """
    more: dict[str, float] = {}
    steps, lr = values.get("steps"), values.get("lr")
    if type(steps) is int and steps > 0 and "warmup" not in values:
        more["warmup"] = -(-base.warmup * steps // base.steps)  # rounded up: at least 1, and at most the steps
    if isinstance(lr, int | float) and 0 < lr < base.min_lr and "min_lr" not in values:
        more["min_lr"] = lr * base.min_lr / base.lr
    return values | {name: value for name, value in more.items() if value != getattr(base, name)}
