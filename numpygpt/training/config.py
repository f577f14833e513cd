"""The configuration of a run: every field with its default and its reason, read from TOML presets and from flags."""

from __future__ import annotations

import argparse
import json
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from numpygpt.utils import cli
from numpygpt.utils.paths import ROOT, display_path
from numpygpt.utils.text import shorten, suggestion

LARGEST = 1 << 63  # a whole number must fit NumPy's integers
# What is made one by one would fill the memory before any of it is found too large.
MOST = {"n_layers": 10_000, "workers": 256, "accumulate": 65_536}
MOST_TOKENS = 1 << 48  # in a batch
MOST_DECAY = 2  # of lr times weight_decay: from there on |1 - lr weight_decay| is 1 or more
MOST_BYTES, MOST_IN_LINE = 1 << 16, 1 << 12  # of a TOML file: a key of a thousand parts takes the parser minutes


def setting(default: Any, why: str, choices: tuple[str, ...] = (), fixed: bool = False) -> Any:
    """A field with the text that `--help` shows; one that is `fixed` cannot change when a run is resumed."""
    return field(default=default, metadata={"why": why, "choices": choices, "fixed": fixed})


@dataclass(frozen=True)
class Config:
    """One run. Raises ValueError where values contradict each other. The defaults are the preset `shakespeare_char`."""

    data: str = setting("data/shakespeare_char", "the data folder that datagen.py made")
    out: str = setting("", "the run folder; runs/PRESET where none is given")

    n_layers: int = setting(4, "blocks: more see more abstract patterns, each costs the same time", fixed=True)
    n_heads: int = setting(4, "attention heads: how many things a position can look at in each block", fixed=True)
    d_model: int = setting(256, "width of the model: time and parameters grow with its square", fixed=True)
    d_ff: int = setting(0, "width inside the feed-forward layers; 0 means 4 d_model, as in GPT-2", fixed=True)
    d_k: int = setting(0, "size of a head's queries and keys; 0 means d_model / n_heads", fixed=True)
    d_v: int = setting(0, "size of a head's values; 0 means d_model / n_heads", fixed=True)
    context: int = setting(128, "tokens that the model sees at once", fixed=True)
    activation: str = setting("gelu", "in the feed-forward layers; relu is cheaper", ("gelu", "relu"), fixed=True)
    positions: str = setting("learned", "how a token's place is told", ("learned", "sinusoidal"), fixed=True)
    tie_weights: bool = setting(True, "one table for token vectors and head: fewer parameters", fixed=True)
    bias: bool = setting(True, "biases in linear layers and LayerNorm, as in GPT-2", fixed=True)
    dropout: float = setting(0.1, "share of activations dropped in training, against overfitting")
    dtype: str = setting("float32", "float64 is for studies and twice as slow", ("float32", "float64"), fixed=True)

    steps: int = setting(8000, "updates of the parameters")
    batch_size: int = setting(16, "sequences in a batch: more make a steadier gradient and a slower step", fixed=True)
    batches: str = setting("random", "random windows, each once an epoch, or sequential: the text from start to end",
                           ("random", "sequential"), fixed=True)
    accumulate: int = setting(1, "batches that make one update: a larger batch in the same memory", fixed=True)
    optimizer: str = setting("adamw", "adamw decays weights; sgd is for study", ("adamw", "adam", "sgd"), fixed=True)
    lr: float = setting(3e-4, "highest learning rate: too high diverges, too low is slow")
    min_lr: float = setting(3e-5, "learning rate at the end of the cosine: a tenth of lr, or less; scales with an lr "
                                  "that is below it")
    warmup: int = setting(800, "steps in which the learning rate rises from 0, as Adam's averages are still empty; "
                               "scales with the steps")
    beta1: float = setting(0.9, "Adam's memory of the gradient")
    beta2: float = setting(0.99, "Adam's memory of its square; lower than usual, as small batches are noisy")
    weight_decay: float = setting(0.1, "adamw pulls matrices towards 0 by this times the rate, a mild regulariser")
    momentum: float = setting(0.0, "sgd's memory of the gradient", fixed=True)
    clip: float = setting(1.0, "largest norm of the gradient, against rare huge steps; 0 never clips")
    skip_spikes: float = setting(0.0, "leave out a step whose gradient is above this times the median of the last 100; "
                                 "0 never does")

    eval_every: int = setting(500, "steps between evaluations; each of them also saves")
    eval_tokens: int = setting(0, "validation tokens that an evaluation reads, always the same ones; 0: a tenth of the "
                                  "training tokens since the last one (3 % of the time); -1: all, as at the end")
    sample_tokens: int = setting(120, "tokens of the sample printed at each evaluation; 0 prints none")
    trace_every: int = setting(0, "steps between looks inside: numbers of every layer in metrics.jsonl; 0 never looks")
    log: str = setting("none", "where metrics, samples and pictures go too; each needs its package",
                       ("none", "tensorboard", "wandb"))
    workers: int = setting(0, "threads that share a batch; 0 means one a core")
    seed: int = setting(1337, "draws the weights, the batches, the dropout masks and the samples", fixed=True)

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if f.metadata["choices"] and value not in f.metadata["choices"]:
                raise ValueError(f"{f.name} must be one of {', '.join(f.metadata['choices'])}, got {value!r}")
        at_least = {1: ("n_layers", "n_heads", "d_model", "context", "steps", "batch_size", "accumulate", "eval_every"),
                    0: ("d_ff", "d_k", "d_v", "warmup", "min_lr", "weight_decay", "clip", "sample_tokens",
                        "trace_every", "workers", "seed"),
                    -1: ("eval_tokens",)}
        for least, names in at_least.items():
            for name in names:
                if not least <= getattr(self, name) < float("inf"):
                    raise ValueError(f"{name} must be at least {least}, got {shorten(getattr(self, name))}")
        for name, most in MOST.items():
            if getattr(self, name) > most:
                raise ValueError(f"{name} must be at most {most:,}, got {shorten(getattr(self, name))}")
        for f in fields(self):
            value = getattr(self, f.name)
            if type(value) is int and value >= LARGEST:
                raise ValueError(f"{f.name} must be below 2^63, got {shorten(value)}")
            if type(value) is str and any("\ud800" <= char <= "\udfff" for char in value):
                raise ValueError(f"{f.name} is kept in config.toml, which is UTF-8, and {shorten(value)} is not: "
                                 "rename that folder")
            if type(value) is str and not value.isprintable():
                raise ValueError(f"{f.name} must be without control signs, got {shorten(value)}")
        if self.batch_size * self.context > MOST_TOKENS:
            raise ValueError(f"batch_size {self.batch_size} times context {self.context} is more tokens than any "
                             "machine holds")
        for name in ("dropout", "beta1", "beta2", "momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, got {getattr(self, name)}")
        if not (self.skip_spikes == 0 or 1 < self.skip_spikes < float("inf")):
            raise ValueError(f"skip_spikes must be above 1, or 0 to leave out no step, got {self.skip_spikes}")
        if not (self.d_k and self.d_v) and self.d_model % self.n_heads:
            raise ValueError(f"d_model {self.d_model} is not divisible by n_heads {self.n_heads}: change one, or give "
                             "both d_k and d_v")
        if not self.min_lr <= self.lr < float("inf"):
            raise ValueError(f"lr {self.lr} must be finite and at least min_lr {self.min_lr}: lower min_lr with it")
        if self.warmup > self.steps:
            raise ValueError(f"warmup {self.warmup} is more than the run's {self.steps} steps: give a smaller --warmup")

        if self.optimizer == "adamw" and self.lr * self.weight_decay >= MOST_DECAY:
            decay = self.lr * self.weight_decay
            raise ValueError(f"lr {self.lr:g} times weight_decay {self.weight_decay:g} is {decay:g}, and must be below "
                             f"{MOST_DECAY}: each step of AdamW multiplies matrices by 1 minus this, so they would "
                             "grow without end; lower one of the two")

    def model(self, vocab_size: int) -> dict[str, Any]:
        """The arguments of `GPT` for this run."""
        return {"vocab_size": vocab_size, "max_len": self.context, "d_model": self.d_model, "n_heads": self.n_heads,
                "n_layers": self.n_layers, "d_ff": self.d_ff or None, "d_k": self.d_k or None, "d_v": self.d_v or None,
                "dropout": self.dropout, "activation": self.activation, "positions": self.positions,
                "tie_weights": self.tie_weights, "bias": self.bias, "seed": self.seed, "dtype": self.dtype}

    def to_dict(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def changed(self, values: dict[str, Any], where: str) -> Config:
        """A copy with `values` in place. Raises ValueError for an unknown name or a value of the wrong type; `where`
        says whose they are."""
        types = {f.name: str(f.type) for f in fields(self)}
        for name, value in values.items():
            if name not in types:
                raise ValueError(f"{where}: unknown key {shorten(name)}{suggestion(name, types)}")
            if types[name] == "float" and type(value) is int and abs(value) < LARGEST:
                values = {**values, name: float(value)}
            elif type(value).__name__ != types[name]:
                raise ValueError(f"{where}: {name} must be {ARTICLES[types[name]]}, got {shorten(value)}")
        try:
            return replace(self, **values)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None

    def to_toml(self) -> str:
        """Every field as TOML, with its reason as a comment."""
        return "".join(f"{f.name} = {toml_value(getattr(self, f.name))}  # {f.metadata['why']}\n" for f in fields(self))


ARTICLES = {"int": "a whole number", "float": "a number", "str": "a text in quotes", "bool": "true or false"}


def toml_value(value: Any) -> str:
    """A string, number or boolean as TOML; JSON writes all of these alike."""
    return json.dumps(value, ensure_ascii=False)


def read_toml(path: Path) -> dict[str, Any]:
    """The values in the file. ValueError or RecursionError for what no configuration is."""
    with open(path, "rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES or max(map(len, content.split(b"\n"))) > MOST_IN_LINE:
        raise ValueError(f"it has more than {MOST_BYTES:,} bytes, or more than {MOST_IN_LINE:,} in a line")
    return tomllib.loads(content.decode("utf-8-sig").replace("\r\n", "\n"))  # some editors put a mark in front


def read_preset(name: str) -> Config:
    """The preset `name`: configs/NAME.toml, or any TOML file by its path. Its relative data folder is the project's."""
    path = Path(name) if name.endswith(".toml") else ROOT / "configs" / f"{name}.toml"
    if not path.is_file() and name.endswith(".toml"):
        raise FileNotFoundError(f"there is no preset file {display_path(path)}")
    if not path.is_file():
        known = sorted(p.stem for p in (ROOT / "configs").glob("*.toml"))
        raise FileNotFoundError(f"no preset {name!r}{suggestion(name, known)} (presets: {', '.join(known)}; or the "
                                "path of any .toml file)")
    try:
        values = read_toml(path)
    except (ValueError, RecursionError) as error:  # RecursionError: brackets in brackets
        raise ValueError(f"{display_path(path)} is not TOML, or none of a configuration's: {error}") from error
    config = Config().changed(filled(Config(), values), display_path(path))
    return replace(config, data=str(ROOT / config.data), out=str(ROOT / (config.out or f"runs/{path.stem}")))


def filled(base: Config, values: dict[str, Any]) -> dict[str, Any]:
    """`values`, which are to replace those of `base`, and with them the values that must follow if they are left out.

    The warm-up keeps its part of the steps. The last learning rate keeps its part of lr once lr is below it.
    """
    more: dict[str, float] = {}
    steps, lr = values.get("steps"), values.get("lr")
    if type(steps) is int and steps > 0 and "warmup" not in values:
        more["warmup"] = -(-base.warmup * steps // base.steps)  # rounded up: at least 1, and at most the steps
    if isinstance(lr, int | float) and 0 < lr < base.min_lr and "min_lr" not in values:
        more["min_lr"] = lr * base.min_lr / base.lr
    return values | {name: value for name, value in more.items() if value != getattr(base, name)}


def presets() -> Iterator[tuple[str, str]]:
    """(name, what its file says first) of each preset."""
    for path in sorted((ROOT / "configs").glob("*.toml")):
        first = path.read_text(encoding="utf-8").split("\n", 1)[0]
        yield path.stem, first.removeprefix("# ").split(":")[0].rstrip(".")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """A flag for every field: `--d-model 128`, `--no-bias`. What is not given is absent from the parsed arguments."""
    group = parser.add_argument_group("settings (each has the preset's value; the default shown is shakespeare_char's)")
    for f in fields(Config):
        flag, why = "--" + f.name.replace("_", "-"), f.metadata["why"].replace("%", "%%")
        options: dict[str, Any] = {"dest": f.name, "default": argparse.SUPPRESS}
        options["help"] = f"{why} (default: {f.default})" if f.default != "" else why
        if f.type == "bool":
            group.add_argument(flag, action=argparse.BooleanOptionalAction, **options)
        else:
            options["metavar"] = "|".join(f.metadata["choices"]) or {"int": "N", "float": "X"}.get(str(f.type), "PATH")
            text = str if f.metadata["choices"] else cli.name
            group.add_argument(flag, type={"int": int, "float": float, "str": text}[str(f.type)], **options)


def given(arguments: argparse.Namespace) -> dict[str, Any]:
    """The settings that were given as flags. Paths are the user's: relative to the current folder."""
    values = {f.name: getattr(arguments, f.name) for f in fields(Config) if hasattr(arguments, f.name)}
    return values | {name: str(Path(values[name]).resolve()) for name in ("data", "out") if values.get(name)}


def fixed_names() -> Iterable[str]:
    """The fields that a resumed run cannot change."""
    return (f.name for f in fields(Config) if f.metadata["fixed"])
