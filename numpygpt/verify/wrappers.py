"""Modules that use a layer in another way, for `gradient_cases`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

from numpygpt.models import GPT, ModelConfig, build
from numpygpt.nn.modules.embedding import Embedding, Unembedding
from numpygpt.nn.modules.lora import apply_lora
from numpygpt.nn.modules.loss import LinearCrossEntropy
from numpygpt.nn.modules.module import Module
from numpygpt.nn.modules.transformer import TransformerBlock


def block(d_model: int, n_heads: int, d_ff: int | None = None, *, rng: np.random.Generator | int | None = None,
          **options: Any) -> TransformerBlock:
    """One block of a GPT."""
    sizes: dict[str, Any] = {"vocab_size": 0, "max_len": 1, "n_layers": 1}
    config = ModelConfig(d_model=d_model, n_heads=n_heads, d_ff=d_ff, **(sizes | options))
    return build.block(config, np.random.default_rng(rng))


class ChunkedGPT(Module):
    """A GPT through `GPT.loss`, which computes the head and the loss one chunk of rows at a time."""

    def __init__(self, **config: Any):
        self.gpt = GPT(**config)

    def forward(self, x: np.ndarray, y: np.ndarray) -> float:
        return self.gpt.loss(x, y)

    def backward(self, scale: float = 1.0) -> None:
        self.gpt.backward(scale)


def recomputing(**config: Any) -> GPT:
    """A GPT whose blocks cache only their inputs."""
    model = GPT(**config)
    model.recompute = True
    return model


class AdaptedGPT(ChunkedGPT):
    """A GPT in which only the LoRA adapters learn."""

    def __init__(self, **config: Any):
        super().__init__(**config)
        apply_lora(self.gpt, ("attn.qkv", "ffn"), rank=2, alpha=3, dropout=0.2, seed=1)


class MicroBatches(Module):
    """The mean loss of a batch, one sequence at a time (gradient accumulation): every layer must add."""

    def __init__(self, make: Callable[[], Module]):
        self.gpt = make()

    def forward(self, x: np.ndarray, y: np.ndarray) -> float:
        self.batches = [(x[i : i + 1], y[i : i + 1]) for i in range(len(x))]
        return sum(self.loss(*batch) for batch in self.batches) / len(x)

    def loss(self, x: np.ndarray, y: np.ndarray) -> float:
        out = self.gpt(x, y)
        return out[1] if isinstance(out, tuple) else out

    def backward(self, scale: float) -> None:
        for batch in self.batches:
            self.loss(*batch)
            self.gpt.backward(scale / len(self.batches))


class Padded(Module):
    """A layer, or the loss of a GPT, for sequences that begin with `pad` tokens of padding."""

    def __init__(self, make: Callable[[], Module], pad: list[int]):
        self.inner, self.pad = make(), np.array(pad)

    def forward(self, *inputs: np.ndarray) -> Any:
        loss = getattr(self.inner, "loss", None)  # of a GPT
        return loss(*inputs, self.pad) if loss else self.inner(*inputs, None, self.pad)

    def backward(self, dY: Any) -> Any:
        return self.inner.backward(dY)


class BothUses(Module):
    """logits = E[ids] E^T: one table used by the embedding and by the head, as in a GPT with tied weights."""

    def __init__(self, n: int, d_model: int):
        self.embedding = Embedding(n, d_model)
        self.head = Unembedding(n, d_model, tied=self.embedding)

    def forward(self, ids: np.ndarray) -> np.ndarray:
        return self.head(self.embedding(ids))

    def backward(self, dY: np.ndarray) -> None:
        self.embedding.backward(self.head.backward(dY))


class AfterALargerTable(Module):
    """The fused head and loss after a pass with a larger table, whose array for dE has the wrong size."""

    def __init__(self, n: int, d_model: int):
        self.fused = LinearCrossEntropy(Unembedding(n, d_model))

    def forward(self, X: np.ndarray, targets: np.ndarray) -> float:
        head = self.fused.head
        self.fused.head = Unembedding(head.embedding.n + 2, head.embedding.d_model, dtype=X.dtype.name)
        self.fused(X, targets)
        self.fused.head = head
        return self.fused(X, targets)

    def backward(self, scale: float) -> np.ndarray:
        return self.fused.backward(scale)


class Small(Module):
    """A module that runs with smaller limits than those of its file (rows per tile, entries per chunk), so that small
    inputs need several tiles and a partial last one."""

    def __init__(self, make: Callable[[], Module], file: ModuleType, **limits: int):
        self.file, self.limits = file.__name__, limits  # the name, because a module that is checked is copied
        with self.limited():
            self.inner = make()

    @contextmanager
    def limited(self) -> Iterator[None]:
        """Within this context the constants of the file have the values of `limits`."""
        constants = vars(sys.modules[self.file])
        before = {name: constants[name] for name in self.limits}
        constants.update(self.limits)
        try:
            yield
        finally:
            constants.update(before)

    def forward(self, *inputs: np.ndarray) -> Any:
        with self.limited():
            return self.inner(*inputs)

    def backward(self, dY: Any) -> Any:
        with self.limited():
            return self.inner.backward(dY)
