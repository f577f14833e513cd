"""A model folder from a GPT, which transformers and other programs load."""

from __future__ import annotations

import json
import math
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from numpygpt.models.config import ModelConfig
from numpygpt.models.gpt import GPT
from numpygpt.models.pretrained.families import INT8, Family, Part, family_for
from numpygpt.models.pretrained.int8 import Rows
from numpygpt.models.pretrained.safetensors_files import NAMES, SINGLE, numpy_dtype, write_file
from numpygpt.models.pretrained.tokenizers import write_files
from numpygpt.nn.backend import to_host
from numpygpt.nn.modules.int8 import int8_layers
from numpygpt.nn.skeleton import skeleton
from numpygpt.tokenizer import Tokenizer
from numpygpt.utils.files import remove_unused, sync_folder, write_whole, writing
from numpygpt.utils.paths import display_path

FILES = {"config.json", SINGLE, "tokenizer.json", "tokenizer_config.json"}


def save(model: GPT, folder: str | os.PathLike[str], tokenizer: Tokenizer | None = None,
         dtype: str = "float32") -> None:
    """Write config.json, model.safetensors and the tokenizer's files, next to `folder` first, which is renamed at the
    end. A folder that an earlier call wrote is replaced.

    Numbers are rounded to `dtype`: float32, float16, bfloat16 or float64. With int8, large matrices have 8 bits and a
    scale per row (see `to_int8`), a form that only this package reads.
    ValueError that names what no family of models can express, or files in the folder that are not a model's.
    """
    if dtype not in NAMES:
        raise ValueError(f"dtype must be one of {', '.join(NAMES)}, got {dtype!r:.40}")
    place = Path(folder).resolve()
    check_place(place)
    config = expressed(model)
    family, values = family_for(config)
    parts = list(parts_of(family, config, model))
    if dtype != "int8" and int8_layers(model):
        raise ValueError(f"this model's weights have 8 bits, so it cannot be saved in {dtype}: give dtype='int8', or "
                         "save the model that it was made of")
    small, rows = dtype, Rows(model, dtype == "int8")
    if rows.layers:
        small, values = "float32", values | {"quantization_config": INT8}
    elif dtype == "int8":
        raise ValueError("no matrix of this model is large enough for 8 bits: save it in float16")
    part_of_file = place.parent / f".{place.name}.{secrets.token_hex(4)}.new"
    old = part_of_file.with_suffix(".old")
    state = f"{display_path(place)} is as it was" if place.exists() else "No folder was made"
    try:
        tensors = {name: kind for part in parts for name, kind in rows.tensors(part, small).items()}
        size = sum(numpy_dtype(kind).itemsize * math.prod(shape) for kind, shape in tensors.values())
        with writing(place, state, "save again", size):
            part_of_file.mkdir(parents=True)
            special = write_files(tokenizer, part_of_file, model.config) if tokenizer is not None else {
                "bos_token_id": None, "eos_token_id": None}  # fmt: skip
            write_file(part_of_file / SINGLE, tensors, arrays_of(model, parts, rows))
            described = values | special | {"torch_dtype": small, "dtype": small}
            write_whole(part_of_file / "config.json", json.dumps(described, indent=2) + "\n")
            if place.exists():
                place.rename(old)
            part_of_file.rename(place)
            sync_folder(place.parent)
            for kind in ("new", "old"):
                remove_unused(place.parent, place.name, f".{'[0-9a-f]' * 8}.{kind}")
    finally:
        if old.exists() and not place.exists():  # the second rename failed: the old folder comes back
            old.rename(place)
        for left in (part_of_file, old):
            shutil.rmtree(left, ignore_errors=True)


def check_place(folder: Path) -> None:
    """ValueError if the folder holds anything that `save` did not write."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{display_path(folder)} is a file, not a folder: choose another name")
    foreign = sorted(entry.name for entry in folder.iterdir() if entry.name not in FILES) if folder.exists() else []
    if foreign:
        raise ValueError(f"{display_path(folder)} holds other files ({', '.join(foreign[:3])}): choose another folder")


def expressed(model: GPT) -> ModelConfig:
    """The configuration to write. In GPT-2's family missing biases are zeros, and a table of sines is a learned one."""
    c = replace(model.config, d_ff=model.blocks[0].ffn.proj.d_in)
    return c if c.positions == "rope" else replace(c, positions="learned", bias=True, qkv_bias=False)


def parts_of(family: Family, config: ModelConfig, model: GPT) -> Iterator[Part]:
    """The tensors to write. ValueError if the model's parameters are not those of its configuration."""
    with skeleton():
        shapes = {name: param.shape for name, param in GPT(config).named_parameters()}
    for name, param in model.named_parameters():
        if shapes.get(name) != param.shape:
            raise ValueError(f"{name:.80} is not a parameter of the model's configuration; of a model with LoRA, save "
                             "merge_lora(model)")
    return family.parts(config, shapes)


def arrays_of(model: GPT, parts: Iterable[Part], rows: Rows) -> Iterator[np.ndarray]:
    """The arrays of the parts, one by one."""
    params = dict(model.named_parameters())
    for part in parts:
        if part.param in rows.layers:
            yield from rows.arrays(part)
        elif part.param in params:
            yield part.of(to_host(params[part.param]))
        elif part.param == "wpe.W":
            yield to_host(vars(model.wpe)["P"])  # of SinusoidalEncoding
        else:
            yield np.zeros(part.shape, np.float32)
