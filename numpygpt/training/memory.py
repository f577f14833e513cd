"""How much memory training needs, computed from shapes before any of it is allocated."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from numpygpt.inspection.summary import summary
from numpygpt.models.gpt import GPT
from numpygpt.nn.modules.loss import chunk_rows
from numpygpt.nn.skeleton import skeleton
from numpygpt.training.adapter import adapt
from numpygpt.training.base import is_pretrained
from numpygpt.training.config import Config
from numpygpt.training.model_check import table_entries
from numpygpt.training.trainer import moments_of, workers_of
from numpygpt.utils.memory import available

INTERPRETER = 60e6  # bytes of Python, NumPy and the BLAS buffers, without a model
HOLES = 1.1, 1.3  # bytes taken by the allocator per byte of activations, with one thread and with several


def one_block(c: Config, vocab_size: int) -> GPT:
    """The model with one block in place of all, which are alike, and without memory for its arrays."""
    with skeleton():
        model = GPT(replace(c.model, vocab_size=vocab_size, n_layers=1))
        adapt(model, c)
    model.recompute = c.recompute
    return model


def times(name: str, c: Config) -> int:
    """How many modules or parameters the model has in place of this one."""
    return c.model.n_layers if name.startswith("blocks.0") else 1


def parameters(c: Config, vocab_size: int, learned: bool = False) -> int:
    """The number of parameters; with `learned`, only of those that are not frozen."""
    model = one_block(c, vocab_size)
    owners = model._learned() if learned else model._owners()
    return sum(getattr(owner, own).size * times(name, c) for name, owner, own in owners)


def memory(c: Config, vocab_size: int, resumed: bool = False) -> float:
    """Expected peak memory of a run in bytes. Measured peaks are within a tenth of it; with recomputed blocks on
    several threads they may be a fifth below."""
    step = held(c, vocab_size) + HOLES[workers_of(c) > 1] * activations(c, vocab_size)
    return INTERPRETER + max(step, loading(c, vocab_size, resumed))


def arrays_of(c: Config, vocab_size: int) -> float:
    """Bytes of arrays at the peak of a run: parameters, gradients, moments, cached activations, and what a step makes
    while the arrays of the step before still exist."""
    return max(held(c, vocab_size) + activations(c, vocab_size), loading(c, vocab_size))


def held(c: Config, vocab_size: int) -> float:
    """Bytes of parameters, gradients, moments and tables."""
    workers, size = workers_of(c), np.dtype(c.model.dtype).itemsize
    learned = parameters(c, vocab_size, learned=True)
    arrays = size * (parameters(c, vocab_size) + learned * (moments_of(c) + workers))  # gradients of each worker
    if not c.lora_rank:
        arrays += (workers - 1) * vocab_size * c.model.d_model * size  # and one more array for the gradient of the head
    return arrays + table_entries(one_block(c, vocab_size)) * size


def loading(c: Config, vocab_size: int, resumed: bool = False) -> float:
    """Bytes while the checkpoint of a resumed run is copied into the trainer, which has no gradients yet, or the run of
    `init_from` into the model. A pretrained model is read straight into it."""
    size, whole = np.dtype(c.model.dtype).itemsize, parameters(c, vocab_size)
    if resumed:
        return size * (whole + parameters(c, vocab_size, learned=True) * (1 + 2 * moments_of(c)))
    return 2 * size * whole if c.init_from and not is_pretrained(c.init_from) else 0


def activations(c: Config, vocab_size: int) -> float:
    """Bytes of what a step caches until its backward pass, and of the widest layer's arrays."""
    rows, size = summary(one_block(c, vocab_size), c.batch_size).rows, np.dtype(c.model.dtype).itemsize
    tokens = c.batch_size * c.model.max_len
    stream = size * tokens * c.model.d_model
    cached = sum((row.cached or 0) * times(row.name, c) for row in rows)
    logits = size * vocab_size * min(tokens, workers_of(c) * chunk_rows(vocab_size))
    layers = (size * (math.prod(row.input_shape or ()) + math.prod(row.output_shape or ())) + (row.cached or 0)
              for row in rows if row.name not in ("", "head_loss"))
    return cached + 3 * stream + max(logits, *layers)  # the residual stream, and the widest layer


def check_memory(c: Config, vocab_size: int, resumed: bool = False) -> None:
    """Raise MemoryError with both numbers if training would need more memory than is available."""
    needed, found = memory(c, vocab_size, resumed), available()
    if found and needed - INTERPRETER > found[0]:
        raise MemoryError(f"training needs about {needed / 1e6:,.0f} MB, and {found[1]} has "
                          f"{(found[0] + INTERPRETER) / 1e6:,.0f} MB available")
