"""The shapes of a GPT's parameters, known before it is made: what a checkpoint claims costs no memory until it fits."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from numpygpt.models.gpt import GPT, POSITIONS
from numpygpt.nn.flat import Flat, Storage
from numpygpt.nn.modules.checks import DTYPES
from numpygpt.nn.skeleton import skeleton

TYPES = {"int": (int,), "int | None": (int, type(None)), "float": (int, float), "str": (str,), "bool": (bool,)}
LARGEST = 1 << 40  # no size of a model is beyond it, and the products of a few are still quick to compute
MOST_TABLE, MOST_BY_PARAMETERS = 1 << 22, 8  # entries of a table of sinusoidal positions, which no array bears out


def check_fits(config: Mapping[str, Any], params: Mapping[str, np.ndarray]) -> None:
    """ValueError unless `GPT(**config)` would have the parameters `params`; nothing is made for it."""
    check_arguments(config)
    wanted: dict[str, tuple[int, ...]] = {}
    for name, shape in shapes(**config):
        found = params.get(name)
        if found is None or found.shape != shape:
            has = "is missing" if found is None else f"has the shape {found.shape}"
            raise ValueError(f"{name} {has}, and its model's sizes ask for {shape}")
        wanted[name] = shape
    for name, found in params.items():
        if name not in wanted:
            raise ValueError(f"{name:.80} is no parameter of its model")
        if found.dtype != config["dtype"]:
            raise ValueError(f"{name} is {found.dtype}, and its model is {config['dtype']}")
    most = max(MOST_TABLE, MOST_BY_PARAMETERS * sum(found.size for found in params.values()))
    if config["positions"] == "sinusoidal" and config["max_len"] * config["d_model"] > most:
        raise ValueError(f"its {config['max_len']:,} positions of {config['d_model']:,} numbers are more than any "
                         "model's")


def check_arguments(config: Mapping[str, Any]) -> None:
    """ValueError unless `config` has the arguments of GPT, each of its type and no size beyond all bounds."""
    wanted = {name: str(p.annotation) for name, p in inspect.signature(GPT).parameters.items()}
    if wrong := sorted(set(wanted) ^ set(config)):
        raise ValueError(f"its model has {'no ' if wrong[0] in wanted else 'the unknown value '}{wrong[0]:.40}")
    for name, annotation in wanted.items():
        value = config[name]
        if type(value) not in TYPES[annotation]:
            raise ValueError(f"its model's {name} should be {annotation}, not {value!r:.40}")
        if type(value) is int and name not in ("dropout", "seed") and not 1 <= value <= LARGEST:
            raise ValueError(f"its model's {name} is {value!s:.40}, and should be from 1 to {LARGEST:,}")
    if config["dtype"] not in DTYPES or config["positions"] not in POSITIONS:
        raise ValueError(f"its model's dtype or positions are unknown: {config['dtype']!r:.40}, "
                         f"{config['positions']!r:.40}")


def shapes(vocab_size: int, max_len: int, d_model: int, n_heads: int, n_layers: int, d_ff: int | None = None, *,
           d_k: int | None = None, d_v: int | None = None, positions: str = "learned", tie_weights: bool = True,
           bias: bool = True, **_: Any) -> Iterator[tuple[str, tuple[int, ...]]]:
    """(name, shape) of each parameter of the GPT with these arguments, one after another: `n_layers` may be a lie."""
    wide, (k, v) = d_ff or 4 * d_model, (size or d_model // n_heads for size in (d_k, d_v))
    yield "wte.W", (vocab_size, d_model)
    if positions == "learned":
        yield "wpe.W", (max_len, d_model)
    for i in range(n_layers):
        block = f"blocks.{i}."
        yield from norm(f"{block}norm1", d_model, bias)
        yield from linear(f"{block}attn.qkv", d_model, n_heads * (2 * k + v), bias)
        yield from linear(f"{block}attn.proj", n_heads * v, d_model, bias)
        yield from norm(f"{block}norm2", d_model, bias)
        yield from linear(f"{block}ffn.fc", d_model, wide, bias)
        yield from linear(f"{block}ffn.proj", wide, d_model, bias)
    yield from norm("norm_f", d_model, bias)
    if not tie_weights:
        yield "head.embedding.W", (vocab_size, d_model)


class OnPaper(GPT):
    """A GPT whose parameters have shapes and no memory: `summary` works out from it what training would take."""

    def __init__(self, **config: Any):
        with skeleton():
            super().__init__(**config)

    def init_weights(self, rng: np.random.Generator) -> None:
        pass

    def flat(self) -> Flat:
        return Flat(Storage(np.empty(0)), {}, 0)


def linear(name: str, width: int, out: int, bias: bool) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.W", (width, out)
    if bias:
        yield f"{name}.b", (out,)


def norm(name: str, width: int, bias: bool) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.gamma", (width,)
    if bias:
        yield f"{name}.beta", (width,)
