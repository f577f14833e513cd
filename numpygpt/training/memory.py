"""How much memory training needs, computed from shapes before any of it is allocated."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from numpygpt.inspection.summary import Row, summary
from numpygpt.models.gpt import GPT
from numpygpt.nn.modules.loss import chunk_rows
from numpygpt.nn.skeleton import skeleton
from numpygpt.training.config import Config
from numpygpt.training.restore import table_entries
from numpygpt.training.trainer import moments_of, workers_of
from numpygpt.utils.memory import available

INTERPRETER = 60e6  # bytes of Python, NumPy and the BLAS buffers, without a model
HOLES = 1.1, 1.3  # memory taken by the allocator per byte in use, with one thread and with several


def one_block(c: Config, vocab_size: int) -> GPT:
    """The model with one block in place of all, which are alike, and without memory for its arrays."""
    with skeleton():
        return GPT(replace(c.model, vocab_size=vocab_size, n_layers=1))


def rows_of(c: Config, vocab_size: int) -> list[Row]:
    """The modules of the model, with one block in place of all."""
    return summary(one_block(c, vocab_size), c.batch_size).rows


def times(row: Row, c: Config) -> int:
    """How many of this module the model has."""
    return c.model.n_layers if row.name.startswith("blocks.0") else 1


def parameters(c: Config, vocab_size: int) -> int:
    """The number of parameters."""
    return sum(row.n_params * times(row, c) for row in rows_of(c, vocab_size))


def memory(c: Config, vocab_size: int) -> float:
    """Expected peak memory of a run in bytes. Measured peaks are within a tenth of it."""
    return INTERPRETER + HOLES[workers_of(c) > 1] * arrays_of(c, vocab_size)


def arrays_of(c: Config, vocab_size: int) -> float:
    """Bytes of arrays at the peak of a step: parameters, gradients, moments, cached activations, and what a step makes
    while the arrays of the step before still exist."""
    rows, workers, size = rows_of(c, vocab_size), workers_of(c), np.dtype(c.model.dtype).itemsize
    n_params = sum(row.n_params * times(row, c) for row in rows)
    arrays = n_params * size * (1 + moments_of(c) + workers)  # each worker has its own gradients
    arrays += (workers - 1) * vocab_size * c.model.d_model * size  # and one more array for the gradient of the head
    arrays += table_entries(one_block(c, vocab_size)) * size
    cached = sum((row.cached or 0) * times(row, c) for row in rows)
    tokens = c.batch_size * c.model.max_len
    logits = size * vocab_size * min(tokens, workers * chunk_rows(vocab_size))
    layers = (size * (math.prod(row.input_shape or ()) + math.prod(row.output_shape or ())) + (row.cached or 0)
              for row in rows if row.name != "head_loss")
    made = 3 * size * tokens * c.model.d_model + max(logits, *layers)  # the residual stream, and the widest layer
    return arrays + cached + made


def check_memory(c: Config, vocab_size: int) -> None:
    """Raise MemoryError with both numbers if training would need more memory than is available."""
    needed, found = memory(c, vocab_size), available()
    if found and needed - INTERPRETER > found[0]:
        raise MemoryError(f"training needs about {needed / 1e6:,.0f} MB, and {found[1]} has "
                          f"{(found[0] + INTERPRETER) / 1e6:,.0f} MB available")
