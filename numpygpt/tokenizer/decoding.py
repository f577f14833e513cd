"""Decoding one id at a time, for text that is printed while it is generated."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

from numpygpt.tokenizer import checks

if TYPE_CHECKING:
    from numpygpt.tokenizer.base import Tokenizer
    from numpygpt.tokenizer.word import WordTokenizer


class StreamDecoder:
    """Returns text as soon as it is certain. All pushes and the flush together equal `decode(ids)`.

    This class is for tokens whose text does not depend on their neighbours; BPE and words have their own.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.position = 0

    def push(self, id: int) -> str:
        """Return the text that `id` makes certain; it may be empty."""
        (id,) = checks.ids([id], self.tokenizer.vocab_size, first=self.position)
        self.position += 1
        return self._text(id)

    def flush(self) -> str:
        """Return what was held back, and start again."""
        self.position = 0
        return self._rest()

    def _text(self, id: int) -> str:
        return self.tokenizer._tokens[id]

    def _rest(self) -> str:
        return ""


class ByteStreamDecoder(StreamDecoder):
    """Holds back the bytes of a character until it is complete.

    `tokens`: the bytes of each id. With `drop_space` a space at the start of the text is dropped.
    """

    def __init__(self, tokenizer: Tokenizer, tokens: list[bytes] | None = None, drop_space: bool = False) -> None:
        super().__init__(tokenizer)
        self.tokens = tokenizer._tokens if tokens is None else tokens
        self.bytes = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self.drop_space = self.at_start = drop_space

    def _text(self, id: int) -> str:
        text = self.bytes.decode(self.tokens[id])
        if self.at_start and text:
            self.at_start = False
            return text.removeprefix(" ")
        return text

    def _rest(self) -> str:
        self.at_start = self.drop_space
        return self.bytes.decode(b"", final=True)


class WordStreamDecoder(StreamDecoder):
    """Remembers the last id: whether there is a space between two tokens depends on both."""

    def __init__(self, tokenizer: WordTokenizer) -> None:
        super().__init__(tokenizer)
        self.words = tokenizer
        self.left = tokenizer._join

    def _text(self, id: int) -> str:
        gap = " " if self.words._implied(self.left, id) else ""
        self.left = id
        return gap + self.words._tokens[id]

    def _rest(self) -> str:
        self.left = self.words._join
        return ""
