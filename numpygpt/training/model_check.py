"""Does a checkpoint hold the parameters that its configuration asks for? Answered before memory is taken for them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from numpygpt.models.config import ModelConfig
from numpygpt.models.gpt import GPT
from numpygpt.nn.skeleton import skeleton
from numpygpt.training.archive import Stored

MAX_TABLE, MAX_TABLE_PER_PARAMETER = 1 << 22, 8  # entries of arrays that are not learned


def check_fits(config: ModelConfig, params: Mapping[str, np.ndarray | Stored]) -> None:
    """ValueError unless `GPT(config)` would have the parameters `params`. Nothing is made of the sizes it claims."""
    try:
        with skeleton():
            model = GPT(replace(config, n_layers=1))
    except MemoryError as error:
        raise ValueError(f"its sizes are larger than any machine: {error}") from error
    wanted: set[str] = set()
    for name, shape in parameter_shapes(model, config.n_layers):
        found = params.get(name)
        if found is None or found.shape != shape:
            has = "is missing" if found is None else f"has the shape {found.shape}"
            raise ValueError(f"{name} {has}, and its model's sizes ask for {shape}")
        wanted.add(name)
    for name, found in params.items():
        if name not in wanted:
            raise ValueError(f"{name:.80} is not a parameter of its model")
        if found.dtype != config.dtype:
            raise ValueError(f"{name} is {found.dtype}, and its model is {config.dtype}")
    n_params = sum(math.prod(found.shape) for found in params.values())
    if table_entries(model) > max(MAX_TABLE, MAX_TABLE_PER_PARAMETER * n_params):
        raise ValueError(f"max_len {config.max_len:,} times d_model {config.d_model:,} is implausibly large for its "
                         "parameters")


def table_entries(model: GPT) -> int:
    """Entries of the arrays that are not learned but follow from the sizes."""
    return sum(getattr(module, name).size for _, module in model.named_modules() for name in module._constants)


def parameter_shapes(model: GPT, n_layers: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """(name, shape) of each parameter, one after another, if `model`, which has one block, had `n_layers` of them. A
    false `n_layers` costs nothing until somebody asks for that many."""
    for name, param in model.named_parameters():
        if not name.startswith("blocks.0."):
            yield name, param.shape
    block = [(name, param.shape) for name, param in model.blocks[0].named_parameters()]
    yield from ((f"blocks.{i}.{name}", shape) for i in range(n_layers) for name, shape in block)
