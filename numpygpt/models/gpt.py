"""The GPT: its layers in order, and their backward calls in reverse."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from numpygpt.models import generate
from numpygpt.nn import init
from numpygpt.nn.cost import Call, Child, Cost, Formula
from numpygpt.nn.exclusive import exclusive
from numpygpt.nn.modules.attention import KVCache
from numpygpt.nn.modules.checks import check_dtype, check_sizes, described
from numpygpt.nn.modules.dropout import Dropout
from numpygpt.nn.modules.embedding import Embedding, Unembedding
from numpygpt.nn.modules.loss import CrossEntropyLoss, LinearCrossEntropy
from numpygpt.nn.modules.module import Module
from numpygpt.nn.modules.normalization import LayerNorm
from numpygpt.nn.modules.positional import PositionalEmbedding, SinusoidalEncoding
from numpygpt.nn.modules.transformer import TransformerBlock
from numpygpt.utils.checks import boolean, integer, number

POSITIONS = {"learned": PositionalEmbedding, "sinusoidal": SinusoidalEncoding}


class GPT(Module):
    """A decoder-only transformer: ids (B, T) -> logits (B, T, V), and the mean loss in nats a token.

    wte (token vectors) -> positions -> dropout -> n_layers x TransformerBlock -> norm_f -> head.
    GPT-2's shape (Radford et al. 2019): pre-norm blocks, tied head, tanh-GELU. `d_ff` defaults to 4 d_model; `d_k` and
    `d_v`, the head sizes, to d_model / n_heads; `positions` is "learned" or "sinusoidal"; `seed` draws the weights.
    Raises ValueError for sizes that do not fit each other.
    """

    ignore_index = -1  # a target with this value does not count
    loss_from = ""  # what the last loss came from: "logits", "chunks", or nothing to go back from
    _caches: Mapping[str, bool] = {"loss_from": False}  # a copy has no loss to go back from

    def __init__(self, vocab_size: int, max_len: int, d_model: int, n_heads: int, n_layers: int,
                 d_ff: int | None = None, *, d_k: int | None = None, d_v: int | None = None, dropout: float = 0.0,
                 activation: str = "gelu", positions: str = "learned", tie_weights: bool = True, bias: bool = True,
                 seed: int = 0, dtype: str = "float32"):
        vocab_size, max_len, d_model, n_heads, n_layers, d_ff, d_k, d_v = check_sizes(
            vocab_size=vocab_size, max_len=max_len, d_model=d_model, n_heads=n_heads, n_layers=n_layers, d_ff=d_ff,
            d_k=d_k, d_v=d_v)
        dropout, bias = number("dropout", dropout), boolean("bias", bias)
        tie_weights = boolean("tie_weights", tie_weights)
        seed, dtype = integer("seed", seed), check_dtype(dtype).name
        if seed < 0:
            raise ValueError(f"seed must be at least 0, got {seed}")
        self.config: dict[str, Any] = {
            "vocab_size": vocab_size, "max_len": max_len, "d_model": d_model, "n_heads": n_heads, "n_layers": n_layers,
            "d_ff": d_ff, "d_k": d_k, "d_v": d_v, "dropout": dropout, "activation": activation, "positions": positions,
            "tie_weights": tie_weights, "bias": bias, "seed": seed, "dtype": dtype,
        }
        if not isinstance(positions, str) or positions not in POSITIONS:
            raise ValueError(f"positions must be one of {', '.join(POSITIONS)}, got {positions!r}")
        rng = np.random.default_rng(seed)
        self.max_len = max_len
        self.wte = Embedding(vocab_size, d_model, rng=rng, dtype=dtype)
        self.wpe = POSITIONS[positions](max_len, d_model, dtype=dtype)
        self.dropout = Dropout(dropout, rng=rng.spawn(1)[0])
        self.blocks = [
            TransformerBlock(d_model, n_heads, d_ff, d_k=d_k, d_v=d_v, activation=activation, bias=bias,
                             dropout=dropout, rng=rng, dtype=dtype)
            for _ in range(n_layers)
        ]
        self.norm_f = LayerNorm(d_model, bias, dtype=dtype)
        self.head = Unembedding(vocab_size, d_model, tied=self.wte if tie_weights else None, rng=rng, dtype=dtype)
        self.criterion = CrossEntropyLoss(self.ignore_index)
        self.head_loss = LinearCrossEntropy(self.head, self.ignore_index)
        self.init_weights(rng)
        self.flat()

    def init_weights(self, rng: np.random.Generator) -> None:
        """GPT-2's: matrices from N(0, 0.02^2), and those that write into the residual stream, two a block, smaller by
        1/sqrt(2 n_layers), so that the stream's variance does not grow with depth. Logits start near 0, the loss near
        ln V. (Biases are zeros and gains ones from the start.)"""
        for name, param in self.named_parameters():
            if param.ndim >= 2:
                std = 0.02 / math.sqrt(2 * len(self.blocks)) if name.endswith("proj.W") else 0.02
                param[...] = init.normal(rng, param.shape, std, param.dtype)

    def astype(self, dtype: np.typing.DTypeLike) -> Self:
        super().astype(dtype)
        self.config["dtype"] = str(np.dtype(dtype))
        return self

    # -- forward and backward ----------------------------------------------------------------------------------------

    @exclusive
    def hidden(self, x: np.ndarray, caches: list[KVCache] | None = None) -> np.ndarray:  # x: (B, T)
        """The last layer's states (B, T, C), from which the head makes logits. With caches, x follows their tokens."""
        if getattr(x, "ndim", 0) != 2:
            raise ValueError("token ids must be an integer array of shape (B, T), got "
                             f"{x.shape if hasattr(x, '__array_function__') else described(x)}")
        self.loss_from = ""  # the layers' caches will be those of x: an earlier loss has nothing to go back from
        X = self.wte(x)  # (B, T, C)
        X = self.wpe(X, caches[0].length if caches else 0)
        X = self.dropout(X)
        for i, block in enumerate(self.blocks):
            X = block(X, caches[i] if caches else None)
        return self.norm_f(X)

    @exclusive
    def forward(self, x: np.ndarray, targets: np.ndarray | None = None) -> tuple[np.ndarray, float | None]:
        """(logits (B, T, V), loss) for x, targets (B, T); the loss is None without targets."""
        logits = self.head(self.hidden(x))
        if targets is None:
            return logits, None
        loss = self.criterion(logits, targets)
        self.loss_from = "logits"
        return logits, loss

    @exclusive
    def loss(self, x: np.ndarray, y: np.ndarray) -> float:
        """The loss alone, without ever holding all logits: the faster way to train."""
        loss = self.head_loss(self.hidden(x), y)
        self.loss_from = "chunks"
        return loss

    @exclusive
    def backward(self, scale: float = 1.0) -> None:
        """Add scale * dloss/dW to every gradient dW; `scale` 1/k makes this one of k micro-batches.

        Once after `loss`, or after `forward` with targets; else RuntimeError.
        """
        loss_from, self.loss_from = self.loss_from, ""  # once, also if an error or an interrupt ends it half-way
        if not loss_from:
            raise RuntimeError("backward() needs a loss to go back from: call loss(x, y) or forward(x, targets=y)")
        if loss_from == "logits":
            dX = self.head.backward(self.criterion.backward(scale))  # (B, T, C)
        else:
            dX = self.head_loss.backward(scale)
        dX = self.norm_f.backward(dX)
        for block in reversed(self.blocks):
            dX = block.backward(dX)
        dX = self.dropout.backward(dX)
        dX = self.wpe.backward(dX)
        self.wte.backward(dX)

    formula: ClassVar[Formula] = Formula(
        ("logits = head(norm_f(blocks(dropout(wpe(wte(ids))))))", "L = criterion(logits, targets)"),
        ("the backward calls of the same layers, in reverse order",))  # fmt: skip

    def cost(self, call: Call) -> Cost:
        """Of `loss`, as in training."""
        X = call.of(*call.shape, self.wte.d_model)
        return Cost((), children=(
            Child("wte", self.wte, call), Child("wpe", self.wpe, X), Child("dropout", self.dropout, X),
            *(Child(f"blocks.{i}", block, X) for i, block in enumerate(self.blocks)),
            Child("norm_f", self.norm_f, X), Child("head_loss", self.head_loss, X)))

    # -- writing -----------------------------------------------------------------------------------------------------

    def generate(self, context: ArrayLike, max_new_tokens: int, temperature: float = 1.0, top_k: int | None = None,
                 top_p: float | None = None, seed: int = 0, stop: int | None = None, slide: int = 1) -> np.ndarray:
        """context (B, T) with up to max_new_tokens after it: (B, T + n). See `stream` for the arguments.

        Shorter where every sequence came to `stop`; one that came to it earlier is filled up with it. The model is not
        changed: any number of threads may write texts with it, also while another one trains it.
        """
        context = generate.as_array(context)
        with generate.blas_for(self) if generate.only_thread() else nullcontext():
            new = list(self.stream(context, max_new_tokens, temperature, top_k, top_p, seed, stop, slide))
        return np.concatenate([context.astype(np.int64), *(ids[:, None] for ids in new)], axis=1)

    def stream(self, context: ArrayLike, max_new_tokens: int, temperature: float = 1.0, top_k: int | None = None,
               top_p: float | None = None, seed: int = 0, stop: int | None = None,
               slide: int = 1) -> Iterator[np.ndarray]:
        """Yield the next token of each sequence, (B,), one step at a time, from context (B, T).

        `temperature` divides the logits (0 takes the most likely token), `top_k` keeps the k most likely, `top_p` the
        fewest that hold that much probability. Sequence i has its own generator, made of (seed, i). Past max_len the
        context slides on by `slide` tokens: 1 keeps it as long as it can be, a larger one is faster.
        """
        return generate.stream(self, generate.as_array(context), max_new_tokens,
                               generate.Sampling(temperature, top_k, top_p), seed, stop, slide)

    def extra_repr(self) -> str:
        return f"{self.n_params():,} parameters"
