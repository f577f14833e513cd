"""A model folder from a GPT, which transformers and other programs load."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from numpygpt.models.config import ModelConfig
from numpygpt.models.gpt import GPT
from numpygpt.models.pretrained.families import Family, Part, family_for
from numpygpt.models.pretrained.safetensors_files import NAMES, SINGLE, numpy_dtype, write_file
from numpygpt.models.pretrained.tokenizers import write_files
from numpygpt.nn.skeleton import skeleton
from numpygpt.tokenizer import Tokenizer
from numpygpt.utils.files import remove_unused, sync_folder, write_whole, writing
from numpygpt.utils.paths import display_path

FILES = {"config.json", SINGLE, "tokenizer.json", "tokenizer_config.json"}


def save(model: GPT, folder: str | os.PathLike[str], tokenizer: Tokenizer | None = None,
         dtype: str = "float32") -> None:
    """Write config.json, model.safetensors and the tokenizer's files, next to `folder` first, which is renamed at the
    end. A folder that an earlier call wrote is replaced.

    Numbers are rounded to `dtype`: float32, float16, bfloat16 or float64. ValueError that names what no family of
    models can express, or files in the folder that are not a model's.
    """
    if dtype not in NAMES:
        raise ValueError(f"dtype must be one of {', '.join(NAMES)}, got {dtype!r:.40}")
    place = Path(folder).resolve()
    check_place(place)
    config = expressed(model)
    family, values = family_for(config)
    parts = list(parts_of(family, config, model))
    part_of_file = place.parent / f".{place.name}.{secrets.token_hex(4)}.new"
    old = part_of_file.with_suffix(".old")
    state = f"{display_path(place)} is as it was" if place.exists() else "No folder was made"
    try:
        with writing(place, state, "save again", numpy_dtype(dtype).itemsize * model.n_params()):
            part_of_file.mkdir(parents=True)
            special = write_files(tokenizer, part_of_file, model.config) if tokenizer is not None else {
                "bos_token_id": None, "eos_token_id": None}  # fmt: skip
            write_file(part_of_file / SINGLE, dtype, {part.name: part.shape for part in parts},
                       tensors(model, parts))
            described = values | special | {"torch_dtype": dtype, "dtype": dtype}
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


def tensors(model: GPT, parts: Iterable[Part]) -> Iterator[np.ndarray]:
    """The arrays of the parts, one by one."""
    params = dict(model.named_parameters())
    for part in parts:
        if part.param in params:
            yield part.of(params[part.param])
        elif part.param == "wpe.W":
            yield vars(model.wpe)["P"]  # of SinusoidalEncoding
        else:
            yield np.zeros(part.shape, np.float32)
