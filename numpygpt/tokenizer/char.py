"""One token per character: the smallest vocabulary and the longest sequences."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import numpy as np

from numpygpt.tokenizer import checks, storage
from numpygpt.tokenizer.added import Parts
from numpygpt.tokenizer.base import Tokenizer, Where
from numpygpt.tokenizer.stream import Pieces, chunks

NO_ID = np.uint32(2**32 - 1)  # a vocabulary has at most 0x110000 characters


class CharTokenizer(Tokenizer):
    r"""The vocabulary is the text's characters in the order of their code points, so id 0 is the lowest.

    >>> tok = CharTokenizer().train("hello", special_tokens=("<|endoftext|>",))
    >>> tok.encode("hole"), tok.special_tokens
    ([1, 3, 2, 0], {'<|endoftext|>': 4})
    >>> tok.decode([1, 0, 2, 2, 3])
    'hello'

    A character outside the vocabulary becomes `<unk>` if that is a special token; otherwise it raises ValueError.
    """

    kind = "char"
    fields = ("vocab",)

    def train(self, text: str | Pieces, special_tokens: Iterable[str] = ()) -> Self:
        """Take the vocabulary from `text`, which may come in pieces."""
        names = checks.special_names(special_tokens)
        characters: set[str] = set()
        for chunk in chunks(text):
            characters.update(*(self._cased(part) for part in chunk if isinstance(part, str)))
        if not characters:
            raise ValueError("the text is empty, so it has no characters to learn; pass the corpus")
        self._set_vocab(sorted(characters), {name: len(characters) + i for i, name in enumerate(names)})
        return self

    def _set_vocab(self, characters: list[str], special: dict[str, int]) -> None:
        self._define(characters, special)
        # A table from code point to id makes encoding one NumPy lookup. Its last entry is for all larger code points.
        codes = [ord(character) for character in characters]
        self._table = np.full(max(codes) + 2, special.get("<unk>", NO_ID), dtype=np.uint32)
        self._table[codes] = storage.ordinary_ids(len(characters), special.values())

    def _encode(self, text: str, parts: Parts, where: Where = checks.at) -> np.ndarray:
        ids = [self._lookup(text, *part, where) for part in parts]
        return ids[0] if len(ids) == 1 else np.concatenate(ids)

    def _lookup(self, text: str, start: int, part: str | int, where: Where) -> np.ndarray:
        if isinstance(part, int):
            return np.array([part], dtype=np.uint32)
        codes = np.frombuffer(part.encode("utf-32-le"), dtype="<u4")  # the code point of each character
        ids = self._table[np.minimum(codes, len(self._table) - 1)]
        if (ids == NO_ID).any():
            index = int((ids == NO_ID).argmax())
            raise ValueError(f"the character {part[index]!r} (U+{codes[index]:04X}) {where(text, start + index)} is "
                             f"not in the vocabulary of {self.vocab_size} tokens; remove it, train on a text that has "
                             "it or with the special token <unk>, or use bpe, which can encode every text")
        return ids

    def _to_fields(self) -> dict[str, Any]:
        return {"vocab": self._ordinary()}

    def _from_fields(self, fields: dict[str, Any]) -> None:
        vocab = storage.check_vocab(fields["vocab"])
        for place, token in enumerate(vocab):
            if len(token) != 1:
                raise storage.wrong(f"vocab[{place}]", "one character", token)
        self._set_vocab(vocab, storage.check_special(fields["special_tokens"], len(vocab)))
