"""Checks that header, configuration and arrays of an untrusted checkpoint describe the same model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from numpygpt.models.config import ModelConfig
from numpygpt.models.gpt import GPT
from numpygpt.nn.skeleton import skeleton
from numpygpt.training.adapter import adapt, saved_params
from numpygpt.training.archive import Stored
from numpygpt.training.checkpoint import Checkpoint
from numpygpt.training.config import SETTINGS, Config
from numpygpt.utils.paths import display_path

MAX_TABLE, MAX_TABLE_PER_PARAMETER = 1 << 22, 8  # entries of arrays that are not learned


def fitting_model(config: ModelConfig, params: Mapping[str, np.ndarray | Stored], run: Config | None = None) -> GPT:
    """`GPT(config)` as a skeleton, with the adapter of `run` if that is a LoRA run. ValueError unless the parameters
    that a checkpoint of it holds are `params`: no memory is taken for the sizes that a file claims."""
    if config.n_layers > len(params):  # layers are made one by one
        raise ValueError(f"it has {config.n_layers:,} layers, and {len(params)} parameters")
    try:
        with skeleton():
            model = GPT(config)
            if run:
                adapt(model, run)
    except MemoryError as error:
        raise ValueError(f"its sizes are larger than any machine: {error}") from error
    wanted = saved_params(model)
    if wrong := next((name for name in params if name not in wanted), None):
        raise ValueError(f"{wrong:.80} is not a parameter of its model")
    for name, param in wanted.items():
        found = params.get(name)
        if found is None or found.shape != param.shape:
            has = "is missing" if found is None else f"has the shape {found.shape}"
            raise ValueError(f"{name} {has}, and its model's sizes ask for {param.shape}")
        if found.dtype != param.dtype:
            raise ValueError(f"{name} is {found.dtype}, and its model is {param.dtype}")
    if table_entries(model) > max(MAX_TABLE, MAX_TABLE_PER_PARAMETER * model.n_params()):
        raise ValueError(f"max_len {config.max_len:,} times d_model {config.d_model:,} is implausibly large for its "
                         "parameters")
    return model


def table_entries(model: GPT) -> int:
    """Entries of the arrays that are not learned but follow from the sizes."""
    return sum(getattr(module, name).size for _, module in model.named_modules() for name in module._constants)


def check_model(checkpoint: Checkpoint) -> None:
    """Check that header, configuration and arrays describe the same model, so that building it cannot use more memory
    than the file justifies. Raises ValueError."""
    run = run_config(checkpoint)
    try:
        config = ModelConfig.from_dict(checkpoint.header["model"])
        fitting_model(config, checkpoint.group("model"), run)
        of_file, of_run = replace(run, model=config), run
        if wrong := [s.key for s in SETTINGS if s.of_model and s.fixed and s.value(of_file) != s.value(of_run)]:
            raise ValueError(f"its configuration's {wrong[0]} is not its model's")
    except (ValueError, MemoryError) as error:
        raise ValueError(f"{display_path(checkpoint.path)} does not hold a whole model: {error}") from error


def run_config(checkpoint: Checkpoint) -> Config:
    """The configuration of the checkpoint's run, with defaults for what its header lacks. ValueError for an invalid
    value."""
    return Config().changed(checkpoint.header["config"], display_path(checkpoint.path))
