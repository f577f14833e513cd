"""SentencePiece's byte pair encoding, as Llama 2 and TinyLlama have it: characters become tokens, spaces become `▁`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from numpygpt.tokenizer import checks, ends, formats, storage
from numpygpt.tokenizer.added import Parts, cut_at, unbroken
from numpygpt.tokenizer.added import read as read_added
from numpygpt.tokenizer.base import Tokenizer, Where
from numpygpt.tokenizer.decoding import ByteStreamDecoder
from numpygpt.tokenizer.merger import Merger, read_merges
from numpygpt.tokenizer.pieces import PieceCache
from numpygpt.tokenizer.stream import Pieces
from numpygpt.utils.text import shorten

SPACE = "▁"  # U+2581
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
PREFIXES = ("none", "first", "missing", "every")


class SentencePieceTokenizer(Tokenizer):
    """A vocabulary of another program: `load` reads it from a tokenizer.json; it cannot be trained here.

    A text starts as its characters, with a SPACE for each space; a character without a token is its bytes of UTF-8, the
    tokens <0x00> to <0xFF>. Then merges apply as in BPE. `prefix` says where a text gets a SPACE in front: "first" at
    its start and "missing" also after each special or added token, if none is there; "every" in all these places;
    "none" never. With `split` no merge crosses the place before a SPACE. (Kudo and Richardson 2018, SentencePiece.)

    Every text can be encoded. Decoding makes spaces of SPACE, and drops the first one of a text if there is a `prefix`.
    """

    kind = "sentencepiece"
    fields = ("vocab", "merges", "prefix", "split")
    optional = ("added_tokens", *ends.FIELDS)
    prefix, split = "none", False

    def save_huggingface(self, path: str | os.PathLike[str]) -> None:
        """Write the tokenizer.json that Hugging Face's `tokenizers` and `transformers` read; `load` reads it too."""
        storage.write(path, formats.to_huggingface(self.to_dict()))

    def stream(self) -> ByteStreamDecoder:
        """Return a decoder that takes one id at a time and never returns half a character."""
        return ByteStreamDecoder(self._ready(), self._bytes, drop_space=self.prefix != "none")

    # -- text to ids

    def encode_stream(self, pieces: Pieces, workers: int = 1) -> Iterator[np.ndarray]:
        """See Tokenizer. Raises ValueError if merges go across spaces and lines, so that no text can be cut."""
        if self._ready().breaks is None:
            raise ValueError(f"this tokenizer cannot encode a text in parts, because it merges across spaces, as in "
                             f"the token {shorten(self._across)}; encode the text as a whole")
        return super().encode_stream(pieces, workers)

    def _guard(self) -> str:
        """A cut breaks no added token, and is never right behind one, where a prefix may follow."""
        contents = [token.content for token in self.added_tokens]
        lead = [f" {content}" for content in contents] if self.prefix == "every" else []
        after = "".join(f"(?<!{re.escape(content)})" for content in contents)
        return after + unbroken(tuple(content for content in [*contents, *lead] if len(content) > 1))

    def _parts(self, text: str, special: dict[str, int], start: int = 0, inside: bool = False) -> Parts:
        """See Tokenizer. "every" puts its SPACE before `normalized` added tokens are found, the others do it after."""
        parts = cut_at([(start, text)], {**special, **self._early})
        parts = [(place, part if isinstance(part, int) else self._normal(part, continues=inside and place == start))
                 for place, part in parts]  # fmt: skip
        found: Parts = []
        for place, part in cut_at(parts, self._late):
            new = place == start and not inside if self.prefix == "first" else not (place == start and inside)
            if isinstance(part, str) and self.prefix in ("first", "missing") and new and part[:1] not in ("", SPACE):
                part = SPACE + part
            found.append((place, part))
        return found

    def _normal(self, text: str, continues: bool = False) -> str:
        prefix = SPACE if self.prefix == "every" and text and not continues else ""
        return prefix + text.replace(" ", SPACE)

    def _encode(self, text: str, parts: Parts, where: Where = checks.at) -> np.ndarray:
        return self._cache.encode_parts(parts, self.breaks)

    def _merge(self, pieces: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the ids of all pieces, where in them each piece starts, and how many it has."""
        codes = np.frombuffer("".join(pieces).encode("utf-32-le"), dtype="<u4")  # (N,) characters
        ids = self._character_ids[np.minimum(codes, len(self._character_ids) - 1)]
        sizes = np.fromiter(map(len, pieces), dtype=np.int64, count=len(pieces))
        unknown = ids < 0
        if unknown.any():
            width = np.where(unknown, 1 + (codes > 0x7F) + (codes > 0x7FF) + (codes > 0xFFFF), 1)  # tokens of each
            ids, is_byte = np.repeat(ids, width), np.repeat(unknown, width)
            text = codes[unknown].tobytes().decode("utf-32-le").encode("utf-8")
            ids[is_byte] = self._byte_ids[np.frombuffer(text, dtype=np.uint8)]
            sizes = np.add.reduceat(width, np.cumsum(sizes) - sizes)
        return self._merger.merge(ids, sizes)

    # -- ids to text

    def _decode(self, ids: list[int]) -> str:
        text = b"".join(map(self._bytes.__getitem__, ids)).decode("utf-8", errors="replace")
        return text.removeprefix(" ") if self.prefix != "none" else text

    def _shown(self, id: int) -> str:
        return self._bytes[id].decode("utf-8", errors="backslashreplace")

    # -- the vocabulary and the file

    def _to_fields(self) -> dict[str, Any]:
        merges = [[self._tokens[id] for id in pair] for pair in self._merger.ranks]
        fields = {"vocab": self._ordinary(), "merges": merges, "prefix": self.prefix, "split": self.split}
        if self.added_tokens:
            fields["added_tokens"] = [token._asdict() for token in self.added_tokens]
        return fields

    def _from_fields(self, fields: dict[str, Any]) -> None:
        self.prefix, self.split = fields["prefix"], fields["split"]
        if self.prefix not in PREFIXES:
            raise storage.wrong("prefix", f"one of {', '.join(map(repr, PREFIXES))}", self.prefix)
        if not isinstance(self.split, bool) or self.lowercase:
            raise storage.wrong("split and lowercase", "true or false, and false", [self.split, self.lowercase])
        vocab, added = storage.check_vocab(fields["vocab"]), read_added(fields.get("added_tokens", []))
        own = {token.content: token.id for token in added if token.own}
        special = storage.check_special(fields["special_tokens"], len(vocab), own)
        merges = read_merges(vocab, fields["merges"], [*special.values(), *own.values()])
        self._define(vocab, special, added={id: content for content, id in own.items()})
        self._set_added(added)
        for token in added:
            if token.id not in range(len(self._tokens)) or self._tokens[token.id] != token.content:
                raise storage.wrong("added_tokens", "tokens with the ids that they have in vocab", token.content)
        ids = {token: id for id, token in enumerate(self._tokens) if id not in self._named}
        if lacking := [token for token in BYTES if token not in ids]:
            raise storage.wrong("vocab", "a list with the tokens <0x00> to <0xFF>", f"no {lacking[0]}")
        made = [ids[self._tokens[first] + self._tokens[second]] for first, second in merges]
        self._byte_ids = np.array([ids[token] for token in BYTES])
        if odd := set(self._byte_ids.tolist()).intersection(made, *zip(*merges, strict=True)):
            raise storage.wrong("merges", "pairs of tokens that are not bytes", self._tokens[min(odd)])
        characters = {ord(token): id for token, id in ids.items() if len(token) == 1}
        self._character_ids = np.full(max(characters, default=0) + 2, -1)
        self._character_ids[list(characters)] = list(characters.values())
        names = {id: token for id, token in enumerate(self._tokens) if id in self._named}
        names |= {id: content.replace(SPACE, " ") for content, id in self._late.items()}  # with the space before it
        self._bytes = [names.get(id, text.replace(SPACE, " ")).encode("utf-8") for id, text in enumerate(self._tokens)]
        for byte, id in enumerate(self._byte_ids.tolist()):
            self._bytes[id] = bytes([byte])
        self._merger = Merger(merges, made, self.vocab_size)
        self._cut([self._tokens[id] for id in made])

    def _cut(self, made: list[str]) -> None:
        """Find out where a text can be cut, because no token that merges make goes across."""
        self._across = next((token for token in made if re.search(rf"[^{SPACE}]{SPACE}", token)), "")
        lines = not any("\n" in token for token in made)
        other = rf"[^{SPACE}\n]" if lines else f"[^{SPACE}]"
        spaces = f"{SPACE}{'' if self.split else '++'}"
        if self.split or not self._across:
            cut, places = f"{spaces}{other}*+|{other}++", [f"{'.' if self.split else f'[^ {SPACE}]'}(?=[ {SPACE}])"]
        else:
            cut, places = "[^\n]++" if lines else ".++", []
        if lines:
            cut, places = rf"{cut}|\n", [*places, r".(?=\n)"]
        self.breaks = ("|".join(places), "(?!)") if places else None  # the second choice: nowhere
        self._cache = PieceCache(re.compile(cut, re.DOTALL).findall, self._merge)
