"""How much memory training needs, computed from shapes before any of it is allocated.

With a `group`, the sizes are those of rank 0, which needs most: it has the most rows, and reads and writes checkpoints.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from numpygpt.inspection.summary import summary
from numpygpt.models.gpt import GPT
from numpygpt.nn.backend import CPU, DEVICE_ENTRIES
from numpygpt.nn.causal_attention import count_scores
from numpygpt.nn.modules.loss import LOGIT_ENTRIES, chunk_rows
from numpygpt.nn.skeleton import skeleton
from numpygpt.parallel.group import LOCAL, Group
from numpygpt.training.adapter import adapt
from numpygpt.training.base import is_pretrained
from numpygpt.training.config import Config
from numpygpt.training.device import device_of
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


def memory(c: Config, vocab_size: int, resumed: bool = False, group: Group = LOCAL) -> float:
    """Expected peak memory of a run in bytes; on a GPU that of its arrays there. Measured peaks on the CPU are within a
    tenth of it; with recomputed blocks on several threads they may be a fifth below."""
    step = held(c, vocab_size, group) + HOLES[workers_of(c, group) > 1] * activations(c, vocab_size, group)
    if device_of(c, group)[0] is not CPU:
        return step
    return INTERPRETER + max(step, loading(c, vocab_size, resumed, group))


def arrays_of(c: Config, vocab_size: int) -> float:
    """Bytes of arrays at the peak of a run: parameters, gradients, moments, cached activations, and what a step makes
    while the arrays of the step before still exist."""
    return max(held(c, vocab_size) + activations(c, vocab_size), loading(c, vocab_size))


def held(c: Config, vocab_size: int, group: Group = LOCAL) -> float:
    """Bytes of parameters, gradients, moments and tables."""
    workers, size = workers_of(c, group), np.dtype(c.model.dtype).itemsize
    learned = parameters(c, vocab_size, learned=True)
    mine = 1 / group.size  # the part that a rank owns; of the outer optimiser's anchor and velocity, too
    moments = moments_of(c) + 2 * mine if c.sync_every else moments_of(c) * mine
    arrays = size * (parameters(c, vocab_size) + learned * (moments + workers))  # gradients of each worker
    if not c.lora_rank:
        arrays += (workers - 1) * vocab_size * c.model.d_model * size  # and one more array for the gradient of the head
    return arrays + table_entries(one_block(c, vocab_size)) * size


def loading(c: Config, vocab_size: int, resumed: bool = False, group: Group = LOCAL) -> float:
    """Bytes while the checkpoint of a resumed run is copied into the trainer, which has no gradients yet, or the run of
    `init_from` into the model. A pretrained model is read straight into it."""
    size, whole = np.dtype(c.model.dtype).itemsize, parameters(c, vocab_size)
    if resumed:
        arrays: float = 1 + 2 * moments_of(c)  # the file's, and the trainer's
        if c.sync_every:
            arrays += 2 + 2 / group.size  # the outer velocity and its parts
        elif group.size > 1:
            arrays += 1 / group.size  # the part of a moment that rank 0 keeps
        return size * (whole + parameters(c, vocab_size, learned=True) * arrays)
    return 2 * size * whole if c.init_from and not is_pretrained(c.init_from) else 0


def activations(c: Config, vocab_size: int, group: Group = LOCAL) -> float:
    """Bytes of what a step caches until its backward pass, and of the widest layer's arrays."""
    workers, size = workers_of(c, group), np.dtype(c.model.dtype).itemsize
    each, more = divmod(c.batch_size, workers * group.size)
    sequences = each * workers + min(more, workers)
    rows, tokens = summary(one_block(c, vocab_size), sequences).rows, sequences * c.model.max_len
    cached = sum((row.cached or 0) * times(row.name, c) for row in rows)
    on_cpu = device_of(c, group)[0] is CPU
    chunk = chunk_rows(vocab_size, LOGIT_ENTRIES if on_cpu else DEVICE_ENTRIES)
    logits = size * vocab_size * min(tokens, workers * chunk)
    layers = (size * (math.prod(row.input_shape or ()) + math.prod(row.output_shape or ())) + (row.cached or 0)
              for row in rows if row.name not in ("", "head_loss"))
    stream = 3 * size * tokens * c.model.d_model
    return cached + stream + max(logits, *layers) + (0 if on_cpu else squares(c, sequences))


def squares(c: Config, sequences: int) -> float:
    """Bytes of attention weights on a GPU beyond those on a CPU: there the tiles are squares, with the zeros of the
    mask, and a tile is not small against the other arrays."""
    T, H = c.model.max_len, sequences * c.model.n_heads
    n, _, kept = count_scores(H, T, T)
    tile, size = H * T * T, np.dtype(c.model.dtype).itemsize
    made = 3 if c.model.attn_dropout else 1  # dS; with dropout also the mask, and P times the mask
    cached = (1 if c.recompute else c.model.n_layers) * (tile - n) if kept == n else 0
    return size * (made * tile + cached)


def check_memory(c: Config, vocab_size: int, resumed: bool = False, group: Group = LOCAL) -> None:
    """Raise MemoryError with both numbers if the ranks on this machine would need more memory than is available."""
    needed, found = memory(c, vocab_size, resumed, group) * group.here, available()
    place = device_of(c, group)[0]
    if place is not CPU:
        if (free := place.free()) is not None and needed > free:
            raise MemoryError(f"training needs about {needed / 1e6:,.0f} MB, and {place.name} has {free / 1e6:,.0f} MB "
                              "free")
        return
    if found and needed - INTERPRETER * group.here > found[0]:
        raise MemoryError(f"training needs about {needed / 1e6:,.0f} MB, and {found[1]} has "
                          f"{(found[0] + INTERPRETER) / 1e6:,.0f} MB available")
