"""How well a model predicts a text: the loss of each token, for texts of any length."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from numpygpt.inspection.probe import eval_twin
from numpygpt.models import GPT
from numpygpt.models.generate import first_param, new_caches
from numpygpt.nn.backend import like, to_host
from numpygpt.nn.finite import check_logits
from numpygpt.nn.functional import row_slices, softmax_lse, tiny_is_zero
from numpygpt.nn.modules.checks import check_ids
from numpygpt.nn.modules.loss import chunk_rows
from numpygpt.tokenizer import Tokenizer
from numpygpt.tokenizer.spacing import words
from numpygpt.tokenizer.special import END_OF_TEXT
from numpygpt.tokenizer.word import UNKNOWN
from numpygpt.utils.units import bits_of, bits_per_byte

Progress = Callable[[int], object]

BATCH_TOKENS = 512  # tokens per pass: their activations are in memory at once


@dataclass(frozen=True)
class Scores:
    """What a model predicted for each of the tokens `ids` (N + 1,) but the first. The other arrays are (N,)."""

    ids: np.ndarray
    losses: np.ndarray  # nats
    likeliest: np.ndarray  # the token with the highest probability
    probability: np.ndarray  # of that token

    @property
    def loss(self) -> float:
        """The mean in nats per token."""
        return float(self.losses.mean(dtype=np.float64))


def score(model: GPT, ids: np.ndarray, stride: int | None = None) -> np.ndarray:
    """The loss in nats (N - 1,) of every token of `ids` (N,) but the first, each predicted from the tokens before it.

    A text longer than the context is read in windows that advance by `stride` tokens, by default half the context. Of
    each window only the new predictions count. So every token is predicted from at least context - stride tokens, or
    from all there are. Memory is that of a few windows.
    """
    return scores(model, ids, stride).losses


@tiny_is_zero
def scores(model: GPT, ids: np.ndarray, stride: int | None = None, progress: Progress | None = None) -> Scores:
    """The same, with the likeliest token at each position. `progress` receives the number of new tokens per pass.

    Raises NotFinite if the model's output is not finite.
    """
    ids = np.asarray(ids)
    if ids.ndim != 1 or len(ids) < 2:
        raise ValueError(f"ids must be one axis of at least 2 tokens, got shape {ids.shape}: the first token is not "
                         "predicted")
    check_ids(ids, model.wte.n)
    stride = max(1, model.max_len // 2) if stride is None else stride
    if not 1 <= stride <= model.max_len:
        raise ValueError(f"stride must be between 1 and the context length {model.max_len}, got {stride}")
    N, size = len(ids) - 1, min(len(ids) - 1, model.max_len)
    dtype = first_param(model).dtype
    found = Scores(ids, np.empty(N, dtype), np.empty(N, ids.dtype), np.empty(N, dtype))
    starts = np.append(np.arange(0, N - size, stride), N - size)  # (windows,); the last one ends with the text
    fresh = np.append(0, starts[:-1] + size)  # (windows,): the first position that no earlier window predicted from
    with eval_twin(model) as reader:
        for batch in row_slices(len(starts), size, BATCH_TOKENS):
            at = starts[batch, None] + np.arange(size)  # (B, T): positions in the text
            for places, X in hidden_states(reader, ids, at):
                new = places >= fresh[batch, None]
                if new.any():
                    predict(reader, X[like(new, X)], found, int(places[new][0]))  # X[new]: (n, C), in text order
                    if progress:
                        progress(int(new.sum()))
    return found


def hidden_states(model: GPT, ids: np.ndarray, at: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (places (B, t), states (B, t, C)) of the windows of `ids` at the places `at` (B, T). Windows longer than
    BATCH_TOKENS are read in pieces; KV caches hold what the later ones need of the earlier."""
    T = at.shape[1]
    caches = new_caches(model, len(at), T) if T > BATCH_TOKENS else None
    for first in range(0, T, BATCH_TOKENS):
        places = at[:, first : first + BATCH_TOKENS]
        yield places, model.hidden(ids[places], caches)


def predict(model: GPT, X: np.ndarray, found: Scores, first: int) -> None:
    """Fill in the predictions of the hidden states X (n, C) at the positions from `first` on, some rows at a time."""
    targets = found.ids[first + 1 : first + 1 + len(X)]  # (n,)
    for s in row_slices(len(X), 1, chunk_rows(model.wte.n)):
        logits = model.head(X[s])  # (rows, n_vocab)
        check_logits(logits, model.named_parameters())
        logits -= logits.max(axis=-1, keepdims=True)
        here = slice(first + s.start, first + s.start + len(logits))
        wanted = logits[np.arange(len(logits), like=logits), like(targets[s], logits)]  # (rows,)
        found.likeliest[here] = to_host(logits.argmax(axis=-1))
        P, lse = softmax_lse(logits)
        found.losses[here] = to_host(lse[:, 0] - wanted)  # -log softmax(logits)[target]
        found.probability[here] = to_host(P.max(axis=-1))


@dataclass(frozen=True)
class TextScores:
    """A text's tokens `ids` (M,), the surprise of each in `bits` (M,), and the `scores` that these come from.

    The first surprise is NaN, unless the tokenizer has a token for the beginning of a text to predict it from.
    """

    ids: np.ndarray
    bits: np.ndarray
    scores: Scores
    n_bytes: int  # UTF-8, of the tokens that were predicted

    @property
    def bits_per_byte(self) -> float:
        return bits_per_byte(self.scores.loss, len(self.scores.losses), self.n_bytes)


def score_text(
    model: GPT,
    tokenizer: Tokenizer,
    text: str,
    ids: np.ndarray,
    progress: Progress | None = None,
    n_bytes: int | None = None,
) -> TextScores:
    """Score `text`, whose tokens are `ids`. If `text` is only the beginning, `n_bytes` is the UTF-8 size of all of it.
    Raises ValueError if there is nothing to predict."""
    begin = tokenizer.bos_id if tokenizer.add_bos else tokenizer.special_tokens.get(END_OF_TEXT)
    if not len(ids) or (begin is None and len(ids) == 1):
        raise ValueError(f"a text of {len(ids)} token{'s' * (len(ids) != 1)} cannot be scored: each token is "
                         "predicted from those before it, so give a longer text")
    n_bytes = len(text.encode("utf-8", errors="replace")) if n_bytes is None else n_bytes
    if begin is not None:
        found = scores(model, np.append(np.array([begin], ids.dtype), ids), progress=progress)
        return TextScores(ids, bits_of(found.losses), found, n_bytes)
    found = scores(model, ids, progress=progress)
    bits = np.full(len(ids), np.nan, found.losses.dtype)
    bits[1:] = bits_of(found.losses)
    return TextScores(ids, bits, found, max(1, n_bytes - first_bytes(tokenizer, text, int(ids[0]))))


def first_bytes(tokenizer: Tokenizer, text: str, id: int) -> int:
    """How many bytes of `text` its first token covers; <unk> covers the word or the character in the text."""
    if id != tokenizer.special_tokens.get(UNKNOWN):
        return token_bytes(tokenizer, id)
    unknown = text[0] if tokenizer.kind == "char" else next(words(text))
    return len(unknown.encode("utf-8", errors="replace"))


def token_bytes(tokenizer: Tokenizer, id: int) -> int:
    """How many bytes of UTF-8 a token covers; it may be part of a character."""
    shown = tokenizer.token_text(id)
    if tokenizer.decode([id]) != shown:
        shown = re.sub(r"\\x[89a-f][0-9a-f]", "?", shown)  # each was a byte
    return len(shown.encode("utf-8", errors="replace"))
