"""Weights in 8 bits in model folders: a matrix is a tensor of I8, and beside it is a tensor of its rows' scales.

Rows are those of the layers in `nn.modules.int8`: one for each output of a linear layer, or for each token of a table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from numpygpt.models.gpt import GPT
from numpygpt.models.pretrained.families import Part
from numpygpt.models.pretrained.safetensors_files import Stored
from numpygpt.nn.backend import to_host
from numpygpt.nn.modules.embedding import Embedding
from numpygpt.nn.modules.int8 import LEVELS, Int8, Int8Embedding, converted, empty, int8_layers, matrices, put_int8
from numpygpt.nn.modules.linear import Linear

SCALE = "_scale"  # what the name of the scales adds to that of the matrix


class Rows:
    """What a folder holds of a model's matrices in 8 bits: those of the model, or with `convert` its large ones."""

    def __init__(self, model: GPT, convert: bool):
        self.layers: Mapping[str, Int8 | Linear | Embedding] = int8_layers(model)
        if convert and not self.layers:
            self.layers = matrices(model)
        self.last: tuple[str, Int8] | None = None  # a matrix may be several tensors, and is converted once

    def tensors(self, part: Part, small: str) -> dict[str, tuple[str, tuple[int, ...]]]:
        """name -> (dtype, shape) of the tensors of a part; those that are not in 8 bits have the dtype `small`."""
        if part.param not in self.layers:
            return {part.name: (small, part.shape)}
        return {part.name: ("int8", part.shape), part.name + SCALE: ("float32", (rows_in_file(part),))}

    def arrays(self, part: Part) -> Iterator[np.ndarray]:
        """The arrays of `tensors`."""
        layer = self.layers[part.param]
        if not isinstance(layer, Int8):
            if self.last is None or self.last[0] != part.param:
                self.last = part.param, converted(layer)
            layer = self.last[1]
        yield part.of(like_param(layer, to_host(layer.Q)))
        yield to_host(layer.scale)[rows_of(layer, part)]


def is_table(layer: Int8 | Linear | Embedding) -> bool:
    return isinstance(layer, (Int8Embedding, Embedding))


def like_param(layer: Int8, Q: np.ndarray) -> np.ndarray:
    """Q with the axes of the parameter that it stands for."""
    return Q if is_table(layer) else Q.T


def rows_of(layer: Int8, part: Part) -> slice:
    return slice(None) if is_table(layer) else part.columns


def put_rows(model: GPT, tensors: Iterable[tuple[Part, Stored]], int8: bool) -> dict[str, Int8]:
    """Give the model, which is a skeleton, layers in 8 bits for the matrices that have 8 bits in the file; with `int8`
    also for its large ones. Returns them by parameter."""
    stored = {part.param for part, tensor in tensors if tensor.dtype == "I8"}
    every = matrices(model, 0)
    if wrong := sorted(stored - set(every)):
        raise ValueError(f"{wrong[0]} has 8 bits, and only matrices may")
    chosen = stored | (set(matrices(model)) if int8 else set())
    if int8 and not chosen:
        raise ValueError("no matrix of this model is large enough for 8 bits to save much: leave out `int8`")
    made = {id(every[name]): empty(every[name]) for name in chosen}
    found = {name: made[id(every[name])] for name in chosen}
    put_int8(model, made)
    return found


def read_rows(layer: Int8, part: Part, tensor: Stored, stored: Mapping[str, Stored]) -> bool:
    """Read a tensor into some rows of a layer; return whether all its numbers are finite."""
    array, rows = tensor.array(), rows_of(layer, part)
    if tensor.dtype != "I8":
        layer.set(array if part.transposed or is_table(layer) else array.T, rows.start or 0)
        return bool(np.isfinite(layer.scale[rows]).all())
    part.of(like_param(layer, layer.Q))[...] = array
    layer.scale[rows] = scale_of(part, tensor, stored).array()
    return bool(np.isfinite(layer.scale[rows]).all()) and int(array.min(initial=0)) >= -LEVELS


def scale_of(part: Part, tensor: Stored, stored: Mapping[str, Stored]) -> Stored:
    """The tensor of scales that belongs to one of 8 bits. ValueError if it is missing or does not fit."""
    name = next(name for name, other in stored.items() if other is tensor) + SCALE
    n = rows_in_file(part)
    if name not in stored:
        raise ValueError(f"the tensor {name} is missing")
    found = stored[name]
    if found.shape != (n,) or found.dtype != "F32":
        raise ValueError(f"{name} has the shape {found.shape!s:.80} and the dtype {found.dtype:.20}, expected {(n,)} "
                         "and F32")
    return found


def rows_in_file(part: Part) -> int:
    """How many rows of a layer the tensor of a part holds. A table, outside of the blocks, has its rows in the file."""
    return part.shape[0] if part.transposed or not part.param.startswith("blocks.") else part.shape[1]


def scales_of(tensors: Iterable[tuple[Part, Stored]], stored: Mapping[str, Stored]) -> set[str]:
    """The names of the scales of all tensors of 8 bits. ValueError as in `scale_of`, before any memory is taken."""
    eight = [(part, tensor) for part, tensor in tensors if tensor.dtype == "I8"]
    for part, tensor in eight:
        if len(part.shape) != 2:
            raise ValueError(f"{part.name} has 8 bits, and only matrices may")
        scale_of(part, tensor, stored)
    return {part.name + SCALE for part, _ in eight}
