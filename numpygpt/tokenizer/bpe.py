"""Byte pair encoding: frequent sequences of bytes become tokens. The algorithms are in merges.py."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Self

import numpy as np

from numpygpt.tokenizer import checks, ends, formats, storage
from numpygpt.tokenizer.added import AddedToken, Parts
from numpygpt.tokenizer.added import read as read_added
from numpygpt.tokenizer.base import Tokenizer, Where
from numpygpt.tokenizer.decoding import ByteStreamDecoder
from numpygpt.tokenizer.merger import Merger, read_merges
from numpygpt.tokenizer.merges import Pair, learn_merges
from numpygpt.tokenizer.normal import nfc
from numpygpt.tokenizer.pieces import PieceCache
from numpygpt.tokenizer.pretokenize import PATTERNS, breaks, pretokenize
from numpygpt.tokenizer.stream import Pieces, count

RULES = ("pattern", "nfc", "ignore_merges")
BYTES = [bytes([byte]) for byte in range(256)]
MAX_PIECE = 1024  # characters of a piece in training: a longer piece, such as a text without spaces, is cut


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
    Hugging Face's tokenizer.json) keeps its order of ids; it may lack bytes, and then refuses texts with them. It also
    brings its rules: the `pattern` that cuts text (see pretokenize.py), whether text becomes `nfc` first (see
    normal.py), and `ignore_merges`: a piece that is a token is this token, even if no merges make it.
    """

    kind = "bpe"
    cut = 0  # after training: how many parts of overlong pieces were counted
    fields = ("vocab", "merges")
    optional = ("added_tokens", "pattern", "nfc", "ignore_merges", *ends.FIELDS)
    pattern, nfc, ignore_merges = "gpt2", False, False

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
        for name in (*RULES, *ends.FIELDS):  # of an earlier vocabulary
            setattr(self, name, getattr(BPETokenizer, name))
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
        own = {token.id: self._found(token) for token in added if token.own}
        self._define(ordinary, special, [name.encode("utf-8") for name in special], own)
        self._set_added(added)
        self.breaks = breaks(self.pattern)
        self._ids = {token: id for id, token in enumerate(self._tokens) if id not in self._named}
        self._byte_ids = np.array([self._ids.get(byte, -1) for byte in BYTES])
        merges = list(merges)
        made = [self._ids[self._tokens[first] + self._tokens[second]] for first, second in merges]
        self._merger = Merger(merges, made, self.vocab_size, self._byte_ids)
        self._cache = PieceCache(partial(pretokenize, name=self.pattern), self._merge)

    def _normal(self, text: str) -> str:
        return nfc(text) if self.nfc else text

    def _found(self, token: AddedToken) -> bytes:
        """Return the bytes of an added token as it is found in a text."""
        return (self._normal(token.content) if token.normalized else token.content).encode("utf-8")

    def _encode(self, text: str, parts: Parts, where: Where = checks.at) -> np.ndarray:
        return self._cache.encode_parts(parts, self.breaks)

    def _merge(self, pieces: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the ids of all pieces, where in them each piece starts, and how many it has."""
        spelled = [piece.encode("utf-8") for piece in pieces]
        text, sizes = b"".join(spelled), np.fromiter(map(len, spelled), dtype=np.int64, count=len(spelled))
        lacking = np.flatnonzero(self._byte_ids < 0)  # only in another program's vocabulary
        if lacking.size and (met := set(lacking.tolist()).intersection(text)):
            raise ValueError(f"this vocabulary has no token for the byte 0x{min(met):02x}, which the text contains")
        ids, starts, lengths = self._merger.merge(np.frombuffer(text, dtype=np.uint8), sizes)
        if self.ignore_merges:
            whole = np.array([self._ids.get(piece, -1) for piece in spelled])
            (known,) = np.nonzero(whole >= 0)
            ids[starts[known]], lengths[known] = whole[known], 1
        return ids, starts, lengths

    def _decode(self, ids: list[int]) -> str:
        return b"".join(map(self._tokens.__getitem__, ids)).decode("utf-8", errors="replace")

    def _shown(self, id: int) -> str:
        return self._tokens[id].decode("utf-8", errors="backslashreplace")

    # In the file a token is a string with one character per byte (Latin-1), and a merge is two tokens. So people can
    # read it, and no short file can describe huge tokens.

    def _to_fields(self) -> dict[str, Any]:
        merges = [[self._tokens[id].decode("latin-1") for id in pair] for pair in self._merger.ranks]
        fields = {"vocab": [token.decode("latin-1") for token in self._ordinary()], "merges": merges}
        fields |= {name: getattr(self, name) for name in RULES if getattr(self, name) != getattr(BPETokenizer, name)}
        if self.added_tokens:
            fields["added_tokens"] = [token._asdict() for token in self.added_tokens]
        return fields

    def _from_fields(self, fields: dict[str, Any]) -> None:
        vocab, added = storage.check_vocab(fields["vocab"]), read_added(fields.get("added_tokens", []))
        own = {token.content: token.id for token in added if token.own}
        special = storage.check_special(fields["special_tokens"], len(vocab), own)
        self.pattern, self.nfc, self.ignore_merges = (fields.get(name, getattr(BPETokenizer, name)) for name in RULES)
        if not isinstance(self.pattern, str) or self.pattern not in PATTERNS:
            raise storage.wrong("pattern", f"one of {', '.join(map(repr, PATTERNS))}", self.pattern)
        if not isinstance(self.nfc, bool) or not isinstance(self.ignore_merges, bool):
            raise storage.wrong("nfc and ignore_merges", "true or false", [self.nfc, self.ignore_merges])
        merges = read_merges(vocab, fields["merges"], [*special.values(), *own.values()])
        self._set_vocab([_latin_1(token) for token in vocab], merges, special, added)
        for token in added:
            if token.id not in range(len(self._tokens)) or self._tokens[token.id] != self._found(token):
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

