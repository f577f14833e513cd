"""Byte pair encoding: frequent runs of bytes become tokens. The algorithms are in merges.py."""

from __future__ import annotations

import codecs
import os
from array import array
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any, Self

import numpy as np

from numpygpt.tokenizer import checks, formats, storage
from numpygpt.tokenizer.base import Parts, StreamDecoder, Tokenizer
from numpygpt.tokenizer.merges import Pair, apply_merges, learn_merges
from numpygpt.tokenizer.pretokenize import pretokenize
from numpygpt.tokenizer.stream import Pieces, count, runs

BYTES = [bytes([byte]) for byte in range(256)]
CACHED_PIECES = 1 << 17  # a few tens of MB; a corpus repeats its words, so nearly every piece is found
CACHED_LENGTH = 64  # characters; longer pieces hardly ever come back


class BPETokenizer(Tokenizer):
    """Ids 0 to 255 are the bytes of UTF-8, then one id a merge in the order learnt, then the special tokens.

    >>> tok = BPETokenizer().train("aaabdaaabac")
    >>> [tok.token_text(id) for id in range(256, tok.vocab_size)]
    ['aa', 'ab', 'aaab']
    >>> tok.encode("aaabdaaabac")
    [258, 100, 258, 97, 99]
    >>> tok.decode(tok.encode("naïve 🙂"))
    'naïve 🙂'

    Every text can be encoded; nothing is unknown. Ids that are no whole UTF-8 together decode to U+FFFD.
    (Radford et al. 2019, Language Models are Unsupervised Multitask Learners, section 2.2.)
    A vocabulary from elsewhere (`from_gpt2`, `load` of a tokenizer.json of Hugging Face's) keeps its own order of ids.
    """

    kind = "bpe"
    fields = ("vocab", "merges")

    def train(
        self,
        text: str | Pieces,
        vocab_size: int = 6551,
        min_freq: int = 2,
        special_tokens: Iterable[str] = (),
        progress: Callable[[int, int], object] | None = None,
        workers: int = 1,
    ) -> Self:
        """Learn merges from `text` up to `vocab_size` tokens, or until no pair is left that occurs `min_freq` times.

        `text` may come in pieces, and `workers` processes count its words (see `ordered_map`): memory grows with the
        number of different words; beyond half a million the rarest are dropped, and `dropped` says how many.
        `progress(done, total)` is called every few merges and at the end.
        """
        names = checks.special_names(special_tokens)
        checks.at_least("vocab_size", vocab_size, 256 + len(names), f" (256 bytes and {len(names)} special tokens)")
        checks.at_least("min_freq", min_freq, 1)
        counts = count(partial(_pieces, lowercase=self.lowercase), text, workers)
        self.dropped = counts.dropped
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
        """GPT-2's own tokenizer from the two files that it was published with: 50,257 ids, the last <|endoftext|>."""
        return cls.from_dict(formats.from_gpt2(vocab_bpe, encoder_json))

    def save_huggingface(self, path: str | os.PathLike[str]) -> None:
        """Write the tokenizer.json that Hugging Face's `tokenizers` and `transformers` read; `load` reads it too."""
        storage.write(path, formats.to_huggingface(self.to_dict()))

    def stream(self) -> StreamDecoder:
        """A decoder that takes one id at a time and never shows half a character."""
        return ByteStreamDecoder(self._ready())

    def _set_vocab(self, ordinary: list[bytes], merges: Iterable[Pair], special: dict[str, int]) -> None:
        """`ordinary`: the tokens but the special ones, in the order of their ids; `merges`: pairs of ids, by rank."""
        self._define(ordinary, special, [name.encode("utf-8") for name in special])
        ids = {token: id for id, token in enumerate(self._tokens) if id not in special.values()}
        self._byte_ids = [ids.get(byte, -1) for byte in BYTES]
        self._ranks = {pair: rank for rank, pair in enumerate(merges)}
        self._made = [ids[self._tokens[first] + self._tokens[second]] for first, second in self._ranks]
        self._cache = PieceCache(self._encode_piece)

    def _encode(self, text: str, parts: Parts) -> np.ndarray:
        ids = []
        for _, part in parts:
            if isinstance(part, int):
                ids.append(np.uint32(part).tobytes())
                continue
            for run in runs(part):
                ids += map(self._cache.__getitem__, pretokenize(run))
        return np.frombuffer(bytearray().join(ids), dtype=np.uint32)  # a bytearray: the array can be written to

    def _encode_piece(self, piece: str) -> bytes:
        """The ids of one piece as the bytes of a uint32 array: these are joined faster than lists of numbers."""
        ids = [self._byte_ids[byte] for byte in piece.encode("utf-8")]
        if -1 in ids:  # only in a vocabulary from elsewhere
            raise ValueError(f"this vocabulary has no token for the byte 0x{piece.encode()[ids.index(-1)]:02x}, "
                             f"which {checks.brief(piece)} has")
        return array("I", apply_merges(ids, self._ranks, self._made)).tobytes()

    def _decode(self, ids: list[int]) -> str:
        return b"".join(map(self._tokens.__getitem__, ids)).decode("utf-8", errors="replace")

    def _shown(self, id: int) -> str:
        return self._tokens[id].decode("utf-8", errors="backslashreplace")

    # In the file a token is a string in which a character stands for the byte of the same number (Latin-1), and a merge
    # is two of them. So people can read it, and no short file can describe huge tokens.

    def _to_fields(self) -> dict[str, Any]:
        merges = [[self._tokens[id].decode("latin-1") for id in pair] for pair in self._ranks]
        return {"vocab": [token.decode("latin-1") for token in self._ordinary()], "merges": merges}

    def _from_fields(self, fields: dict[str, Any]) -> None:
        vocab = storage.check_vocab(fields["vocab"])
        special = storage.check_special(fields["special_tokens"], len(vocab))
        tokens, merges = tokens_and_merges(vocab, fields["merges"], special.values(), _latin_1)
        self._set_vocab(tokens, merges, special)


