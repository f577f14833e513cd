"""The GPT: its layers in order, and their backward calls in reverse."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from numpygpt.models import build, generate
from numpygpt.models.config import ModelConfig, complete
from numpygpt.nn.cost import Call, Child, Cost, Formula, cached_by
from numpygpt.nn.exclusive import exclusive
from numpygpt.nn.modules.attention import KVCache
from numpygpt.nn.modules.checks import check_pad, described
from numpygpt.nn.modules.dropout import Dropout
from numpygpt.nn.modules.embedding import Embedding, Unembedding
from numpygpt.nn.modules.int8 import int8_layers
from numpygpt.nn.modules.loss import CrossEntropyLoss, LinearCrossEntropy
from numpygpt.nn.modules.module import Module
from numpygpt.nn.recompute import Inputs
from numpygpt.nn.skeleton import open_skeleton, skeleton
from numpygpt.utils.checks import integer

if TYPE_CHECKING:
    from numpygpt.tokenizer import Tokenizer


class GPT(Module):
    """A decoder-only transformer: ids (B, T) -> logits (B, T, n_vocab), and the mean loss in nats per token.

    wte (token vectors) -> positions -> dropout -> n_layers x TransformerBlock -> norm_f -> head.
    `GPT(ModelConfig(...))`, or `GPT(vocab_size=..., ...)` with the same fields. The defaults are GPT-2's architecture
    (Radford et al. 2019): pre-norm blocks, tied head, tanh-GELU. `seed` draws the weights. Raises ValueError for sizes
    that do not fit each other.
    """

    ignore_index = -1  # a target with this value does not count
    recompute = False  # True: less memory, more time. A block caches its input alone, and its forward runs twice
    inputs: Inputs | None = None  # of the blocks, if they are all that was cached
    _caches: Mapping[str, bool] = {"undo_loss": True, "inputs": True}  # a copy has no loss to go back from

    def __init__(self, config: ModelConfig | None = None, *, seed: int = 0, **fields: Any):
        self.config = complete(config, fields)
        if (seed := integer("seed", seed)) < 0:
            raise ValueError(f"seed must be at least 0, got {seed}")
        rng, outer = np.random.default_rng(seed), open_skeleton()
        with skeleton() as made:  # shapes alone: `complete` takes the memory of all parameters at once, and draws them
            self.make_layers(rng)
        self.undo_loss: Callable[[GPT, float], np.ndarray] | None = None  # from the last loss back to the hidden states
        if outer is None:
            made.complete(self)

    def make_layers(self, rng: np.random.Generator) -> None:
        """The layers, in the order in which their weights are drawn. GPT-2's matrices start as N(0, 0.02^2), so that
        logits start near 0 and the loss near ln V; see `models.build` for the projections."""
        c = self.config
        self.max_len = c.max_len
        self.wte = Embedding(c.vocab_size, c.d_model, std=build.STD, rng=rng, dtype=c.dtype)
        self.wpe = build.positions(c, rng)
        self.dropout = Dropout(c.dropout, rng=rng.spawn(1)[0])
        self.blocks = [build.block(c, rng) for _ in range(c.n_layers)]
        self.norm_f = build.norm(c)
        tied = self.wte if c.tie_weights else None
        self.head = Unembedding(c.vocab_size, c.d_model, tied=tied, rng=rng, dtype=c.dtype)
        self.criterion = CrossEntropyLoss(self.ignore_index)
        self.head_loss = LinearCrossEntropy(self.head, self.ignore_index)

    def astype(self, dtype: np.typing.DTypeLike) -> Self:
        super().astype(dtype)
        self.config = replace(self.config, dtype=np.dtype(dtype).name)
        return self

    # -- forward and backward ----------------------------------------------------------------------------------------

    @exclusive
    def hidden(self, x: np.ndarray, caches: list[KVCache] | None = None,
               pad: np.ndarray | None = None) -> np.ndarray:  # x: (B, T)
        """The last layer's states (B, T, C), from which the head makes logits. With caches, x follows their tokens.

        `pad` (B,): how many tokens at the left of each sequence, from the cache's first one on, are padding. The others
        do not see them, and count their positions from 0; the states of padding mean nothing.
        """
        if getattr(x, "ndim", 0) != 2:
            raise ValueError("token ids must be an integer array of shape (B, T), got "
                             f"{x.shape if hasattr(x, '__array_function__') else described(x)}")
        self.undo_loss = None  # the layers' caches are about to be those of x: an earlier loss cannot go back
        X = self.wte(x)  # (B, T, C)
        start = caches[0].length if caches else 0
        pad = check_pad(pad, len(x), start + x.shape[1])
        if self.wpe is not None:
            X = self.wpe(X, start if pad is None else start - pad)
        X = self.dropout(X)
        self.inputs = inputs = Inputs() if self.recompute and self.training and not caches else None
        for i, block in enumerate(self.blocks):
            args = (X, caches[i] if caches else None, pad)
            X = inputs.forward(block, *args) if inputs else block(*args)
        return self.norm_f(X)

    @exclusive
    def forward(self, x: np.ndarray, targets: np.ndarray | None = None,
                pad: np.ndarray | None = None) -> tuple[np.ndarray, float | None]:
        """(logits (B, T, n_vocab), loss) for x, targets (B, T); the loss is None without targets. Targets at padding do
        not count (see `hidden`)."""
        logits = self.head(self.hidden(x, pad=pad))
        if targets is None:
            return logits, None
        loss = self.criterion(logits, self.counted(targets, pad))
        self.undo_loss = from_logits
        return logits, loss

    @exclusive
    def loss(self, x: np.ndarray, y: np.ndarray, pad: np.ndarray | None = None) -> float:
        """The loss alone, without ever holding all logits: the faster way to train. `pad` as in `forward`."""
        loss = self.head_loss(self.hidden(x, pad=pad), self.counted(y, pad))
        self.undo_loss = from_chunks
        return loss

    def counted(self, y: np.ndarray, pad: np.ndarray | None) -> np.ndarray:
        """The targets (B, T), ignored where x is padding."""
        if pad is None or np.ndim(y) != 2:
            return y
        return np.where(np.arange(np.shape(y)[1]) < np.asarray(pad)[:, None], self.ignore_index, y)

    @exclusive
    def backward(self, scale: float = 1.0) -> None:
        """Add scale * dloss/dW to every gradient dW; `scale` 1/k makes this one of k micro-batches.

        Once after `loss`, or after `forward` with targets; else RuntimeError.
        """
        undo_loss, self.undo_loss = self.undo_loss, None  # once, also if an error or an interrupt ends it half-way
        if undo_loss is None:
            raise RuntimeError("backward() needs a loss to go back from: call loss(x, y) or forward(x, targets=y)")
        dX = undo_loss(self, scale)  # (B, T, C)
        dX = self.norm_f.backward(dX)
        for block in reversed(self.blocks):
            dX = self.inputs.backward(block, dX) if self.inputs else block.backward(dX)
        dX = self.dropout.backward(dX)
        if self.wpe is not None:
            dX = self.wpe.backward(dX)
        self.wte.backward(dX)

    formula: ClassVar[Formula] = Formula(
        ("logits = head(norm_f(blocks(dropout(wpe(wte(ids))))))", "L = criterion(logits, targets)"),
        ("the backward calls of the same layers, in reverse order",))  # fmt: skip

    def cost(self, call: Call) -> Cost:
        """Of `loss`, as in training."""
        X = call.of(*call.shape, self.wte.d_model)
        light = self.recompute and call.training  # then the caches of one block at a time
        one = max(cached_by(block, X) for block in self.blocks) if light else 0
        inner = replace(X, cached="input") if light else X
        return Cost((), cached=one, children=(
            Child("wte", self.wte, call), *([Child("wpe", self.wpe, X)] if self.wpe is not None else []),
            Child("dropout", self.dropout, X),
            *(Child(f"blocks.{i}", block, inner) for i, block in enumerate(self.blocks)),
            Child("norm_f", self.norm_f, X), Child("head_loss", self.head_loss, X)))

    # -- writing -----------------------------------------------------------------------------------------------------

    def generate(self, context: ArrayLike, max_new_tokens: int, temperature: float = 1.0, top_k: int | None = None,
                 top_p: float | None = None, seed: int = 0, stop: int | None = None, slide: int = 1) -> np.ndarray:
        """context (B, T) with up to max_new_tokens after it: (B, T + n). See `stream` for the arguments.

        If the sequences have unequal lengths, T is the largest, and the others begin with -1 as padding; each is
        continued as it would be by itself. The result is shorter where every sequence came to `stop`; one that came to
        it earlier is filled up with it. The model is not changed: any number of threads may write texts with it, also
        while another one trains it.
        """
        context = generate.as_array(context)
        with generate.blas_for(self) if generate.only_thread() else nullcontext():
            new = list(self.stream(context, max_new_tokens, temperature, top_k, top_p, seed, stop, slide))
        return np.concatenate([context.astype(np.int64), *(ids[:, None] for ids in new)], axis=1)

    def stream(self, context: ArrayLike, max_new_tokens: int, temperature: float = 1.0, top_k: int | None = None,
               top_p: float | None = None, seed: int = 0, stop: int | None = None,
               slide: int = 1) -> Iterator[np.ndarray]:
        """Yield the next token of each sequence, (B,), one step at a time, from context (B, T) or from a
        list of B sequences of unequal length.

        `temperature` divides the logits (0 takes the most likely token), `top_k` keeps the k most likely, `top_p` the
        fewest that hold that much probability. Sequence i has its own generator, made of (seed, i). Past max_len the
        context slides on by `slide` tokens: 1 keeps it as long as it can be, a larger one is faster.
        """
        sampling = generate.Sampling(temperature, top_k, top_p)
        steps = generate.steps(self, generate.as_array(context), max_new_tokens, sampling, seed, stop, slide)
        return (ids for ids, _ in steps)

    @classmethod
    def from_pretrained(cls, name_or_path: str | os.PathLike[str], *, max_len: int | None = None,
                        dtype: str = "float32", int8: bool = False) -> GPT:
        """The model in a folder of Hugging Face's form, in a .gguf file, or with a name (see `pretrained.find`), in
        evaluation mode. `max_len` shortens its context. With `int8` its large matrices have 8 bits: see `to_int8`."""
        from numpygpt.models import pretrained  # which knows GPT

        return pretrained.load(pretrained.find(name_or_path), max_len=max_len, dtype=dtype, int8=int8)

    def save_pretrained(self, folder: str | os.PathLike[str], tokenizer: Tokenizer | None = None,
                        dtype: str = "float32") -> None:
        """Write a folder that transformers loads. ValueError that names what its format cannot express."""
        from numpygpt.models import pretrained

        pretrained.save(self, folder, tokenizer, dtype)

    def extra_repr(self) -> str:
        in_8_bits = sum(layer.Q.size for layer in int8_layers(self).values())
        return f"{self.n_params() + in_8_bits:,} parameters"


def from_logits(model: GPT, scale: float) -> np.ndarray:
    """scale * dL/d(hidden) (B, T, C) of a loss that `forward` returned."""
    return model.head.backward(model.criterion.backward(scale))


def from_chunks(model: GPT, scale: float) -> np.ndarray:
    """scale * dL/d(hidden) (B, T, C) of a loss that `loss` returned."""
    return model.head_loss.backward(scale)
