"""A GPT from a model folder: each tensor is copied once, from the mapped file into its final place."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from numpygpt.models.config import ModelConfig
from numpygpt.models.gpt import GPT
from numpygpt.models.pretrained.families import INT8, Family, Part, family_of
from numpygpt.models.pretrained.int8 import put_rows, read_rows, scales_of
from numpygpt.models.pretrained.needed import read_object
from numpygpt.models.pretrained.safetensors_files import Stored, has_weights, read_tensors
from numpygpt.nn.skeleton import skeleton
from numpygpt.utils.checks import integer
from numpygpt.utils.cores import cores
from numpygpt.utils.paths import display_path
from numpygpt.utils.text import shorten

ROWS = 128  # of a block that is transposed: its lines stay in the cache
MOST_THREADS = 4  # more would wait for the memory


def is_model_folder(path: str | os.PathLike[str]) -> bool:
    """Whether this is a folder with config.json and safetensors weights."""
    return (Path(path) / "config.json").is_file() and has_weights(Path(path))


def config_of(path: str | os.PathLike[str]) -> ModelConfig:
    """The configuration of a model folder, without its weights. FileNotFoundError or ValueError."""
    return described(Path(path))[1]


def holds_int8(folder: Path) -> bool:
    """Whether the weights of a model folder have 8 bits, by its config.json."""
    return read_object(folder / "config.json").get("quantization_config") == INT8


def described(folder: Path) -> tuple[Family, ModelConfig]:
    values = read_object(folder / "config.json")
    try:
        family = family_of(values)
        return family, family.config(values)
    except (ValueError, MemoryError) as error:
        raise ValueError(f"{display_path(folder / 'config.json')} describes a model that cannot be used: "
                         f"{error}") from error


def load(path: str | os.PathLike[str], *, max_len: int | None = None, dtype: str = "float32",
         make: Callable[[ModelConfig], GPT] = GPT, int8: bool = False) -> GPT:  # fmt: skip
    """The GPT in a model folder, in evaluation mode.

    With `int8`, or if the folder's weights are in 8 bits, large matrices have 8 bits (see `to_int8`). They are
    converted while they are read, so that they are never all in memory as larger numbers. `max_len` shortens the
    context, which saves memory. `make` may return a model with other dropout, seed or context, whose parameters have
    the same names. Names, shapes and dtypes are checked before any memory is taken. FileNotFoundError, or ValueError
    that names the file and what is wrong with it.
    """
    folder = Path(path)
    family, config = described(folder)
    stored = read_tensors(folder)
    try:
        model = filled(family, config, stored, max_len, dtype, make, int8)
    except (ValueError, MemoryError) as error:
        raise ValueError(f"{display_path(folder)} cannot be used: {error}") from error
    return model.eval()


def filled(family: Family, config: ModelConfig, stored: Mapping[str, Stored], max_len: int | None, dtype: str,
           make: Callable[[ModelConfig], GPT], int8: bool = False) -> GPT:  # fmt: skip
    tensors = matched(family, config, stored)
    if max_len is not None and not 1 <= integer("max_len", max_len) <= config.max_len:
        raise ValueError(f"max_len must be between 1 and the {config.max_len:,} tokens that the model was trained for, "
                         f"got {max_len}")
    with skeleton() as made:
        model = make(replace(config, dtype=dtype, max_len=max_len or config.max_len))
        layers = put_rows(model, tensors, int8)
    made.complete(model, draw=False)
    params = dict(model.named_parameters())

    def copy(found: tuple[Part, Stored]) -> bool:
        part, tensor = found
        if part.param in layers:
            return read_rows(layers[part.param], part, tensor, stored)
        target = part.of(params[part.param])
        return copied(tensor.array()[: len(target)], target)  # a shorter context has the first positions only

    with ThreadPoolExecutor(min(cores(), MOST_THREADS)) as pool:  # NumPy copies outside the interpreter's lock
        for (part, _), finite in zip(tensors, pool.map(copy, tensors), strict=True):
            if not finite:
                raise ValueError(f"{part.name} holds numbers that are not finite in {dtype}: fetch or copy the file "
                                 "again")
    return model


def matched(family: Family, config: ModelConfig,
            stored: Mapping[str, Stored]) -> list[tuple[Part, Stored]]:  # fmt: skip
    """The tensor of each part of the model. ValueError for one that is missing, unexpected, misshapen or not of
    floating-point numbers."""
    if config.n_layers > len(stored):  # layers are made one by one
        raise ValueError(f"it has {config.n_layers:,} layers, and {len(stored)} tensors")
    with skeleton():
        model = GPT(config)
    parts = list(family.parts(config, {name: param.shape for name, param in model.named_parameters()}))
    wanted = {part.name: part for part in parts}
    found: dict[str, str] = {}
    for name in stored:
        if (known := family.known(name)) is not None:
            if known in found:
                raise ValueError(f"it holds {shorten(name)} twice, with and without {family.prefix}")
            found[known] = name
    tensors = []
    for part in parts:
        if part.name not in found:
            raise ValueError(f"the tensor {part.name} is missing")
        tensor = stored[found[part.name]]
        if tensor.shape != part.shape:
            raise ValueError(f"{part.name} has the shape {tensor.shape!s:.80}, and config.json asks for {part.shape}")
        tensors.append((part, tensor))
        try:
            tensor.numpy_dtype()
        except ValueError as error:
            raise ValueError(f"{part.name} {error}") from error
    for name in set(found) - set(wanted) - scales_of(tensors, stored):
        if name != "lm_head.weight" or not config.tie_weights:
            raise ValueError(f"the tensor {shorten(name)} is not a part of this {family.model_type} model")
        (table,) = (part.name for part in parts if part.param == "wte.W")
        if not same(stored[found[name]], stored[found[table]]):
            raise ValueError(f"{name} differs from {table}, and by config.json both are one (tie_word_embeddings)")
    return tensors


def same(a: Stored, b: Stored) -> bool:
    return (a.dtype, a.shape) == (b.dtype, b.shape) and np.array_equal(a.array(), b.array())


def copied(source: np.ndarray, target: np.ndarray) -> bool:
    """Copy an array into another one of its shape, block by block; return whether all numbers are finite there."""
    finite = True
    source, target = np.atleast_2d(source), np.atleast_2d(target)
    for start in range(0, len(source), ROWS):
        with np.errstate(over="ignore"):
            block = source[start : start + ROWS].astype(target.dtype, copy=False)
        target[start : start + ROWS] = block
        finite = finite and bool(np.isfinite(block).all())
    return finite