class ByteStreamDecoder(StreamDecoder):
    """Holds back the bytes of a character until the last one has come."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__(tokenizer)
        self.bytes = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def _text(self, id: int) -> str:
        return self.bytes.decode(self.tokenizer._tokens[id])

    def _rest(self) -> str:
        return self.bytes.decode(b"", final=True)


class PieceCache(dict[str, bytes]):
    """What each piece is encoded to; a corpus repeats its words."""

    def __init__(self, encode: Callable[[str], bytes]) -> None:
        super().__init__()
        self.encode = encode

    def __missing__(self, piece: str) -> bytes:
        ids = self.encode(piece)
        if len(piece) <= CACHED_LENGTH:
            if len(self) >= CACHED_PIECES:
                self.clear()
            self[piece] = ids
        return ids


def _latin_1(token: str) -> bytes:
    try:
        return token.encode("latin-1")
    except UnicodeEncodeError:
        raise storage.wrong("vocab", "strings of characters below U+0100, one for each byte", token) from None


def _pieces(text: str, lowercase: bool) -> list[str]:
    return pretokenize(text.lower() if lowercase else text)


def tokens_and_merges(
    vocab: list[str], merges: Any, special: Collection[int], to_bytes: Callable[[str], bytes]
) -> tuple[list[bytes], list[Pair]]:
    """A vocabulary from a file, checked: the ordinary tokens as bytes, and the merges as pairs of ids.

    `vocab`: the ordinary tokens in the order of their ids; `merges`: a list of pairs of such tokens; `special`: the
    ids of the special tokens, which `vocab` leaves out. Raises `ValueError` where one does not fit the other.
    """
    free = (id for id in range(len(vocab) + len(special)) if id not in special)
    ids = dict(zip(vocab, free, strict=True))
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
    return [to_bytes(token) for token in vocab], list(pairs)
