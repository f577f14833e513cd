"""Byte pair encoding: frequent sequences of bytes become tokens. The algorithms are in merges.py."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from typing import Any, Self

import numpy as np

from numpygpt.tokenizer import checks, formats, storage
from numpygpt.tokenizer.added import AddedToken, Parts
from numpygpt.tokenizer.added import read as read_added
from numpygpt.tokenizer.base import Tokenizer, Where
from numpygpt.tokenizer.decoding import ByteStreamDecoder
from numpygpt.tokenizer.long_pieces import LongPieces, in_order
from numpygpt.tokenizer.merge_table import MergeTable
from numpygpt.tokenizer.merges import Pair, apply_merges, learn_merges
from numpygpt.tokenizer.pieces import PieceCache
from numpygpt.tokenizer.pretokenize import pretokenize
from numpygpt.tokenizer.stream import Pieces, count, runs

BYTES = [bytes([byte]) for byte in range(256)]
RUN_CHARACTERS = 1 << 16  # cut into pieces at a time: they stay in the processor's cache
CHUNK_CHARACTERS = 1 << 22  # whose new pieces are merged together
MAX_PIECE = 1024  # characters of a piece in training: a longer piece, such as a text without spaces, is cut
MAX_SHORT = 64  # bytes: a longer piece would delay all others, and is merged separately
MIN_LINKED = 1 << 14  # bytes of long pieces, from which on they are merged together, rank by rank


class BPETokenizer(Tokenizer):
    """Ids 0 to 255 are the bytes of UTF-8; then one id per merge, in training order; then the special tokens.

    >>> tok = BPETokenizer().train("aaabdaaabac")
    >>> [tok.token_text(id) for id in range(256, tok.vocab_size)]
    ['aa', 'ab', 'aaab']
    >>> tok.encode("aaabdaaabac")
    [258, 100, 258, 97, 99]
    >>> tok.decode(tok.encode("naïve 🙂"))
    'naïve 🙂'

    Every text can be encoded. Ids whose bytes are not valid UTF-8 decode to U+FFFD. (Radford et al. 2019, Language
    Models are Unsupervised Multitask Learners, section 2.2.) A vocabulary of another program (`from_gpt2`, or `load` of
    Hugging Face's tokenizer.json) keeps its order of ids.
    """

    kind = "bpe"
    cut = 0  # after training: how many parts of overlong pieces were counted
    fields = ("vocab", "merges")
    optional = ("added_tokens",)

    def train(
        self,
        text: str | Pieces,
        vocab_size: int = 6551,
        min_freq: int = 2,
        special_tokens: Iterable[str] = (),
        progress: Callable[[int, int], object] | None = None,
        workers: int = 1,
    ) -> Self:
        """Learn merges from `text` up to `vocab_size` tokens, or until no pair occurs `min_freq` times.

        `text` may come in pieces. `workers` processes count its words (see `ordered_map`). Memory grows with the number
        of different words; beyond half a million the rarest are dropped (`dropped` counts them). A piece longer than
        MAX_PIECE is cut into parts (`cut` counts those of full length). `progress(done, total)` is called every few
        merges and at the end.
        """
        names = checks.special_names(special_tokens)
        checks.at_least("vocab_size", vocab_size, 256 + len(names), f" (256 bytes and {len(names)} special tokens)")
        checks.at_least("min_freq", min_freq, 1)
        counts = count(partial(_pieces, lowercase=self.lowercase), text, workers)
        self.dropped = counts.dropped
        self.cut = sum(times for piece, times in counts.items() if len(piece) == MAX_PIECE)
        pieces = {piece.encode("utf-8"): times for piece, times in counts.items()}
        del counts
        merges = learn_merges(pieces, vocab_size - 256 - len(names), min_freq, progress)
        tokens = list(BYTES)
        for first, second in merges:
            tokens.append(tokens[first] + tokens[second])
        self._set_vocab(tokens, merges, {name: len(tokens) + i for i, name in enumerate(names)})
        return self

    @classmethod
    def from_gpt2(cls, vocab_bpe: str | os.PathLike[str], encoder_json: str | os.PathLike[str]) -> Self:
        """Return GPT-2's tokenizer from its two published files: 50,257 ids, the last one <|endoftext|>."""
        try:
            return cls.from_dict(formats.from_gpt2(vocab_bpe, encoder_json))
        except ValueError as error:
            raise ValueError(f"{os.fspath(vocab_bpe)} and {os.fspath(encoder_json)}: {error}") from error

    def save_huggingface(self, path: str | os.PathLike[str]) -> None:
        """Write the tokenizer.json that Hugging Face's `tokenizers` and `transformers` read; `load` reads it too."""
        storage.write(path, formats.to_huggingface(self.to_dict()))

    def stream(self) -> ByteStreamDecoder:
        """Return a decoder that takes one id at a time and never returns half a character."""
        return ByteStreamDecoder(self._ready())

    def _set_vocab(self, ordinary: list[bytes], merges: Iterable[Pair], special: dict[str, int],
                   added: tuple[AddedToken, ...] = ()) -> None:  # fmt: skip
        """`ordinary`: the other tokens, in the order of their ids; `merges`: pairs of ids, by rank."""
        own = {token.id: token.content.encode("utf-8") for token in added if token.own}
        self._define(ordinary, special, [name.encode("utf-8") for name in special], own)
        self.added_tokens = added
        ids = {token: id for id, token in enumerate(self._tokens) if id not in self._named}
        self._byte_ids = np.array([ids.get(byte, -1) for byte in BYTES])
        self._ranks = {pair: rank for rank, pair in enumerate(merges)}
        self._made = [ids[self._tokens[first] + self._tokens[second]] for first, second in self._ranks]
        self._table = MergeTable(self._ranks, self._made, self._byte_ids, self.vocab_size)
        self._in_order = in_order(self._ranks, self._made, self.vocab_size)
        self._cache = PieceCache(self._merge)

    def _encode(self, text: str, parts: Parts, where: Where = checks.at) -> np.ndarray:
        ids = [np.empty(0, dtype=np.uint32)]
        for _, part in parts:
            if isinstance(part, int):
                ids.append(np.array([part], dtype=np.uint32))
            else:
                ids += [self._cache.encode(runs(stretch, RUN_CHARACTERS)) for stretch in runs(part, CHUNK_CHARACTERS)]
        return np.concatenate(ids)

    def _merge(self, pieces: list[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the ids of all pieces, where in them each piece starts, and how many it has."""
        lacking = np.flatnonzero(self._byte_ids < 0)  # only in another program's vocabulary
        if lacking.size and (met := set(lacking.tolist()).intersection(b"".join(pieces))):
            raise ValueError(f"this vocabulary has no token for the byte 0x{min(met):02x}, which the text contains")
        sizes = np.fromiter(map(len, pieces), dtype=np.int64, count=len(pieces))
        lengths, ids = np.empty_like(sizes), []
        (short,), (long,) = np.nonzero(sizes <= MAX_SHORT), np.nonzero(sizes > MAX_SHORT)
        if short.size:
            together, lengths[short] = self._table.apply(b"".join(pieces[k] for k in short), sizes[short])
            ids.append(together)
        if self._in_order and sizes[long].sum() > MIN_LINKED:
            linked = LongPieces(self._table, b"".join(pieces[k] for k in long), sizes[long])
            together, lengths[long] = linked.merged(self._ranks, self._made)
            ids.append(together)
        else:
            for k in long.tolist():
                merged = apply_merges(self._byte_ids[list(pieces[k])].tolist(), self._ranks, self._made)
                ids.append(np.array(merged))
                lengths[k] = len(merged)
        starts, order = np.empty_like(lengths), np.concatenate([short, long])
        starts[order] = np.cumsum(lengths[order]) - lengths[order]
        return np.concatenate(ids), starts, lengths

    def _decode(self, ids: list[int]) -> str:
        return b"".join(map(self._tokens.__getitem__, ids)).decode("utf-8", errors="replace")

    def _shown(self, id: int) -> str:
        return self._tokens[id].decode("utf-8", errors="backslashreplace")

    # In the file a token is a string with one character per byte (Latin-1), and a merge is two tokens. So people can
    # read it, and no short file can describe huge tokens.

    def _to_fields(self) -> dict[str, Any]:
        merges = [[self._tokens[id].decode("latin-1") for id in pair] for pair in self._ranks]
        fields = {"vocab": [token.decode("latin-1") for token in self._ordinary()], "merges": merges}
        if self.added_tokens:
            fields["added_tokens"] = [token._asdict() for token in self.added_tokens]
        return fields

    def _from_fields(self, fields: dict[str, Any]) -> None:
        vocab, added = storage.check_vocab(fields["vocab"]), read_added(fields.get("added_tokens", []))
        own = {token.content: token.id for token in added if token.own}
        special = storage.check_special(fields["special_tokens"], len(vocab), own)
        tokens, merges = tokens_and_merges(vocab, fields["merges"], [*special.values(), *own.values()])
        self._set_vocab(tokens, merges, special, added)
        for token in added:
            if token.id not in range(len(self._tokens)) or self._tokens[token.id] != token.content.encode("utf-8"):
                raise storage.wrong("added_tokens", "tokens with the ids that they have in vocab", token.content)


def _latin_1(token: str) -> bytes:
    try:
        return token.encode("latin-1")
    except UnicodeEncodeError:
        raise storage.wrong("vocab", "strings of characters below U+0100, one for each byte", token) from None


def _pieces(text: str, lowercase: bool) -> Iterator[str]:
    """Yield the pieces to count. A long piece is counted in parts of MAX_PIECE characters."""
    for piece in pretokenize(text.lower() if lowercase else text):
        if len(piece) < MAX_PIECE:
            yield piece
        else:
            yield from (piece[start : start + MAX_PIECE] for start in range(0, len(piece), MAX_PIECE))


def tokens_and_merges(
    vocab: list[str], merges: Any, special: Collection[int]
) -> tuple[list[bytes], list[Pair]]:
    """Check a vocabulary from a file; return the ordinary tokens as bytes, and the merges as pairs of ids.

    `vocab`: the ordinary tokens in the order of their ids; `merges`: pairs of such tokens; `special`: the ids of the
    special tokens, which `vocab` leaves out. Raises `ValueError` if they do not fit together.
    """
    ids = dict(zip(vocab, storage.ordinary_ids(len(vocab), special), strict=True))
    if len(ids) < len(vocab):
        checks.distinct(vocab)
    if not isinstance(merges, list):
        raise storage.wrong("merges", "a list of pairs of strings", merges)
    pairs: dict[Pair, None] = {}
    for place, merge in enumerate(merges):
        if not (isinstance(merge, list) and len(merge) == 2 and all(isinstance(part, str) for part in merge)):
            raise storage.wrong(f"merges[{place}]", "a pair of strings", merge)
        for token in (*merge, "".join(merge)):
            if token not in ids:
                raise storage.wrong(f"merges[{place}]", "two tokens of the vocabulary that make a third", merge)
        first, second = merge
        pair = ids[first], ids[second]
        if pair in pairs:
            raise storage.wrong(f"merges[{place}]", "a new pair, not a duplicate of an earlier one", merge)
        pairs[pair] = None
    return [_latin_1(token) for token in vocab], list(pairs)
