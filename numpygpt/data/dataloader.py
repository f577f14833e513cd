"""Batches of token windows: in random order for training; every token once, in order, for evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from numpygpt.utils.checks import boolean, integer


class DataLoader:
    """Endless batches (x, y) of token windows; y is x one token later, so y[:, t] is what follows x[:, :t+1].

        tokens  0 1 2 3 4 5 6 7 8 9,  context T = 3,  an epoch that starts at offset 1:
        x       [1 2 3] [4 5 6]                        windows lie end to end, in a random order,
        y       [2 3 4] [5 6 7]                        so an epoch shows no token twice

    Epoch e draws its offset in [0, T) and its order from `default_rng([seed, e])` only, so the epoch and the position
    in it describe where a run is. Each epoch starts at another offset, so the model sees each token at many positions
    of the context. With `shuffle=False` windows come in order from offset 0.

    A batch at the end of an epoch takes the rest of its windows from the next. x and y: (B, T) int64. Raises
    `ValueError` if `tokens`, a one-dimensional array of integers, has fewer than T + 1.
    """

    def __init__(self, tokens: np.ndarray, batch_size: int, context: int, seed: int = 0, shuffle: bool = True):
        self.batch_size, self.context = integer("batch_size", batch_size), integer("context", context)
        self.tokens = _checked(tokens, self.batch_size, self.context, least=self.context + 1)
        self.seed, self.shuffle = integer("seed", seed), boolean("shuffle", shuffle)
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, got {seed}")
        self._steps = np.arange(context + 1)
        self._start_epoch(0, 0)

    def _start_epoch(self, epoch: int, position: int) -> None:
        self.epoch, self.position = epoch, position
        self._order: np.ndarray | None = None  # starts of this epoch's windows, made when first needed

    @property
    def order(self) -> np.ndarray:
        """The starts of this epoch's windows, in order. (W,)"""
        if self._order is None:
            T, N = self.context, len(self.tokens)
            if self.shuffle:
                rng = np.random.default_rng([self.seed, self.epoch])
                offset = int(rng.integers(min(T, N - T)))  # N - T: the shortest text keeps one whole window
                self._order = rng.permutation(np.arange(offset, N - T, T))
            else:
                self._order = np.arange(0, N - T, T)
        return self._order

    def next_batch(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the next x and y, (B, T) each."""
        starts = np.empty(self.batch_size, dtype=np.int64)
        filled = 0
        while filled < self.batch_size:
            if self.position == len(self.order):
                self._start_epoch(self.epoch + 1, 0)
            some = self.order[self.position : self.position + self.batch_size - filled]
            starts[filled : filled + len(some)] = some
            filled += len(some)
            self.position += len(some)
        windows = self.tokens[starts[:, None] + self._steps]  # (B, T+1): one gather, from memory or from the file
        return windows[:, :-1].astype(np.int64, order="C"), windows[:, 1:].astype(np.int64, order="C")

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        while True:
            yield self.next_batch()

    def state_dict(self) -> dict[str, int]:
        """Return the epoch, and how many of its windows were used."""
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Resume where `state_dict()` was taken, with the same tokens, context, seed and shuffle."""
        if not isinstance(state, Mapping):
            raise ValueError(f"state must be a dict with the keys epoch and position, got {state!r:.80}")
        if set(state) != {"epoch", "position"}:
            raise ValueError(f"state must have the keys epoch and position, got {', '.join(sorted(state))}")
        epoch, position = integer("epoch", state["epoch"]), integer("position", state["position"])
        if epoch < 0 or position < 0:
            raise ValueError(f"epoch and position must be at least 0, got {epoch} and {position}")
        before = self.epoch, self.position
        self._start_epoch(epoch, position)
        if position > len(self.order):
            windows = len(self.order)
            self._start_epoch(*before)
            raise ValueError(f"position {position} is beyond epoch {epoch}, which has {windows} windows: the state is "
                             "of other tokens, another context or another seed")


def eval_batches(tokens: np.ndarray, batch_size: int, context: int,
                 at_most: int | None = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield batches (x, y), (B, T) int64, whose targets are every token after the first exactly once, in order.

    The windows are the same at every call. The last window is padded with 0 in x and -1 in y, which the loss ignores.
    The last batch has as many rows as windows are left. `at_most` limits the number of targets: so many windows are
    spread evenly over the tokens. Raises `ValueError` for fewer than two tokens.
    """
    batch_size, context = integer("batch_size", batch_size), integer("context", context)
    tokens = _checked(tokens, batch_size, context, least=2)  # checked now, not lazily
    targets = len(tokens) - 1
    if at_most is None or count_targets(targets, context, at_most) == targets:
        return _eval_batches(tokens, batch_size, context)
    return _spread_batches(tokens, batch_size, context, -(-at_most // context))


def count_targets(targets: int, context: int, at_most: int) -> int:
    """Return how many of `targets` `eval_batches` reads with `at_most`, rounded up to whole windows."""
    return min(targets, -(-max(at_most, 1) // context) * context)


def _eval_batches(tokens: np.ndarray, B: int, T: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, len(tokens) - 1, B * T):
        piece = tokens[start : start + B * T + 1]
        targets = len(piece) - 1
        rows = -(-targets // T)
        x = np.zeros(rows * T, dtype=np.int64)
        y = np.full(rows * T, -1, dtype=np.int64)
        x[:targets] = piece[:-1]
        y[:targets] = piece[1:]
        yield x.reshape(rows, T), y.reshape(rows, T)


def _spread_batches(tokens: np.ndarray, B: int, T: int, taken: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The first window of each of `taken` runs of windows; never the last window, which may be padded."""
    windows = -(-(len(tokens) - 1) // T)
    starts = np.arange(taken) * windows // taken * T
    for first in range(0, taken, B):
        piece = tokens[starts[first : first + B, None] + np.arange(T + 1)].astype(np.int64)  # (B, T+1)
        yield piece[:, :-1].copy(), piece[:, 1:].copy()


def _checked(tokens: np.ndarray, batch_size: int, context: int, least: int) -> np.ndarray:
    tokens = np.asarray(tokens)  # a plain view of a memmap indexes faster
    if batch_size < 1 or context < 1:
        raise ValueError(f"batch_size and context must be at least 1, got {batch_size} and {context}")
    if tokens.ndim != 1 or tokens.dtype.kind not in "iu":
        raise ValueError(f"tokens must be one row of integers, got {tokens.dtype} of shape {tokens.shape}")
    if len(tokens) < least:
        raise ValueError(f"{len(tokens):,} tokens are too few: a context of {context} needs at least {least:,}; use a "
                         "longer text or a smaller context")
    return tokens
