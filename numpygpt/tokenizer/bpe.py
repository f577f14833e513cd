"""Byte pair encoding: frequent runs of bytes become tokens. The algorithms are in merges.py."""

from __future__ import annotations

import codecs
from array import array
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Self

import numpy as np

from numpygpt.tokenizer import checks, storage
from numpygpt.tokenizer.base import Parts, StreamDecoder, Tokenizer
from numpygpt.tokenizer.merges import Pair, apply_merges, learn_merges
from numpygpt.tokenizer.pretokenize import pretokenize

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
    """

    kind = "bpe"
    fields = ("merges",)

    def train(
        self,
        text: str,
        vocab_size: int = 6551,
        min_freq: int = 2,
        special_tokens: Iterable[str] = (),
        progress: Callable[[int, int], object] | None = None,
    ) -> Self:
        """Learn merges from `text` up to `vocab_size` tokens, or until no pair is left that occurs `min_freq` times.

        `progress(done, total)` is called every few merges and at the end.
        """
        names = checks.special_names(special_tokens)
        checks.at_least("vocab_size", vocab_size, 256 + len(names), f" (256 bytes and {len(names)} special tokens)")
        checks.at_least("min_freq", min_freq, 1)
        checks.text(text)
        pieces = {piece.encode("utf-8"): count for piece, count in Counter(pretokenize(text)).items()}
        self._set_merges(learn_merges(pieces, vocab_size - 256 - len(names), min_freq, progress), names)
        return self

    def stream(self) -> StreamDecoder:
        """A decoder that takes one id at a time and never shows half a character."""
        return ByteStreamDecoder(self._ready())

    def _set_merges(self, merges: list[Pair], names: list[str]) -> None:
        tokens = [bytes([byte]) for byte in range(256)]
        for first, second in merges:
            tokens.append(tokens[first] + tokens[second])
        self._define(tokens, [name.encode("utf-8") for name in names], names)
        self._merged = {pair: 256 + k for k, pair in enumerate(merges)}
        self._cache: dict[str, array[int]] = {}

    def _encode(self, text: str, parts: Parts) -> np.ndarray:
        ids = array("I")
        for _, part in parts:
            if isinstance(part, int):
                ids.append(part)
                continue
            for piece in pretokenize(part):
                ids.extend(self._cache.get(piece) or self._encode_piece(piece))
        return np.array(ids, dtype=np.uint32)

    def _encode_piece(self, piece: str) -> array[int]:
        ids = array("I", apply_merges(list(piece.encode("utf-8")), self._merged))
        if len(piece) <= CACHED_LENGTH:
            if len(self._cache) >= CACHED_PIECES:
                self._cache.clear()
            self._cache[piece] = ids
        return ids

    def _decode(self, ids: list[int]) -> str:
        return b"".join(map(self._tokens.__getitem__, ids)).decode("utf-8", errors="replace")

    def _shown(self, id: int) -> str:
        return self._tokens[id].decode("utf-8", errors="backslashreplace")

    # In the file a merge is two strings in which a character stands for the byte of the same number (Latin-1). So the
    # file can be read by people, does not depend on the order of the ids, and no short file can describe huge tokens.

    def _to_fields(self) -> dict[str, Any]:
        return {"merges": [[self._tokens[id].decode("latin-1") for id in pair] for pair in self._merged]}

    def _from_fields(self, fields: dict[str, Any]) -> None:
        if not isinstance(fields["merges"], list):
            raise storage.wrong("merges", "a list of pairs of strings", fields["merges"])
        known = {chr(byte): byte for byte in range(256)}
        merges: list[Pair] = []
        for place, merge in enumerate(fields["merges"]):
            if not (isinstance(merge, list) and len(merge) == 2 and all(isinstance(part, str) for part in merge)):
                raise storage.wrong(f"merges[{place}]", "a pair of strings", merge)
            for part in merge:
                if part not in known:
                    raise storage.wrong(f"merges[{place}]", "a pair of bytes or of earlier merges", part)
            first, second = merge
            if first + second in known:
                raise storage.wrong(f"merges[{place}]", "a new token, not a duplicate of an earlier one", merge)
            merges.append((known[first], known[second]))
            known[first + second] = 256 + place
        self._set_merges(merges, storage.check_special(fields["special_tokens"], len(known)))


class ByteStreamDecoder(StreamDecoder):
    """Holds back the bytes of a character until the last one has come."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__(tokenizer)
        self.bytes = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def _text(self, id: int) -> str:
        return self.bytes.decode(self.tokenizer._tokens[id])

    def _rest(self) -> str:
        return self.bytes.decode(b"", final=True)
